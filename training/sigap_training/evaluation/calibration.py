"""Whether a probability means what it says."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sigap_training import figure

BINS = 10


def histogram(probabilities: NDArray[np.uint8], truth: NDArray[np.bool_]) -> NDArray[np.int64]:
    """How many voxels have each probability 0..255: [0] outside the truth, [1] inside; [2, 256]."""
    counts = np.zeros((2, 256), np.int64)
    # Slice by slice: places take eight bytes a voxel.
    for plane, mask in zip(probabilities, truth, strict=True):
        places = plane.astype(np.int64) + 256 * mask
        counts += np.bincount(places.ravel(), minlength=512).reshape(2, 256)
    return counts


def bce_dice_loss(counts: NDArray[np.int64]) -> dict[str, float]:
    """Binary cross-entropy, one minus Dice, and their sum, of a `histogram`: what `losses.bce_dice` gives.

    Over all voxels together, at their stored size, Dice of the probabilities with one added above and below. They are
    bytes: 0 and 1 are taken as half a step (1/510) off, so that a voxel that is wrong and sure costs at most 6.2.

    Args:
        counts: [2, 256], at least one voxel.
    """
    stated = np.clip(np.arange(256) / 255, 1 / 510, 1 - 1 / 510)
    outside, inside = counts
    entropy = -float(outside @ np.log(1 - stated) + inside @ np.log(stated)) / float(counts.sum())
    both, either = float(inside @ stated), float(counts.sum(axis=0) @ stated) + float(inside.sum())
    dice = 1 - (2 * both + 1) / (either + 1)
    return {"binary_cross_entropy": entropy, "dice": dice, "sum": entropy + dice}


@dataclass(frozen=True)
class Calibration:
    """Voxels in ten equal bins of probability.

    Attributes:
        voxels: (10,) in each bin.
        stated: (10,) their mean probability; nan in an empty bin.
        observed: (10,) the part of them inside the truth; nan in an empty bin.
    """

    voxels: NDArray[np.int64]
    stated: NDArray[np.float64]
    observed: NDArray[np.float64]

    @classmethod
    def of(cls, counts: NDArray[np.int64]) -> Calibration:
        """Sum a `histogram`."""
        bins = np.minimum(np.arange(256) * BINS // 255, BINS - 1)
        voxels = np.bincount(bins, counts.sum(axis=0), minlength=BINS)
        with np.errstate(invalid="ignore"):
            stated = np.bincount(bins, counts.sum(axis=0) * np.arange(256) / 255, minlength=BINS) / voxels
            observed = np.bincount(bins, counts[1], minlength=BINS) / voxels
        return cls(voxels.astype(np.int64), stated, observed)

    def error(self, first_bin: int = 0) -> float | None:
        """Expected calibration error: the mean of |stated - observed| over voxels, from one bin on; None of nothing.

        Source:
            Naeini, Cooper and Hauskrecht, Obtaining well calibrated probabilities using Bayesian binning, AAAI 2015.
        """
        voxels = self.voxels[first_bin:]
        if not voxels.any():
            return None
        gaps = np.nan_to_num(np.abs(self.stated - self.observed)[first_bin:])
        return float((gaps * voxels).sum() / voxels.sum())

    def as_json(self) -> dict[str, Any]:
        return {
            "expected_calibration_error": self.error(),
            "expected_calibration_error_from_0.1": self.error(1),
            "bins": [
                {"voxels": int(voxels), "stated": _plain(stated), "observed": _plain(observed)}
                for voxels, stated, observed in zip(self.voxels, self.stated, self.observed, strict=True)
            ],
        }


def draw_calibration(calibration: Calibration, path: Path, *, title: str) -> None:
    """The reliability plot, and below it how many voxels each bin has."""
    canvas = figure.new_figure(5, 5.6)
    above, below = canvas.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    above.plot([0, 1], [0, 1], color="grey", linestyle="--", label="perfect")
    above.plot(calibration.stated, calibration.observed, color=figure.colour(0), marker="o", label="measured")
    above.set_xlim(0, 1)
    above.set_ylim(-0.02, 1.02)
    above.legend(loc="upper left", frameon=False)
    errors = [calibration.error(), calibration.error(1)]
    shown = ["-" if error is None else f"{error:.3g}" for error in errors]
    above.text(0.98, 0.03, f"ECE {shown[0]}\nwithout p < 0.1: {shown[1]}", ha="right", transform=above.transAxes)
    figure.tidy(above, title=title, x="", y="part inside the truth")
    centres = (np.arange(BINS) + 0.5) / BINS
    below.bar(centres, calibration.voxels, width=0.9 / BINS, color=figure.colour(5))
    below.set_yscale("log", nonpositive="clip")
    below.set_ylim(bottom=0.8)
    figure.tidy(below, title="", x="probability stated", y="voxels")
    figure.save(canvas, path)


def _plain(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
