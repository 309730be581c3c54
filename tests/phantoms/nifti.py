"""NIfTI files of known content, also of content that no library would write."""

from __future__ import annotations

import gzip
from collections.abc import Iterator, Mapping
from itertools import permutations, product
from typing import Any

import numpy as np
from nibabel.nifti1 import Nifti1Header
from nibabel.nifti2 import Nifti2Header
from numpy.typing import NDArray

AXIAL_RAS = np.diag([-0.5, -0.75, 2.0, 1.0])
"""Columns run from right to left, rows from front to back, slices upwards: stored as canonical as can be."""


def nifti_bytes(
    stored: NDArray[Any],
    affine_ras: NDArray[np.float64] = AXIAL_RAS,
    *,
    fields: Mapping[str, Any] | None = None,
    version: int = 1,
    byte_order: str = "<",
) -> bytes:
    """A single-file NIfTI.

    Args:
        stored: voxels `[i, j, k]`, written in their own type.
        affine_ras: goes into the sform, code 1 (scanner); its column lengths into pixdim.
        fields: header fields set last of all, past any check.
        version: 1 or 2.
        byte_order: `<` or `>`.
    """
    kind = Nifti2Header if version == 2 else Nifti1Header
    header = kind(endianness=byte_order)
    header.set_data_shape(stored.shape)
    header.set_data_dtype(stored.dtype)
    header.set_zooms((*np.linalg.norm(affine_ras[:3, :3], axis=0), *[1.0] * (stored.ndim - 3))[: stored.ndim])
    header.set_sform(affine_ras, code=1)
    header["magic"] = header.single_magic
    header["vox_offset"] = header.single_vox_offset
    header.set_xyzt_units("mm")
    for name, value in (fields or {}).items():
        header[name] = value
    return header.binaryblock + bytes(4) + stored.astype(stored.dtype.newbyteorder(byte_order)).tobytes("F")


def gzipped(content: bytes) -> bytes:
    return gzip.compress(content, 1, mtime=0)


def signed_permutations(
    stored: NDArray[Any], affine_ras: NDArray[np.float64]
) -> Iterator[tuple[NDArray[Any], NDArray[np.float64]]]:
    """The same image stored in all 48 ways: its axes in any order, each forwards or backwards, the affine with them."""
    for order, flips in product(permutations(range(3)), product((False, True), repeat=3)):
        turned, affine = stored.transpose(order), affine_ras.copy()
        affine[:3, :3] = affine_ras[:3, order]
        for axis in np.flatnonzero(flips):
            affine[:3, 3] += affine[:3, axis] * (turned.shape[axis] - 1)
            affine[:3, axis] *= -1
            turned = np.flip(turned, axis)
        yield turned, affine
