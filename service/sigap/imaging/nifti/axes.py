"""Which stored axis of a NIfTI is which in the patient, and where its voxels stand."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from nibabel.orientations import io_orientation
from numpy.typing import NDArray

from sigap.core.grid import Grid, Orientation
from sigap.core.verdict import Reason, Severity
from sigap.imaging.nifti.header import Header

_FLATTEST = 1e-6
"""Voxels flatter than this part of a box with their edges are a singular affine, but for rounding."""

_LEAST_MM, _LARGEST_MM = 1e-6, 1e6
"""Of a spacing: wide of anything real, narrow enough that no area or volume over- or underflows."""


@dataclass(frozen=True)
class Axes:
    """The stored axes in the contract's order.

    Attributes:
        order: for slice, row, column: which stored axis it is.
        orientation: which of them run against the canonical direction.
    """

    order: tuple[int, int, int]
    orientation: Orientation


def nearest(affine_ras: NDArray[np.float64]) -> Axes:
    """Slice axis: the stored axis nearest S-I; row axis: A-P; column axis: R-L, by nibabel's rule.

    The rule is asked about the axes in an order and with signs of our own, so that a tie (a turn of 45°) is decided
    alike however the same image is flipped or permuted.
    """
    steps = affine_ras[:3, :3].T
    signs = [1.0 if next(value for value in step if value) > 0 else -1.0 for step in steps]
    listed = sorted(range(3), key=lambda axis: tuple(signs[axis] * steps[axis]))
    unflipped = np.eye(4)
    unflipped[:3, :3] = np.array([signs[axis] * steps[axis] for axis in listed]).T
    world = {
        int(place): (axis, bool(sign * signs[axis] > 0))
        for (place, sign), axis in zip(io_orientation(unflipped), listed, strict=True)
    }
    (column_axis, is_rightwards), (row_axis, is_forwards), (slice_axis, is_upwards) = world[0], world[1], world[2]
    return Axes(
        order=(slice_axis, row_axis, column_axis),
        orientation=Orientation(flip_slices=not is_upwards, flip_rows=is_forwards, flip_columns=is_rightwards),
    )


def spacing_fault(header: Header) -> Reason | None:
    """Whether a spacing is not positive, finite and of this world, or the affine singular or not finite."""
    pixdim = [value if math.isfinite(value) else None for value in header.pixdim_mm]
    if any(value is None or value <= 0 for value in pixdim):
        message = "The NIfTI header gives a voxel spacing that is not a positive number, so nothing can be measured."
    elif header.affine_ras_mm is None or not _is_invertible(header.affine_ras_mm):
        message = "The NIfTI header's affine is singular or not finite, so nothing can be placed or measured."
    elif not _are_lengths([*header.pixdim_mm, *np.linalg.norm(header.affine_ras_mm[:3, :3], axis=0)]):
        message = "The NIfTI header gives a voxel spacing that no scanner has, so nothing can be measured."
    else:
        return None
    message = f"{message} Convert the study anew from DICOM."
    return Reason("no_spacing", Severity.REFUSED, message, {"pixdim_mm": pixdim})


def _are_lengths(spacings_mm: list[float]) -> bool:
    return all(_LEAST_MM <= spacing <= _LARGEST_MM for spacing in spacings_mm)


def _is_invertible(affine: NDArray[np.float64]) -> bool:
    with np.errstate(all="ignore"):
        edges = np.linalg.norm(affine[:3, :3], axis=0)
        box = float(np.prod(edges))
        return bool(
            np.isfinite(affine).all()
            and math.isfinite(box)
            and box > 0
            and abs(np.linalg.det(affine[:3, :3] / edges)) > _FLATTEST
        )


def grid(header: Header, axes: Axes, affine_ras: NDArray[np.float64]) -> Grid:
    """Places of the voxels `[slice, row, column]`, in LPS mm.

    Slices stand apart by their distance along the normal of their plane: then voxels · pixel area · share is the
    affine's volume also where it shears. Without orientation there are distances and no places.
    """
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine_ras
    slice_step, row_step, column_step = (affine[:3, axis] for axis in axes.order)
    slices, rows, columns = (header.dims[axis] for axis in axes.order)
    spacing = (_height(slice_step, row_step, column_step), _length(row_step), _length(column_step))
    places = affine[:3, 3] + np.arange(slices)[:, None] * slice_step
    return Grid(
        shape=(slices, rows, columns),
        spacing_mm=spacing,
        shares_mm=(spacing[0],) * slices,
        first_voxels_lps_mm=places if header.is_oriented else None,
        row_step_lps_mm=row_step if header.is_oriented else None,
        column_step_lps_mm=column_step if header.is_oriented else None,
        orientation=axes.orientation,
        is_oriented=header.is_oriented,
    )


def _length(step: NDArray[np.float64]) -> float:
    # Along a world axis it is the header's own number, without the rounding of a root.
    along = step[step != 0]
    return float(abs(along[0])) if len(along) == 1 else float(np.linalg.norm(step))


def _height(slice_step: NDArray[np.float64], row_step: NDArray[np.float64], column_step: NDArray[np.float64]) -> float:
    normal = np.cross(row_step, column_step)
    along = np.flatnonzero(normal)
    if len(along) == 1:
        return float(abs(slice_step[along[0]]))
    return float(abs(slice_step @ normal) / np.linalg.norm(normal))
