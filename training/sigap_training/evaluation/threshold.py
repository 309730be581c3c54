"""What another threshold would have given, before post-processing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sigap_training import figure

SHOWN = tuple(round(step / 20, 2) for step in range(1, 20))


def lowest_byte(threshold: float) -> int:
    """The smallest probability 0..255 that passes a threshold, as the gateway decides it.

    >>> lowest_byte(0.2), lowest_byte(0.5)
    (51, 128)
    """
    return math.ceil(round(255 * threshold, 9))


def dice_by_threshold(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Dice for each lowest probability 0..255 that is still called, from `calibration.histogram`; [256]."""
    false, hits = np.cumsum(counts[:, ::-1], axis=1)[:, ::-1]
    scores: NDArray[np.float64] = 2 * hits / np.maximum(hits + false + counts[1].sum(), 1)
    return scores


@dataclass(frozen=True)
class ThresholdCurve:
    """Dice of each lowest probability that is called.

    Attributes:
        pooled: [256], over all voxels.
        a_case: [256], the mean over cases that have the label; nan without one.
        called_without: [256], of cases that have it not, the share with any voxel called; nan without one.
        chosen: the contract's threshold.
    """

    pooled: NDArray[np.float64]
    a_case: NDArray[np.float64]
    called_without: NDArray[np.float64]
    chosen: float

    @classmethod
    def of(cls, histograms: Sequence[NDArray[np.int64]], chosen: float) -> ThresholdCurve:
        """From the histograms of cases."""
        curves = [dice_by_threshold(counts) for counts in histograms if counts[1].any()]
        a_case = np.mean(curves, axis=0) if curves else np.full(256, np.nan)
        empty = [counts for counts in histograms if not counts[1].any()]
        # Something is called down from the highest probability that any voxel has.
        called = [np.cumsum(counts[0, ::-1])[::-1] > 0 for counts in empty]
        called_without = np.mean(called, axis=0) if called else np.full(256, np.nan)
        return cls(dice_by_threshold(np.sum(histograms, axis=0)), a_case, called_without, chosen)

    def as_json(self) -> dict[str, Any]:
        rows = [
            {
                "threshold": threshold,
                **{
                    name: None if np.isnan(curve[0]) else float(curve[lowest_byte(threshold)])
                    for name, curve in vars(self).items()
                    if name != "chosen"
                },
            }
            for threshold in SHOWN
        ]
        return {"chosen": self.chosen, "before_post_processing": True, "curve": rows}


def draw_threshold(curve: ThresholdCurve, path: Path, *, title: str) -> None:
    """Dice (where any case has the label) and false calls against threshold, the contract's marked."""
    canvas = figure.new_figure(5.5, 4)
    axes = canvas.subplots()
    places = np.arange(1, 256) / 255
    has_label = not np.isnan(curve.a_case[0])
    if has_label:
        axes.plot(places, curve.a_case[1:], color=figure.colour(0), label="Dice, mean of cases that have it")
        axes.plot(places, curve.pooled[1:], color=figure.colour(1), linestyle="--", label="Dice, all voxels")
    if not np.isnan(curve.called_without[0]):
        axes.plot(
            places,
            curve.called_without[1:],
            color=figure.colour(2),
            linestyle="-.",
            label="called, of cases without it" if has_label else "called, of cases: none has it",
        )
    axes.axvline(curve.chosen, color="grey", linestyle=":", label=f"the contract's: {curve.chosen:g}")
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.legend(framealpha=0.85, edgecolor="none")
    names = [*(["Dice"] if has_label else []), *([] if np.isnan(curve.called_without[0]) else ["share called"])]
    figure.tidy(axes, title=title, x="threshold (before post-processing)", y=", ".join(names))
    figure.save(canvas, path)
