"""A study's labels after post-processing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray


def mask_of(labels: NDArray[np.uint8], values: tuple[int, ...]) -> NDArray[np.bool_]:
    """Where any of the values stands, same shape. A look-up by index, as in `isin`, would take eight bytes a pixel."""
    mask = np.zeros(labels.shape, bool)
    for value in values:
        mask |= labels == value
    return mask


@dataclass(frozen=True)
class Notice:
    """A warning about the answer, for the report's `warnings`."""

    code: str
    message: str


@dataclass(frozen=True)
class Dropped:
    """What post-processing removed from a label, so that nothing vanishes unseen.

    Attributes:
        components: 26-connected pieces removed.
        slice_voxels: (slices,), voxels removed from each slice.
    """

    components: int
    slice_voxels: NDArray[np.int64]


@dataclass(frozen=True)
class Segmentation:
    """The mask, and how it depends on the threshold.

    Attributes:
        labelmap: (slices, rows, columns), uint8, indices as stored; 0 background, else the innermost label's place in
            the contract's order, from 1. A label that contains another has the voxels of both. Of two labels that
            overlap without containing each other the later one stands.
        dropped: for each label what post-processing removed at the middle threshold.
        slice_voxels: for each label (3, slices): voxels a slice at the low, middle and high threshold, post-processing
            included, what it contains counted too. Empty where the mask did not come from probabilities (a truth mask).
        warnings: found while post-processing, e.g. `skull_not_found`.
    """

    labelmap: NDArray[np.uint8]
    dropped: Mapping[str, Dropped] = field(default_factory=dict)
    slice_voxels: Mapping[str, NDArray[np.int64]] = field(default_factory=dict)
    warnings: tuple[Notice, ...] = ()
