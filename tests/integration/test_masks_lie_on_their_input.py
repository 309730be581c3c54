"""From a file through the decoder to a mask file: every voxel where it was."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from nibabel.affines import apply_affine
from numpy.typing import NDArray

from phantoms.dicom import even_positions, write_series
from phantoms.nifti import nifti_bytes, signed_permutations
from phantoms.results import hemorrhage_model, result_of
from sigap.core.study import DecodeOptions, InputFile, Limits, Study
from sigap.encoders.nifti import write_nifti
from sigap.imaging.decode import decode

MARK_HU = 900
OBLIQUE = np.array([[-0.7, 0.05, 0.02, 91.123456], [0.04, 0.9, -0.1, -33.3], [0.01, 0.11, 2.5, 12.7], [0, 0, 0, 1]])


def marked(shape: tuple[int, ...]) -> NDArray[np.int16]:
    """Noise with some voxels far above it, the mask to be."""
    random = np.random.default_rng(11)
    voxels = random.integers(-100, 100, shape).astype(np.int16)
    voxels[random.random(shape) < 0.1] = MARK_HU
    return voxels


def decoded(paths: list[Path], folder: Path) -> Study:
    files = [InputFile(path, path.name) for path in paths]
    workspace = folder / "work"
    workspace.mkdir()
    return decode(files, workspace=workspace, options=DecodeOptions(), limits=Limits())


def mask_of(study: Study, folder: Path) -> Any:
    labelmap = (study.volume.voxels == MARK_HU).astype(np.uint8)
    result = result_of(labelmap, grid=study.volume.grid, voxels=study.volume.voxels, model=hemorrhage_model())
    write_nifti(replace(result, study=study), folder / "mask.nii.gz")
    return nibabel.load(folder / "mask.nii.gz")


def same_as_stored(content: bytes, folder: Path) -> None:
    (folder / "scan.nii").write_bytes(content)
    scan = nibabel.load(folder / "scan.nii")
    mask = mask_of(decoded([folder / "scan.nii"], folder), folder)
    assert mask.shape == scan.shape
    assert np.array_equal(np.asarray(mask.dataobj), np.asarray(scan.dataobj) == MARK_HU)
    assert mask.affine.tobytes() == scan.affine.tobytes()
    for field in ("sform_code", "qform_code", "xyzt_units"):
        assert int(mask.header[field]) == int(scan.header[field])


@pytest.mark.parametrize("affine", [OBLIQUE, np.diag([0.9, 0.8, 3.0, 1.0])])
@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("byte_order", ["<", ">"])
def test_every_kind_of_nifti(tmp_path: Path, affine: NDArray[np.float64], version: int, byte_order: str) -> None:
    same_as_stored(nifti_bytes(marked((7, 6, 5)), affine, version=version, byte_order=byte_order), tmp_path)


def test_an_axis_of_one_at_the_end(tmp_path: Path) -> None:
    same_as_stored(nifti_bytes(marked((7, 6, 5, 1))), tmp_path)


def test_a_nifti_without_codes(tmp_path: Path) -> None:
    same_as_stored(nifti_bytes(marked((7, 6, 5)), fields={"sform_code": 0}), tmp_path)


def test_every_order_and_direction_of_axes(tmp_path: Path) -> None:
    for index, (stored, affine) in enumerate(signed_permutations(marked((7, 6, 5)), OBLIQUE)):
        folder = tmp_path / str(index)
        folder.mkdir()
        same_as_stored(nifti_bytes(stored, affine), folder)
    assert index == 47


def world_places(mask: Any) -> NDArray[np.float64]:
    """LPS mm of every voxel in a mask file, sorted."""
    places = apply_affine(mask.affine, np.argwhere(np.asarray(mask.dataobj))) * (-1, -1, 1)
    return np.array(sorted(places.round(3).tolist()))


@pytest.mark.parametrize("shear_mm", [0.0, 1.2])
def test_a_series_and_its_tilt(tmp_path: Path, shear_mm: float) -> None:
    voxels = marked((8, 16, 20))
    positions = even_positions(8, 5.0, (-20.0, -16.0, -100.0), (1, 0, 0, 0, 1, 0))
    positions[:, 1] += shear_mm * np.arange(8)
    paths = write_series(tmp_path / "series", voxels, spacing_mm=(5.0, 0.9, 0.8), positions_lps_mm=positions)
    study = decoded(paths, tmp_path)
    mask = mask_of(study, tmp_path)
    found = np.argwhere(voxels == MARK_HU)
    places = positions[found[:, 0]] + found[:, 1:2] * (0, 0.9, 0) + found[:, 2:] * (0.8, 0, 0)
    assert np.allclose(world_places(mask), sorted(places.round(3).tolist()), atol=2e-3)
    assert int(mask.header["sform_code"]) == 1
    assert int(mask.header["qform_code"]) == (0 if shear_mm else 1)
    assert [reason.code for reason in study.geometry.reasons] == (["gantry_tilt"] if shear_mm else [])


def test_a_gap_leaves_no_affine(tmp_path: Path) -> None:
    positions = even_positions(8, 5.0, (-20.0, -16.0, -100.0), (1, 0, 0, 0, 1, 0))
    positions[5:, 2] += 10
    paths = write_series(tmp_path / "series", marked((8, 16, 20)), positions_lps_mm=positions)
    mask = mask_of(decoded(paths, tmp_path), tmp_path)
    assert (int(mask.header["sform_code"]), int(mask.header["qform_code"])) == (0, 0)
    assert mask.header.get_zooms() == pytest.approx((1, 1, 5))
