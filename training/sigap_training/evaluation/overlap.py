"""How much two masks have in common, counted in voxels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sigap_training.evaluation.intervals import Statistic, ratio


@dataclass(frozen=True)
class Overlap:
    """Voxels by what was found and what is true.

    >>> Overlap(both=2, found_only=1, truth_only=1, neither=6).dice
    0.6666666666666666
    """

    both: int
    found_only: int
    truth_only: int
    neither: int

    @classmethod
    def of(cls, found: NDArray[np.bool_], truth: NDArray[np.bool_]) -> Overlap:
        """Count two masks of one shape."""
        both = int(np.count_nonzero(found & truth))
        found_only, truth_only = int(np.count_nonzero(found)) - both, int(np.count_nonzero(truth)) - both
        return cls(both, found_only, truth_only, found.size - both - found_only - truth_only)

    @property
    def is_true(self) -> bool:
        """Whether the truth has any voxel."""
        return self.both + self.truth_only > 0

    @property
    def dice(self) -> float:
        """2 |A ∩ B| / (|A| + |B|); 1 where both are empty."""
        total = 2 * self.both + self.found_only + self.truth_only
        return 2 * self.both / total if total else 1.0

    @property
    def accuracy(self) -> float:
        return (self.both + self.neither) / (self.both + self.found_only + self.truth_only + self.neither)

    @property
    def precision(self) -> float | None:
        """Of the found the true part; None where nothing was found."""
        found = self.both + self.found_only
        return self.both / found if found else None

    @property
    def recall(self) -> float | None:
        """Of the true the found part; None where nothing is true."""
        return self.both / (self.both + self.truth_only) if self.is_true else None

    def as_row(self) -> list[float]:
        return [float(self.both), float(self.found_only), float(self.truth_only), float(self.neither)]


def _dice(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    both, found_only, truth_only, _ = np.moveaxis(sums, -1, 0)
    return ratio(np.stack([2 * both, 2 * both + found_only + truth_only], axis=-1))


def _accuracy(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    return ratio(np.stack([sums[..., 0] + sums[..., 3], sums.sum(axis=-1)], axis=-1))


def _precision(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    return ratio(np.stack([sums[..., 0], sums[..., 0] + sums[..., 1]], axis=-1))


def _recall(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    return ratio(np.stack([sums[..., 0], sums[..., 0] + sums[..., 2]], axis=-1))


POOLED: dict[str, Statistic] = {"dice": _dice, "accuracy": _accuracy, "precision": _precision, "recall": _recall}
"""Figures of voxels summed over cases, from sums of `Overlap.as_row`."""
