"""How much: millilitres and square millimetres from counted voxels."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from sigap.core.grid import Grid

_MM3_PER_ML = 1000


def volume_ml(slice_voxels: NDArray[np.integer], grid: Grid, first: int = 0) -> float | None:
    """Voxels x in-plane area x the slice's share of the axis, summed; None where one of them is unknown.

    Args:
        slice_voxels: (n,) voxels in each of n neighbouring slices.
        grid: their grid.
        first: the first of those slices.

    The sum is exact before it is rounded (fsum): the order of the slices changes nothing.

    >>> grid = Grid((2, 4, 4), (5.0, 1.0, 1.0), (5.0, 10.0), None, None, None)
    >>> volume_ml(np.array([100, 50]), grid)
    1.0
    """
    area = grid.pixel_area_mm2
    if area is None or grid.shares_mm is None:
        return None
    shares = grid.shares_mm[first : first + len(slice_voxels)]
    length = math.fsum(int(count) * share for count, share in zip(slice_voxels, shares, strict=True))
    return length * area / _MM3_PER_ML


def area_px(voxels: int, grid: Grid) -> int | None:
    """Pixels of a 2-D input; None of a volume."""
    return voxels if grid.shape[0] == 1 else None


def area_mm2(voxels: int, grid: Grid) -> float | None:
    """Area in a 2-D input; None of a volume, or without pixel spacing."""
    pixel = grid.pixel_area_mm2
    return None if pixel is None or grid.shape[0] != 1 else voxels * pixel
