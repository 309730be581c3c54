"""Lesions found or missed, one by one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from sigap.imaging.postprocess.region import bounding_box
from sigap_training.evaluation.intervals import Estimate, bootstrap, ratio

SIZE_CLASSES: dict[str, tuple[int, float]] = {
    "all": (1, np.inf),
    ">= 100": (100, np.inf),
    "< 100": (1, 100),
    "100-999": (100, 1000),
    ">= 1000": (1000, np.inf),
}
"""Voxels from, and up to but not including; they overlap, as `>= 100` is what the project promises."""


@dataclass(frozen=True)
class Lesions:
    """The 26-connected pieces of a truth and of what was found; a hit is any common voxel.

    Attributes:
        truth_voxels: (t,) size of each true lesion.
        is_hit: (t,) whether anything found touches it.
        found_voxels: (f,) size of each found piece.
        is_right: (f,) whether it touches a true lesion.
    """

    truth_voxels: NDArray[np.int64]
    is_hit: NDArray[np.bool_]
    found_voxels: NDArray[np.int64]
    is_right: NDArray[np.bool_]

    @classmethod
    def of(cls, found: NDArray[np.bool_], truth: NDArray[np.bool_]) -> Lesions:
        """Compare two masks [D, H, W]; of a single slice the pieces are 8-connected."""
        box = bounding_box(found | truth)
        if box is None:
            nothing, none = np.zeros(0, np.int64), np.zeros(0, bool)
            return cls(nothing, none, nothing, none)
        found, truth = found[box], truth[box]
        true_voxels, is_hit = _pieces(truth, found)
        found_voxels, is_right = _pieces(found, truth)
        return cls(true_voxels, is_hit, found_voxels, is_right)

    def as_row(self, size: str) -> list[float]:
        """Of one size class: true lesions hit and in all, found pieces right and in all, false ones."""
        least, limit = SIZE_CLASSES[size]
        true = (self.truth_voxels >= least) & (self.truth_voxels < limit)
        mine = (self.found_voxels >= least) & (self.found_voxels < limit)
        right = float(np.count_nonzero(self.is_right & mine))
        found = float(np.count_nonzero(mine))
        return [float(np.count_nonzero(self.is_hit & true)), float(np.count_nonzero(true)), right, found, found - right]


def _pieces(mask: NDArray[np.bool_], other: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Voxels of each piece of a mask, and whether it meets the other mask."""
    numbers, count = ndimage.label(mask, np.ones((3, 3, 3)))
    touched = np.zeros(count + 1, bool)
    touched[numbers[other]] = True
    return np.bincount(numbers.ravel(), minlength=count + 1)[1:].astype(np.int64), touched[1:]


@dataclass(frozen=True)
class Detection:
    """Lesion-wise figures of one size class.

    Attributes:
        truth, hit: true lesions, and how many of them were hit.
        found, false: found pieces, and how many of them touch no true lesion.
        recall, precision, f1: a true lesion counts by its own size, a found piece by its own.
        false_a_patient: false pieces by patients.
    """

    truth: int
    hit: int
    found: int
    false: int
    recall: Estimate
    precision: Estimate
    f1: Estimate
    false_a_patient: Estimate

    def as_json(self) -> dict[str, Any]:
        counts = {"truth": self.truth, "hit": self.hit, "found": self.found, "false": self.false}
        figures = ("recall", "precision", "f1", "false_a_patient")
        return {**counts, **{name: getattr(self, name).as_json() for name in figures}}


def detect(lesions: Sequence[Lesions], patients: Sequence[str], size: str) -> Detection:
    """Sum the lesions of cases, with bootstrap intervals over patients."""
    rows = np.array([one.as_row(size) for one in lesions]).reshape(-1, 5)
    hit, truth, _, found, false = rows.sum(axis=0).astype(int).tolist()
    _, firsts = np.unique(np.asarray(patients, str), return_index=True)
    # Each patient counts once, however many of its cases there are.
    is_first = np.isin(np.arange(len(rows)), firsts).astype(float)
    return Detection(
        truth=truth,
        hit=hit,
        found=found,
        false=false,
        recall=bootstrap(rows[:, [0, 1]], patients, ratio),
        precision=bootstrap(rows[:, [2, 3]], patients, ratio),
        f1=bootstrap(rows[:, :4], patients, _f1),
        false_a_patient=bootstrap(np.stack([rows[:, 4], is_first], axis=1), patients, ratio),
    )


def _f1(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """Harmonic mean of recall and precision; 0 where nothing is hit, nan where there is no true lesion."""
    recall, precision = ratio(sums[..., 0:2]), np.nan_to_num(ratio(sums[..., 2:4]))
    with np.errstate(invalid="ignore", divide="ignore"):
        f1 = 2 * recall * precision / (recall + precision)
    return np.where(np.isnan(recall), np.nan, np.nan_to_num(f1))
