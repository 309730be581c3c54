"""ABC/2, the bedside estimate of a parenchymal bleed's volume.

Kothari et al., The ABCs of measuring intracerebral hemorrhage volumes, Stroke 27:1304-1305, 1996. It holds for one
compact bleed inside the brain: a subdural, subarachnoid or intraventricular bleed is no ellipsoid.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sigap.core.grid import Grid
from sigap.imaging.measure.diameters import Plane, longest_diameter, perpendicular_diameter

_MM3_PER_ML = 1000
_DISAGREES_ML, _DISAGREES_PART = 5.0, 0.2


@dataclass(frozen=True)
class Abc2:
    """A·B·C/2 with every slice counted whole, with slices weighted, and whether the former is far from the truth."""

    volume_ml: float
    weighted_ml: float
    disagrees: bool


def abc2(mask: NDArray[np.bool_], grid: Grid, first_slice: int, volume_ml: float | None) -> Abc2 | None:
    """Estimate a lesion's volume.

    Args:
        mask: (slices, rows, columns) of the lesion's box.
        grid: of the whole volume.
        first_slice: the box's.
        volume_ml: the lesion's true volume.

    Returns:
        None where there are no millimetres.
    """
    plane = Plane.of(grid)
    if plane is None or grid.shares_mm is None or volume_ml is None:
        return None
    areas = np.count_nonzero(mask, axis=(1, 2))
    # The lowest of equals, as for the key slice.
    largest = int(np.argmax(areas))
    base = longest_diameter(mask[largest], plane) * perpendicular_diameter(mask[largest], plane) / 2 / _MM3_PER_ML
    shares = grid.shares_mm[first_slice : first_slice + len(mask)]
    estimate = base * math.fsum(share for share, area in zip(shares, areas, strict=True) if area)
    weighted = base * math.fsum(
        share * slice_weight(int(area), int(areas[largest])) for share, area in zip(shares, areas, strict=True)
    )
    apart = abs(estimate - volume_ml)
    return Abc2(estimate, weighted, apart > _DISAGREES_ML and apart > _DISAGREES_PART * volume_ml)


def slice_weight(area: int, largest: int) -> float:
    """Kothari's weight of a slice by its area against the largest: under 25 % none, under 75 % half, else whole.

    >>> [slice_weight(area, 100) for area in (24, 25, 74, 75)]
    [0.0, 0.5, 0.5, 1.0]
    """
    if 4 * area < largest:
        return 0.0
    return 0.5 if 4 * area < 3 * largest else 1.0
