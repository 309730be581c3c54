"""How far two masks' surfaces are apart, in millimetres."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from monai.metrics.utils import get_mask_edges, get_surface_distance
from numpy.typing import NDArray

from sigap.imaging.postprocess.region import bounding_box


@dataclass(frozen=True)
class SurfaceDistance:
    """Distances between two surfaces.

    Attributes:
        hd95_mm: the larger of both directions' 95th percentiles of the distance to the other surface.
        assd_mm: average symmetric surface distance, over the voxels of both surfaces.
    """

    hd95_mm: float
    assd_mm: float


def surface_distance(
    found: NDArray[np.bool_], truth: NDArray[np.bool_], spacing_mm: tuple[float | None, float | None, float | None]
) -> SurfaceDistance | None:
    """Compare two masks [D, H, W]; None where one is empty or a spacing is unknown.

    As `monai.metrics.compute_hausdorff_distance` (percentile 95) and `compute_average_surface_distance` (symmetric), by
    their own parts, so that the distances are worked out once; cropped to what either mask fills.
    """
    box = bounding_box(found | truth)
    if box is None or None in spacing_mm or not (found.any() and truth.any()):
        return None
    # A margin: on the edge of the crop a surface is still a surface.
    ours, theirs = get_mask_edges(np.pad(found[box], 1), np.pad(truth[box], 1))
    spacing = [float(length) for length in spacing_mm if length is not None]
    both_ways = (
        get_surface_distance(ours, theirs, spacing=spacing),
        get_surface_distance(theirs, ours, spacing=spacing),
    )
    distances = [np.asarray(way, np.float64) for way in both_ways]
    return SurfaceDistance(
        hd95_mm=max(float(np.percentile(way, 95)) for way in distances),
        assd_mm=float(np.concatenate(distances).mean()),
    )
