"""The finished stack: where each slice's voxels stand, and what is odd about their line."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sigap.core.grid import Grid
from sigap.core.verdict import Reason, Severity
from sigap.imaging.dicom.places import Placed, common_axes
from sigap.imaging.dicom.planes import PlaneAxes
from sigap.imaging.slices import NOISE_MM, SliceAxis, axis_shares

TILT_DEGREES = 0.5
# Positions may stray from a straight line by so much of a pixel before one affine no longer describes them.
_STRAIGHT_FRACTION = 0.25


def build_grid(placed: Placed) -> tuple[Grid, list[Reason]]:
    """Place the slices and say what is odd about them.

    Args:
        placed: one frame a place, with spacing, position and orientation that agree.
    """
    axes = common_axes(placed.frames)
    if axes is None:
        raise ValueError("frames without a plane have no grid")
    first = placed.frames[0]
    positions = np.array([frame.position_mm for frame in placed.frames], dtype=np.float64)
    axis = axis_shares(placed.heights_mm, thickness_mm=_thickness_mm(placed))
    rows_mm, columns_mm = first.pixel_spacing_mm or (0.0, 0.0)
    layout = first.image.layout
    grid = Grid(
        shape=(len(placed.frames), layout.rows, layout.columns),
        spacing_mm=(axis.spacing_mm, rows_mm, columns_mm),
        shares_mm=axis.shares_mm,
        first_voxels_lps_mm=positions,
        row_step_lps_mm=axes.along_column * rows_mm,
        column_step_lps_mm=axes.along_row * columns_mm,
        orientation=axes.orientation,
        is_uniform=axis.is_even and _is_straight(positions, min(rows_mm, columns_mm)),
    )
    tilt = _find_tilt(positions, axes)
    return grid, [*_describe_axis(axis, placed.heights_mm), *tilt]


def _thickness_mm(placed: Placed) -> float | None:
    thickness = placed.frames[0].thickness_mm
    return thickness if thickness is not None and thickness > 0 else None


def _describe_axis(axis: SliceAxis, heights_mm: NDArray[np.float64]) -> list[Reason]:
    reasons = []
    if axis.shares_mm is None:
        message = "The only slice has no Slice Thickness: areas are given, millilitres cannot be."
        reasons.append(Reason("no_spacing", Severity.WARNING, message, {"slices": 1}))
    if axis.gaps:
        largest = max(axis.gaps, key=lambda gap: gap.distance_mm)
        count = len(axis.gaps)
        message = (
            f"Slices are missing at {count} place{'s' * (count > 1)}: slices {largest.after} and {largest.after + 1}"
            f" lie {largest.distance_mm:.1f} mm apart where {largest.counted_mm:.1f} mm are usual."
            " What lies in a gap is not counted."
        )
        gaps = [
            {
                "after_slice": gap.after,
                "distance_mm": gap.distance_mm,
                "usual_mm": gap.counted_mm,
                "from_mm": float(heights_mm[gap.after]),
                "to_mm": float(heights_mm[gap.after + 1]),
            }
            for gap in axis.gaps
        ]
        reasons.append(Reason("missing_slices", Severity.WARNING, message, {"gaps": gaps}))
    if axis.changes:
        change = axis.changes[0]
        message = (
            f"The distance of slices changes from {change.before_mm:.2f} to {change.after_mm:.2f} mm"
            f" at slice {change.at}; each slice is counted with its own share."
        )
        changes = [{"slice": one.at, "before_mm": one.before_mm, "after_mm": one.after_mm} for one in axis.changes]
        reasons.append(Reason("mixed_spacing", Severity.WARNING, message, {"changes": changes}))
    return reasons


def _find_tilt(positions_mm: NDArray[np.float64], axes: PlaneAxes) -> list[Reason]:
    """Compare the line through the positions with the normal; the header's Gantry/Detector Tilt has no agreed sign."""
    if len(positions_mm) < 2:
        return []
    centred = positions_mm - positions_mm.mean(axis=0)
    heights = centred @ axes.normal
    slope = heights @ centred / (heights @ heights)
    drift = slope - (slope @ axes.normal) * axes.normal
    angle = float(np.degrees(np.arctan(np.linalg.norm(drift))))
    drift_mm = float(np.linalg.norm(drift) * np.ptp(heights))
    if angle <= TILT_DEGREES or drift_mm <= NOISE_MM:
        return []
    message = (
        f"The gantry was tilted by {angle:.1f}°: the slices are shifted against each other, and measured as they lie."
    )
    return [Reason("gantry_tilt", Severity.WARNING, message, {"angle_degrees": angle, "drift_mm": drift_mm})]


def _is_straight(positions_mm: NDArray[np.float64], pixel_mm: float) -> bool:
    """Whether equal steps from the first position to the last reach every slice."""
    if len(positions_mm) < 3:
        return True
    fractions = np.linspace(0, 1, len(positions_mm))[:, np.newaxis]
    even = positions_mm[0] + fractions * (positions_mm[-1] - positions_mm[0])
    strays = np.linalg.norm(positions_mm - even, axis=1)
    return bool(strays.max() <= max(NOISE_MM, _STRAIGHT_FRACTION * pixel_mm))
