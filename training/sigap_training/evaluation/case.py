"""One case to measure on: a volume as the gateway decodes it, and the truth about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

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
