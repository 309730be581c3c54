"""The numbers of a report. Units stand in the names; None is what cannot be known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Hounsfield:
    """CT numbers inside a mask, in HU; the standard deviation has ddof 0."""

    mean: float
    sd: float
    min: float
    max: float


@dataclass(frozen=True)
class LabelMeasure:
    """One label as a whole, what it contains included.

    Attributes:
        area_mm2, area_px: of a 2-D input only.
        interval_ml: least and greatest volume over the three thresholds; how the number depends on the threshold, no
            confidence interval.
        dropped_components, dropped_volume_ml: what post-processing removed.
    """

    name: str
    voxels: int
    volume_ml: float | None
    area_mm2: float | None
    area_px: int | None
    interval_ml: tuple[float, float] | None
    hu: Hounsfield | None
    dropped_components: int
    dropped_volume_ml: float | None


@dataclass(frozen=True)
class Lesion:
    """One 26-connected piece of a label whose role is lesion.

    Attributes:
        id: from 1, largest volume first.
        voxels: how many.
        centroid_lps_mm: mean position of its voxels' centres, each slice weighted by its share of the axis.
        bounding_box: for slice, row, column: (first, one past the last).
        longest_diameter_mm: between outer pixel corners, in the plane of the key slice.
        perpendicular_diameter_mm: the longest chord inside the lesion at 90° to it.
        key_slice: where the longest diameter is largest; the lowest of equals.
        abc2_ml, abc2_weighted_ml, abc2_disagrees: of tasks whose contract names `abc2`.
    """

    id: int
    label: str
    voxels: int
    volume_ml: float | None
    area_mm2: float | None
    area_px: int | None
    centroid_lps_mm: tuple[float, float, float] | None
    bounding_box: tuple[tuple[int, int], tuple[int, int], tuple[int, int]]
    longest_diameter_mm: float | None
    perpendicular_diameter_mm: float | None
    key_slice: int
    hu: Hounsfield | None
    abc2_ml: float | None = None
    abc2_weighted_ml: float | None = None
    abc2_disagrees: bool | None = None


@dataclass(frozen=True)
class Measurements:
    """All numbers read off one segmentation.

    Attributes:
        labels: in the contract's order.
        lesions: of all labels whose role is lesion, largest volume first.
        measures: e.g. `tumour_burden_percent`; None where its denominator is zero.
    """

    labels: tuple[LabelMeasure, ...]
    lesions: tuple[Lesion, ...]
    measures: Mapping[str, float | None]
