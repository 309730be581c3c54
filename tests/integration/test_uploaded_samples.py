"""The sample studies, decoded as a user sends them."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest

from sigap.core.study import DecodeOptions, InputFile, Limits, Study
from sigap.core.verdict import Severity
from sigap.imaging.decode import decode


def upload(path: Path, workspace: Path) -> Study:
    return decode([InputFile(path, "upload")], workspace=workspace, options=DecodeOptions(), limits=Limits())


@pytest.mark.parametrize(
    ("name", "shape", "spacing_mm"),
    [
        ("head_ich_ct", (32, 512, 512), (5.0, 0.45, 0.45)),
        ("abdomen_ct_3mm", (30, 101, 122), (3.0, 3.0, 3.0)),
    ],
)
def test_ct_volumes(
    samples: Path, tmp_path: Path, name: str, shape: tuple[int, int, int], spacing_mm: tuple[float, float, float]
) -> None:
    path = samples / f"{name}.nii.gz"
    study = upload(path, tmp_path)

    assert study.volume.grid.shape == shape
    assert study.volume.grid.spacing_mm == pytest.approx(spacing_mm, rel=1e-6)
    assert study.volume.voxels.dtype == np.int16
    assert study.geometry.severity is Severity.OK
    np.testing.assert_array_equal(study.volume.voxels, np.asarray(nibabel.load(path).dataobj).T)


@pytest.mark.parametrize("name", ["abdomen_ct_liver_truth", "head_ich_blood"])
def test_truth_masks_keep_their_millilitres(samples: Path, tmp_path: Path, name: str) -> None:
    path = samples / f"{name}.nii.gz"
    study = upload(path, tmp_path)
    image = nibabel.load(path)
    expected_ml = np.count_nonzero(np.asarray(image.dataobj)) * abs(np.linalg.det(image.affine)) / 1000

    grid = study.volume.grid
    assert grid.shares_mm is not None
    assert grid.pixel_area_mm2 is not None
    voxels = np.count_nonzero(study.volume.voxels, axis=(1, 2))
    assert float(voxels @ np.array(grid.shares_mm)) * grid.pixel_area_mm2 / 1000 == pytest.approx(expected_ml)
    assert [reason.code for reason in study.geometry.reasons] == ["not_hounsfield"]


def test_zipped_dicom_series(samples: Path, tmp_path: Path) -> None:
    study = upload(samples / "abdomen_ct_dicom.zip", tmp_path)

    assert study.origin.kind == "dicom"
    assert study.volume.grid.shape == (129, 512, 512)
    assert study.volume.grid.spacing_mm == pytest.approx((1.6, 0.57, 0.57), abs=0.01)
    assert study.volume.voxels.dtype == np.int16
    assert study.geometry.severity is not Severity.REFUSED
