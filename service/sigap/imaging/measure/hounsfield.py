"""CT numbers inside a mask."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from sigap.core.measurement import Hounsfield
from sigap.core.study import Volume
from sigap.imaging.postprocess.region import Region


def hounsfield(volume: Volume, region: Region) -> Hounsfield | None:
    """Mean, standard deviation (ddof 0), least and greatest CT number; None of a picture, or of nothing.

    Slice by slice, so that nothing as large as the region is copied; whole numbers are summed exactly.
    """
    if not volume.is_hounsfield or not region.voxels.any():
        return None
    planes = [plane[mask] for plane, mask in zip(volume.voxels[region.box], region.voxels, strict=True) if mask.any()]
    count = sum(len(values) for values in planes)
    low, high = min(float(values.min()) for values in planes), max(float(values.max()) for values in planes)
    mean, sd = _moments_of_integers(planes, count) if volume.voxels.dtype.kind in "iu" else _moments(planes, count)
    return Hounsfield(mean=mean, sd=sd, min=low, max=high)


def _moments_of_integers(planes: list[NDArray[np.integer]], count: int) -> tuple[float, float]:
    total = squares = 0
    for values in planes:
        wide = values.astype(np.int64)
        total += int(wide.sum())
        squares += int(np.dot(wide, wide))
    # In Python's integers: neither overflow nor the cancellation that plagues this formula in floating point.
    return total / count, math.sqrt(count * squares - total * total) / count


def _moments(planes: list[NDArray[np.floating]], count: int) -> tuple[float, float]:
    mean = math.fsum(float(values.sum(dtype=np.float64)) for values in planes) / count
    squares = math.fsum(float(np.square(values.astype(np.float64) - mean).sum()) for values in planes)
    return mean, math.sqrt(squares / count)
