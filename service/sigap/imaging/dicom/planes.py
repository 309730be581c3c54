"""The plane of a slice: directions of its rows, columns and normal (PS3.3 C.7.6.2.1.1)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sigap.core.grid import Orientation

# Cosines rounded to two or three decimals still pass; a vector that is no direction at all does not.
_UNIT_TOLERANCE = 0.01
_PERPENDICULAR_TOLERANCE = 0.01


@dataclass(frozen=True)
class PlaneAxes:
    """Unit vectors in LPS.

    Attributes:
        along_row: from one column to the next.
        along_column: from one row to the next.
        normal: of the plane, towards the head.
    """

    along_row: NDArray[np.float64]
    along_column: NDArray[np.float64]
    normal: NDArray[np.float64]

    @property
    def angle_degrees(self) -> float:
        """Between the normal and the patient's axis, 0..90."""
        return float(np.degrees(np.arccos(min(1.0, abs(float(self.normal[2]))))))

    @property
    def orientation(self) -> Orientation:
        """The way to canonical axes: the axis nearest to left-right becomes the columns, then axes are flipped."""
        straight = abs(self.along_row[0]) + abs(self.along_column[1])
        crossed = abs(self.along_row[1]) + abs(self.along_column[0])
        transpose = bool(crossed > straight)
        columns, rows = (self.along_column, self.along_row) if transpose else (self.along_row, self.along_column)
        return Orientation(transpose=transpose, flip_rows=bool(rows[1] < 0), flip_columns=bool(columns[0] < 0))

    def differs_degrees(self, other: PlaneAxes) -> float:
        """The larger angle between the two planes' rows, or columns."""
        return max(
            _angle_degrees(self.along_row, other.along_row), _angle_degrees(self.along_column, other.along_column)
        )


def plane_axes(cosines: Sequence[float] | None) -> PlaneAxes | None:
    """Read Image Orientation (Patient); None unless it is two perpendicular unit vectors."""
    if cosines is None:
        return None
    along_row, along_column = np.asarray(cosines, dtype=np.float64).reshape(2, 3)
    lengths = math.hypot(*along_row), math.hypot(*along_column)  # without overflow, whatever the cosines are
    if any(abs(length - 1) > _UNIT_TOLERANCE for length in lengths):
        return None
    along_row, along_column = along_row / lengths[0], along_column / lengths[1]
    if abs(float(along_row @ along_column)) > _PERPENDICULAR_TOLERANCE:
        return None
    normal = np.cross(along_row, along_column)
    normal /= np.linalg.norm(normal)
    return PlaneAxes(along_row, along_column, -normal if normal[2] < 0 else normal)


def _angle_degrees(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    # The arc cosine of a number near 1 has no precision left; the arc tangent does.
    return float(np.degrees(np.arctan2(np.linalg.norm(np.cross(one, other)), one @ other)))
