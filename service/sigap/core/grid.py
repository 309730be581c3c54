"""Where a volume's voxels stand in the patient."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Side = Literal["R", "L", "A", "P", "S", "I"]


@dataclass(frozen=True)
class Orientation:
    """The way from stored axes to the canonical ones.

    Canonical: slices inferior→superior, rows anterior→posterior, columns right→left. Drawn row by row from the top
    left, a canonical slice shows the patient's right on the viewer's left. Both directions give views, never copies.
    """

    transpose: bool = False
    flip_slices: bool = False
    flip_rows: bool = False
    flip_columns: bool = False

    @property
    def _flips(self) -> tuple[Any, ...]:
        steps = (self.flip_slices, self.flip_rows, self.flip_columns)
        return (..., *(slice(None, None, -1 if flip else 1) for flip in steps))

    @property
    def axes(self) -> tuple[Side, Side, Side]:
        """The side that is nearest to where stored slices, rows and columns run."""
        up: Side = "I" if self.flip_slices else "S"
        down: Side = "A" if self.flip_rows else "P"
        right: Side = "R" if self.flip_columns else "L"
        return (up, right, down) if self.transpose else (up, down, right)

    def to_canonical(self, stored: NDArray[Any]) -> NDArray[Any]:
        """View `[…, slice, row, column]` as stored in canonical order (the flips are those of the transposed axes)."""
        canonical: NDArray[Any] = (stored.swapaxes(-1, -2) if self.transpose else stored)[self._flips]
        return canonical

    def to_stored(self, canonical: NDArray[Any]) -> NDArray[Any]:
        """The inverse of `to_canonical`."""
        flipped: NDArray[Any] = canonical[self._flips]
        return flipped.swapaxes(-1, -2) if self.transpose else flipped


@dataclass(frozen=True)
class Grid:
    """Positions, distances and directions of `[slice, row, column]` voxels.

    Attributes:
        shape: (slices, rows, columns).
        spacing_mm: median distance of slices along their normal; distance of neighbouring rows; of neighbouring
            columns. None: unknown.
        shares_mm: for each slice the length of the axis that it stands for; None: unknown, then there are no
            millilitres.
        first_voxels_lps_mm: (slices, 3), centre of each slice's voxel [0, 0]; None: unknown.
        row_step_lps_mm: (3,), from one row to the next; None: unknown.
        column_step_lps_mm: (3,), from one column to the next; None: unknown.
        orientation: the way to canonical axes (what the model sees and pictures show).
        is_oriented: whether left and right are known; if not, pictures carry no marks and centroids are null.
        is_uniform: whether one affine describes all slices (even spacing, no gap).
    """

    shape: tuple[int, int, int]
    spacing_mm: tuple[float | None, float | None, float | None]
    shares_mm: tuple[float, ...] | None
    first_voxels_lps_mm: NDArray[np.float64] | None
    row_step_lps_mm: NDArray[np.float64] | None
    column_step_lps_mm: NDArray[np.float64] | None
    orientation: Orientation = Orientation()
    is_oriented: bool = True
    is_uniform: bool = True

    @property
    def pixel_area_mm2(self) -> float | None:
        """In-plane area of one pixel; None without spacing. A NIfTI's rows and columns need not be perpendicular."""
        if self.row_step_lps_mm is not None and self.column_step_lps_mm is not None:
            crossed = np.cross(self.row_step_lps_mm, self.column_step_lps_mm)
            if np.dot(self.row_step_lps_mm, self.column_step_lps_mm) != 0:
                return float(np.linalg.norm(crossed))
        _, rows, columns = self.spacing_mm
        return None if rows is None or columns is None else rows * columns

    @property
    def axes(self) -> tuple[Side, Side, Side] | None:
        """The patient's side towards which slices, rows and columns run, as stored; None where sides are unknown."""
        return self.orientation.axes if self.is_oriented else None

    def world_lps_mm(self, index: tuple[float, float, float]) -> NDArray[np.float64] | None:
        """LPS position of a voxel index; a fractional slice lies between its neighbours. None without orientation."""
        if (
            not self.is_oriented
            or self.first_voxels_lps_mm is None
            or self.row_step_lps_mm is None
            or self.column_step_lps_mm is None
        ):
            return None
        places = np.arange(self.shape[0])
        first = np.array([np.interp(index[0], places, self.first_voxels_lps_mm[:, axis]) for axis in range(3)])
        return first + index[1] * self.row_step_lps_mm + index[2] * self.column_step_lps_mm
