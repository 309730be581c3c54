"""One case to measure on: a volume as the gateway decodes it, and the truth about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from sigap.core.errors import SigapError
from sigap.core.study import DecodeOptions, InputFile, Limits, Volume
from sigap.imaging.decode import decode
from sigap_training.slices import BadData


@dataclass(frozen=True)
class Case:
    """A case with its truth.

    Attributes:
        name: the case's number or its file's name.
        patient: equal for cases of one patient; of an unknown patient the case's own name.
        source: where it came from, if the data tells; else empty.
        volume: as the gateway decodes it.
        truth: by label, [D, H, W] as stored; labels that the truth does not tell are not in it.
    """

    name: str
    patient: str
    source: str
    volume: Volume
    truth: Mapping[str, NDArray[np.bool_]]


def read_volume(path: Path) -> Volume:
    """A study as the gateway decodes it: NIfTI, PNG or JPEG, or DICOM in a zip.

    Raises:
        BadData: the gateway would refuse it.
    """
    try:
        with TemporaryDirectory() as workspace:
            files = [InputFile(path, path.name)]
            return decode(files, workspace=Path(workspace), options=DecodeOptions(), limits=Limits()).volume
    except FileNotFoundError as error:
        raise BadData(f"{path} is missing") from error
    except SigapError as error:
        raise BadData(f"{path}: {error.message}") from error


def as_stored(canonical: NDArray[np.bool_], volume: Volume, path: Path) -> NDArray[np.bool_]:
    """A canonical truth in the stored order of its volume.

    Raises:
        BadData: it has another shape; `path` is named.
    """
    stored: NDArray[np.bool_] = volume.grid.orientation.to_stored(canonical)
    if stored.shape != volume.grid.shape:
        raise BadData(f"{path}: a mask of {stored.shape} voxels (slices, rows, columns) on {volume.grid.shape}")
    return stored


def refuse_elsewhere(mask: Any, volume: Volume, path: Path) -> None:
    """Refuse a NIfTI mask that has its volume's shape but lies elsewhere in space.

    Corners are compared, so that a mask may be stored along other axes. A volume that does not tell where it lies, or
    that no single affine describes, is not compared.

    Args:
        mask: the nibabel image.
        volume: what the mask is of.
        path: the mask's.

    Raises:
        BadData: a corner is off by more than a tenth of the smallest spacing; `path` is named.
    """
    grid = volume.grid
    known = [place for place in map(grid.world_lps_mm, _corners(grid.shape)) if place is not None]
    if not grid.is_uniform or not known:
        return
    canonical = grid.orientation.to_canonical(np.moveaxis(np.stack(known).reshape(2, 2, 2, 3), -1, 0))
    depth, rows, columns = grid.orientation.to_canonical(np.empty(grid.shape, bool)).shape
    to_lps = nib.orientations.ornt_transform(
        nib.orientations.io_orientation(mask.affine), nib.orientations.axcodes2ornt(("L", "P", "S"))
    )
    affine = mask.affine @ nib.orientations.inv_ornt_aff(to_lps, mask.shape)
    places = [(affine @ (j, i, k, 1))[:3] * (-1, -1, 1) for k, i, j in _corners((depth, rows, columns))]
    off_mm = float(np.abs(np.moveaxis(np.stack(places).reshape(2, 2, 2, 3), -1, 0) - canonical).max())
    if off_mm > min(spacing for spacing in grid.spacing_mm if spacing) / 10:
        raise BadData(f"{path}: its affine is not its study's: a corner is off by {off_mm:.3g} mm")


def _corners(shape: tuple[int, int, int]) -> list[tuple[int, int, int]]:
    depth, rows, columns = (length - 1 for length in shape)
    return [(k, i, j) for k in (0, depth) for i in (0, rows) for j in (0, columns)]
