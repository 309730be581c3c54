"""Studies for `make chaos`, no two equal: parts of the real samples, or toys."""

from __future__ import annotations

import gzip
import io
import os
import zipfile
from dataclasses import dataclass
from pathlib import Path

import nibabel
import pydicom

from nursery import study

COUNT = 20
_ROOT = Path(__file__).parent.parent
_HEAD, _COARSE, _ABDOMEN = "head_ich_ct.nii.gz", "abdomen_ct_3mm.nii.gz", "abdomen_ct_dicom.zip"


@dataclass(frozen=True)
class Scan:
    """What is sent as one study."""

    task: str
    name: str
    content: bytes


def toys() -> list[Scan]:
    """Small ones for the engine of `crashing`."""
    tasks = ("liver", "hemorrhage")
    return [Scan(tasks[number % 2], "ct.nii.gz", study(number)) for number in range(COUNT)]


def samples() -> list[Scan]:
    """Half of them heads; the others abdomens, as NIfTI and as zipped DICOM. Each begins at another slice."""
    folder = Path(os.environ.get("SIGAP_SAMPLES", _ROOT.parent / "shared" / "samples"))
    if not folder.is_dir():
        raise SystemExit("the sample studies are not here; set SIGAP_SAMPLES to their folder, or say --small")
    half, quarter = COUNT // 2, COUNT // 4
    heads = [Scan("hemorrhage", "head.nii.gz", _nifti(folder / _HEAD, first, 16)) for first in range(half)]
    livers = [Scan("liver", "abdomen.nii.gz", _nifti(folder / _COARSE, first, 20)) for first in range(quarter)]
    livers += [Scan("liver", "abdomen.zip", part) for part in _dicom(folder / _ABDOMEN, half - quarter, 32)]
    return [scan for pair in zip(livers, heads, strict=True) for scan in pair]


def _nifti(path: Path, first: int, count: int) -> bytes:
    image = nibabel.load(path)
    return gzip.compress(image.slicer[:, :, first : first + count].to_bytes(), 1, mtime=0)


def _dicom(path: Path, parts: int, count: int) -> list[bytes]:
    """Slices that lie side by side, each part's first one some slices above the one's before."""
    with zipfile.ZipFile(path) as archive:
        files = [archive.read(name) for name in archive.namelist() if not name.endswith("/")]
    files.sort(key=_height_mm)
    step = (len(files) - count) // parts
    return [_zipped(files[first : first + count]) for first in range(0, parts * step, step)]


def _height_mm(file: bytes) -> float:
    return float(pydicom.dcmread(io.BytesIO(file), stop_before_pixels=True).ImagePositionPatient[2])


def _zipped(files: list[bytes]) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for number, file in enumerate(files):
            # A date of its own would make each call's bytes other ones.
            archive.writestr(zipfile.ZipInfo(f"{number:03}.dcm"), file)
    return content.getvalue()
