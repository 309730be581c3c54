"""How well found amounts agree with true ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from sigap_training import figure
from sigap_training.evaluation.intervals import Estimate, mean

Unit = Literal["mL", "px"]
_LEAST_FOR_LIMITS = 3


@dataclass(frozen=True)
class Agreement:
    """Amounts of one label, case by case.

    Attributes:
        unit: mL, or pixels of single slices without spacing.
        found, truth: (n,) amounts.
        patients: whose each of them is.
    """

    unit: Unit
    found: NDArray[np.float64]
    truth: NDArray[np.float64]
    patients: Sequence[str]

    @property
    def errors(self) -> NDArray[np.float64]:
        return self.found - self.truth

    @property
    def bias(self) -> Estimate:
        """Mean of found minus true."""
        return mean(self.errors.tolist(), self.patients)

    @property
    def absolute(self) -> Estimate:
        """Mean size of the error."""
        return mean(np.abs(self.errors).tolist(), self.patients)

    @property
    def limits(self) -> tuple[float, float] | None:
        """Bias ± 1.96 standard deviations; None of fewer than three cases.

        Source:
            Bland and Altman, Lancet 327:307-310, 1986.
        """
        if len(self.errors) < _LEAST_FOR_LIMITS:
            return None
        middle, reach = float(self.errors.mean()), 1.96 * float(self.errors.std(ddof=1))
        return middle - reach, middle + reach

    def as_json(self) -> dict[str, Any]:
        return {
            "unit": self.unit,
            "cases": len(self.errors),
            "bias": self.bias.as_json(),
            "mean_absolute_error": self.absolute.as_json(),
            "limits_of_agreement": self.limits and list(self.limits),
            "limits_reason": None if self.limits else f"fewer than {_LEAST_FOR_LIMITS} cases",
        }


def draw_agreement(agreement: Agreement, path: Path, *, title: str) -> None:
    """The Bland-Altman plot."""
    canvas = figure.new_figure(6, 4)
    axes = canvas.subplots()
    means = (agreement.found + agreement.truth) / 2
    axes.scatter(means, agreement.errors, color=figure.colour(0), alpha=0.7, zorder=3)
    axes.axhline(0, color="grey", linewidth=0.8)
    unit = agreement.unit
    lines = [(float(agreement.errors.mean()), "bias")] if len(means) else []
    if agreement.limits is not None:
        lines += [(agreement.limits[0], "-1.96 SD"), (agreement.limits[1], "+1.96 SD")]
    for place, name in lines:
        style = "-" if name == "bias" else "--"
        axes.axhline(place, color=figure.colour(1), linestyle=style)
        axes.annotate(
            f"{name}\n{place:,.1f} {unit}", (1.01, place), xycoords=("axes fraction", "data"), va="center", fontsize=8
        )
    owners = "" if unit == "px" else f", patients: {len(set(agreement.patients))}"
    note = "" if agreement.limits else f"; no limits of agreement of fewer than {_LEAST_FOR_LIMITS} cases"
    heading = f"{title}\ncases: {len(means)}{owners}{note}"
    figure.tidy(axes, title=heading, x=f"mean of found and true ({unit})", y=f"found minus true ({unit})")
    figure.save(canvas, path)
