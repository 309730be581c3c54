"""The mask as NIfTI, a uint8 labelmap with one voxel for each of the input's; what it shares with the scan."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import numpy as np
from nibabel.affines import voxel_sizes
from nibabel.nifti1 import Nifti1Header
from nibabel.nifti2 import Nifti2Header
from numpy.typing import NDArray

from sigap.core.grid import Grid
from sigap.core.result import Result
from sigap.core.segmentation import Notice
from sigap.core.study import NiftiFrame, Study, Volume
from sigap.encoders.gzipped import write_gzip
from sigap.encoders.labels import labelmap_of, legend

# What places an image in space; copied as stored, so that a mask's affine is the input's to the last bit.
_FRAME_FIELDS = (
    *("dim", "pixdim", "xyzt_units", "qform_code", "sform_code"),
    *("quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z"),
    *("srow_x", "srow_y", "srow_z"),
)
_NIFTI1_BYTES = 348
_NIFTI1_LONGEST_AXIS = 32767
_SCANNER = 1
_NO_EXTENSIONS = bytes(4)
# A quaternion cannot hold a shear. Half of what the contract calls noise (0.1 mm), at the volume's farthest corner.
_QFORM_ERROR_MM = 0.05
_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
_PLANES_BYTES = 4 << 20


def affine_notice(volume: Volume) -> Notice | None:
    """The warning `no_single_affine` where the slices are unevenly spaced; None elsewhere."""
    if volume.grid.is_uniform:
        return None
    return Notice(
        "no_single_affine",
        "The slices do not lie evenly spaced on one line, which no NIfTI mask can describe: its orientation codes are "
        "0, its slice spacing is the median, and it lies on these slices by index, not by position.",
    )


def write_nifti(result: Result, path: Path) -> None:
    """Write the labelmap as `.nii.gz`; equal results give equal bytes.

    Raises:
        ValueError: the labelmap or the input's header does not fit the volume.
    """
    write_on_grid(labelmap_of(result), result.study, path, intent="label", description=legend(result.model.contract))


def write_on_grid(
    voxels: NDArray[Any], study: Study, path: Path, *, intent: Literal["none", "label"], description: str
) -> None:
    """Write one value for each of a study's voxels as `.nii.gz`, plane by plane.

    A NIfTI input keeps its stored axes, shape, affine, codes and byte order. Other input is stored (column, row,
    slice): DICOM with its positions in RAS; PNG and JPEG with both codes 0 and, where no spacing is known, 1 in unknown
    units.

    Args:
        voxels: (slices, rows, columns) of the study's volume, in the type that is to be stored.
        study: whose geometry the file gets.
        path: of the file.
        intent: NIfTI's own word for what the values are.
        description: goes into `descrip`, as much of it as has room.

    Raises:
        ValueError: the input's header does not fit the volume.
    """
    grid, frame = study.volume.grid, study.origin.nifti
    header = _header_on(frame, grid) if frame else _header_of(grid)
    _describe(header, voxels.dtype, intent, description)
    stored = voxels.transpose(np.argsort(frame.axes if frame else (2, 1, 0)))
    head = header.binaryblock + _NO_EXTENSIONS
    write_gzip(path, chain([head], _fortran_blocks(stored, header.get_data_dtype())))


def affine_ras(grid: Grid) -> NDArray[np.float64] | None:
    """(4, 4), from (column, row, slice) to RAS mm; None where no single affine describes the grid.

    The slice step is the mean one from the first to the last slice, so that neither end drifts from its true place and
    a gantry tilt stays as a shear. A single slice steps along the normal, towards the head, by its thickness (1 mm
    where that is unknown).
    """
    first, row, column = grid.first_voxels_lps_mm, grid.row_step_lps_mm, grid.column_step_lps_mm
    if not grid.is_uniform or not grid.is_oriented or first is None or row is None or column is None:
        return None
    if len(first) > 1:
        step = (first[-1] - first[0]) / (len(first) - 1)
    else:
        normal = np.cross(column, row)
        step = normal / np.linalg.norm(normal) * (grid.spacing_mm[0] or (grid.shares_mm or (1.0,))[0])
        step = -step if step[2] < 0 else step
    affine = np.eye(4)
    affine[:3] = np.column_stack([column, row, step, first[0]])
    return np.asarray(_LPS_TO_RAS @ affine)


def _header_on(frame: NiftiFrame, grid: Grid) -> Any:
    """A header in the input's version and byte order, with nothing of the input but its frame."""
    kind: Any = Nifti1Header if len(frame.header) == _NIFTI1_BYTES else Nifti2Header
    given = kind(frame.header, check=False)
    header = kind(endianness=given.endianness, check=False)
    for field in _FRAME_FIELDS:
        header[field] = given[field]
    slices, rows, columns = (max(1, int(given["dim"][1 + axis])) for axis in frame.axes)
    if (slices, rows, columns) != grid.shape:
        raise ValueError(f"the header's axes {(slices, rows, columns)} are not the volume's {grid.shape}")
    return header


def _header_of(grid: Grid) -> Any:
    """A header for (column, row, slice), from what is known of the grid."""
    slices, rows, columns = grid.shape
    kind: Any = Nifti1Header if max(grid.shape) <= _NIFTI1_LONGEST_AXIS else Nifti2Header
    header = kind()
    header.set_data_shape((columns, rows, slices))
    header.set_xyzt_units("unknown" if grid.spacing_mm[1] is None else "mm")
    header.set_zooms([grid.spacing_mm[axis] or 1.0 for axis in (2, 1, 0)])
    affine = affine_ras(grid)
    if affine is not None:
        header.set_zooms(voxel_sizes(affine))
        header.set_sform(affine, _SCANNER)
        with_qform = header.copy()
        with_qform.set_qform(affine, _SCANNER)
        header = with_qform if _can_say(with_qform, affine) else header
    return header


def _can_say(header: Any, affine: NDArray[np.float64]) -> bool:
    """Whether a header's qform puts every corner where the affine does."""
    corners = np.array([[*np.multiply(corner, header.get_data_shape()), 1] for corner in np.ndindex(2, 2, 2)])
    error_mm = np.abs(corners @ (header.get_qform() - affine).T).max()
    return bool(error_mm <= _QFORM_ERROR_MM)


def _describe(header: Any, dtype: np.dtype[Any], intent: str, description: str) -> None:
    header.set_data_dtype(dtype)
    header["magic"] = header.single_magic
    header["vox_offset"] = header.single_vox_offset
    header["scl_slope"], header["scl_inter"] = 1, 0
    header["descrip"] = description.encode("ascii", "replace")[: header["descrip"].dtype.itemsize - 1]
    header.set_intent(intent)


def _fortran_blocks(stored: NDArray[Any], dtype: np.dtype[Any]) -> Iterator[bytes]:
    """Bytes of `[i, j, k]`, i fastest, some planes at a time, in the file's own byte order."""
    planes = max(1, _PLANES_BYTES // max(1, stored.shape[0] * stored.shape[1] * dtype.itemsize))
    for first in range(0, stored.shape[2], planes):
        yield stored[:, :, first : first + planes].astype(dtype, copy=False).tobytes(order="F")
