"""The header of a single-file NIfTI, checked before a voxel is read."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from nibabel.nifti1 import Nifti1Header
from nibabel.nifti2 import Nifti2Header
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray

from sigap.core.errors import UnreadableInput

NIFTI1_BYTES, NIFTI2_BYTES = 348, 540
_MM_A_UNIT = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}
"""xyzt_units: unknown (every reader takes mm), metre, mm, micron."""
# nibabel reports each oddity of a header through a logger, and would name the values.
_SILENT = logging.Logger("sigap.nifti.silent")  # noqa: LOG001 (outside the tree on purpose: it must reach no handler)
_SILENT.addHandler(logging.NullHandler())


@dataclass(frozen=True)
class Header:
    """What is needed of a NIfTI header.

    Attributes:
        raw: its bytes as stored.
        dims: voxels along the three stored axes.
        dtype: of a stored voxel, with its byte order.
        offset: of the first voxel in the file.
        slope, inter: CT number = slope · stored + inter.
        pixdim_mm: the three spacings that the header names; not checked.
        affine_ras_mm: (4, 4), by nibabel's rules: sform, else qform, else the fallback; None where there is none.
        is_oriented: whether sform or qform code says what the affine's axes mean.
    """

    raw: bytes
    dims: tuple[int, int, int]
    dtype: np.dtype[Any]
    offset: int
    slope: float
    inter: float
    pixdim_mm: tuple[float, float, float]
    affine_ras_mm: NDArray[np.float64] | None
    is_oriented: bool

    @property
    def voxels(self) -> int:
        return math.prod(self.dims)

    @property
    def bytes_needed(self) -> int:
        """From the file's first byte to its last voxel."""
        return self.offset + self.voxels * self.dtype.itemsize


def parse(head: bytes) -> Header:
    """Read a header from the file's first bytes; `kinds.sniff` has called it NIfTI.

    Raises:
        UnreadableInput: it is cut off, or says something that cannot be.
    """
    byte_order: Literal["<", ">"] = "<" if head[0] else ">"
    is_second = int.from_bytes(head[:4], "little" if byte_order == "<" else "big") == NIFTI2_BYTES
    length = NIFTI2_BYTES if is_second else NIFTI1_BYTES
    raw = head[:length]
    if len(raw) < length:
        raise UnreadableInput("The NIfTI file ends within its header. Send it again.", slug="truncated")
    header = Nifti2Header(raw, byte_order, check=False) if is_second else Nifti1Header(raw, byte_order, check=False)
    unit_mm = _unit_mm(header)
    pixdim = [float(value) * unit_mm for value in header["pixdim"][1:4]]
    try:
        # nibabel also replaces impossible spacings and codes; the spacings are kept above, as stored, to be refused.
        header.check_fix(logger=_SILENT, error_level=40)
        slope, inter = header.get_slope_inter()
    except HeaderDataError as error:
        raise UnreadableInput(
            "The NIfTI header contradicts itself or names a voxel type that does not exist. Write the file anew.",
            slug="bad-header",
        ) from error
    return Header(
        raw=raw,
        dims=_dims(header),
        dtype=_dtype(header),
        offset=_offset(header, 544 if is_second else 352),
        slope=1.0 if slope is None else slope,
        inter=0.0 if inter is None else inter,
        pixdim_mm=(pixdim[0], pixdim[1], pixdim[2]),
        affine_ras_mm=_affine(header, unit_mm),
        is_oriented=int(header["sform_code"]) != 0 or int(header["qform_code"]) != 0,
    )


def _unit_mm(header: Nifti1Header) -> float:
    code = int(header["xyzt_units"]) & 7
    if code not in _MM_A_UNIT:
        raise UnreadableInput(
            f"The NIfTI header gives its distances in a unit that does not exist ({code}). Set xyzt_units to 2 (mm).",
            slug="bad-unit",
        )
    return _MM_A_UNIT[code]


def _dims(header: Nifti1Header) -> tuple[int, int, int]:
    count, *sizes = (int(size) for size in header["dim"])
    if not 2 <= count <= 7 or any(size < 1 for size in sizes[:count]):
        raise UnreadableInput(
            "The NIfTI header gives the image an impossible size. Write the file anew from its source.",
            slug="absurd-dimensions",
        )
    if math.prod(sizes[3:count]) != 1:
        raise UnreadableInput(
            "The NIfTI file holds several volumes (time points or channels). Send the one volume to be read.",
            slug="several-volumes",
        )
    columns, rows, slices = (*sizes[:count], 1)[:3]
    return columns, rows, slices


def _dtype(header: Nifti1Header) -> np.dtype[Any]:
    dtype: np.dtype[Any] = header.get_data_dtype()
    if dtype.kind not in "iuf" or dtype.itemsize > 8:
        raise UnreadableInput(
            "The NIfTI file holds colours or complex numbers, not CT numbers. Send the CT volume itself.",
            slug="not-numbers",
        )
    return dtype


def _offset(header: Nifti1Header, least: int) -> int:
    offset = float(header["vox_offset"])
    if not (math.isfinite(offset) and offset >= least and offset == int(offset)):
        raise UnreadableInput(
            "The NIfTI header says that its voxels begin within itself. Write the file anew from its source.",
            slug="bad-offset",
        )
    return int(offset)


def _affine(header: Nifti1Header, unit_mm: float) -> NDArray[np.float64] | None:
    try:
        with np.errstate(all="ignore"):
            affine = np.asarray(header.get_best_affine(), np.float64)
            return np.diag([unit_mm, unit_mm, unit_mm, 1.0]) @ affine
    except (HeaderDataError, ValueError):
        # A quaternion longer than 1 is no rotation.
        return None
