"""What is measured on: the real samples where they are here, else phantoms of the same size."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import nibabel
import numpy as np
from numpy.typing import NDArray

import toy
from phantoms.dicom import write_series

ROOT = Path(__file__).parent.parent
_ABDOMEN, _HEAD = "abdomen_ct_dicom.zip", "head_ich_ct.nii.gz"


def abdomen(folder: Path) -> tuple[Path, str]:
    """129 slices of 512 x 512 as a zip of DICOM files, and what it is."""
    sample = _samples() / _ABDOMEN
    if sample.exists():
        return sample, "the abdomen sample"
    phantom = folder / "abdomen.zip"
    slices = write_series(folder / "abdomen", body((129, 512, 512)), spacing_mm=(1.6, 0.57, 0.57))
    with zipfile.ZipFile(phantom, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in slices:
            archive.write(file, file.name)
    return phantom, "a phantom"


def head(folder: Path) -> tuple[Path, str]:
    """32 slices of 512 x 512 as NIfTI, and what it is."""
    sample = _samples() / _HEAD
    return (sample, "the head sample") if sample.exists() else (nifti(folder / "head.nii.gz", 32), "a phantom")


def nifti(path: Path, slices: int, organ_share: float = 0.2) -> Path:
    """A phantom of `slices` x 512 x 512 voxels, int16; a gzipped one where the name says so."""
    voxels = body((slices, 512, 512), organ_share)
    nibabel.save(nibabel.Nifti1Image(voxels.transpose(2, 1, 0), np.diag([-0.7, -0.7, 1.0, 1.0])), path)
    return path


def dicom(folder: Path, slices: int) -> Path:
    """A phantom of as many files of 512 x 512 voxels."""
    write_series(folder, body((slices, 512, 512)), spacing_mm=(1.0, 0.7, 0.7))
    return folder


def body(shape: tuple[int, int, int], organ_share: float = 0.2) -> NDArray[np.int16]:
    """Air around a tube of organ, which holds a rod of lesion and a hole every few slices.

    Args:
        shape: (slices, rows, columns).
        organ_share: how much of the volume is organ; a liver takes less than a twentieth of a CT of the whole trunk.
    """
    rows, columns = np.mgrid[-1 : 1 : shape[1] * 1j, -1 : 1 : shape[2] * 1j]
    radius_squared = rows**2 + columns**2
    plane = np.where(radius_squared < 4 * organ_share / np.pi, toy.ORGAN_HU, toy.AIR_HU).astype(np.int16)
    plane[radius_squared < 0.02] = toy.LESION_HU
    voxels = np.broadcast_to(plane, shape).copy()
    middle, quarter = shape[2] // 2, shape[1] // 8
    voxels[::7, middle + quarter : middle + quarter + 10, middle : middle + 10] = toy.AIR_HU
    return voxels


def _samples() -> Path:
    return Path(os.environ.get("SIGAP_SAMPLES", ROOT.parent / "shared" / "samples"))
