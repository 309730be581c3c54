"""Scores of masks and of yes-or-no answers, with their uncertainty."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def dice(found: NDArray[np.bool_], truth: NDArray[np.bool_]) -> float:
    """2 |A ∩ B| / (|A| + |B|); 1 where both are empty.

    >>> dice(np.array([True, True, False]), np.array([True, False, False]))
    0.6666666666666666
    """
    total = int(found.sum()) + int(truth.sum())
    return 2 * int((found & truth).sum()) / total if total else 1.0


def histogram(probabilities: NDArray[np.uint8], truth: NDArray[np.bool_]) -> NDArray[np.int64]:
    """How many pixels have each probability 0..255: [0] outside the truth, [1] inside; [2, 256]."""
    places = probabilities.astype(np.int64) + 256 * truth
    return np.bincount(places.ravel(), minlength=512).reshape(2, 256)


def dice_by_threshold(counts: NDArray[Any]) -> NDArray[np.float64]:
    """Dice for each lowest probability 0..255 that is still called, from a `histogram`; [256]."""
    false, hits = np.cumsum(counts[:, ::-1], axis=1)[:, ::-1]
    scores: NDArray[np.float64] = 2 * hits / np.maximum(hits + false + counts[1].sum(), 1)
    return scores


def bootstrap_interval(values: Sequence[float], *, rounds: int = 2000, seed: int = 0) -> tuple[float, float]:
    """95 % percentile interval of the mean, the values drawn again with replacement.

    Only as good as the values are independent: slices of one patient are not.
    """
    draw = np.random.default_rng(seed)
    means = draw.choice(np.asarray(values, np.float64), (rounds, len(values))).mean(axis=1)
    low, high = np.percentile(means, (2.5, 97.5))
    return float(low), float(high)


def wilson_interval(count: int, total: int) -> tuple[float, float]:
    """95 % interval of a share.

    Source:
        Wilson 1927, JASA 22:209-212.

    >>> [round(end, 3) for end in wilson_interval(9, 10)]
    [0.596, 0.982]
    """
    z, share = 1.959964, count / total
    middle = share + z * z / (2 * total)
    reach = z * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    scale = 1 + z * z / total
    return (middle - reach) / scale, (middle + reach) / scale
