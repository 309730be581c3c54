"""The LiTS reader on phantoms."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from sigap_training import lits
from sigap_training.slices import UNKNOWN, BadData, SliceSet
from training.tiny_data import LPS, write_lits, write_nifti

BOTH = ["liver", "tumour"]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_lits(tmp_path, {"0": ("train", BOTH), "101": ("train", ["liver"]), "2": ("test", BOTH)})
    return tmp_path


def _read(root: Path, split: str = "train") -> SliceSet:
    return lits.read_slices(root, split, size=24, level_hu=100, width_hu=300)


def test_slices_are_windowed_and_the_liver_includes_its_tumour(root: Path) -> None:
    slices = _read(root)
    assert slices.images.shape == (8, 24, 24)
    assert slices.images[0, 8, 5] == round((150 + 50) / 300 * 255)
    assert slices.images[0, 0, 0] == 0
    assert slices.masks[1, 0, 7, 5] == slices.masks[1, 1, 7, 5] == 255
    assert slices.masks[0, 1].max() == 0


def test_cases_without_tumour_labels_say_so(root: Path) -> None:
    slices = _read(root)
    assert slices.known.tolist() == [[True, True]] * 4 + [[True, False]] * 4
    assert slices.positive[:, 1].tolist() == [0, 1, 0, 0] + [UNKNOWN] * 4
    names = [slices.groups[group] for group in slices.group]
    assert names == ["liver", "tumour", "liver", "liver"] + ["unlabelled"] * 4


def test_neighbours_stay_within_their_case(root: Path) -> None:
    slices = _read(root)
    slices.images[:] = np.arange(8)[:, None, None]
    shown = slices.neighbours(np.array([0, 1, 3, 4, 7]), 3)[:, :, 0, 0]
    assert shown.tolist() == [[0, 0, 1], [0, 1, 2], [2, 3, 3], [4, 4, 5], [6, 7, 7]]
    assert slices.neighbours(np.array([1]), 3, stride=2)[:, :, 0, 0].tolist() == [[0, 1, 3]]


def test_any_orientation_on_disk_reads_the_same(root: Path) -> None:
    before = _read(root)
    for name in ("volume", "segmentation"):
        path = root / "train" / f"{name}-0.nii.gz"
        voxels = np.asanyarray(nib.load(path).dataobj)
        flipped = LPS @ np.array([[-1, 0, 0, 23], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
        write_nifti(path, voxels[::-1].transpose(1, 0, 2), flipped[:, [1, 0, 2, 3]])
    np.testing.assert_array_equal(_read(root).masks, before.masks)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda root: (root / "train/segmentation-0.nii.gz").unlink(), r"segmentation-0\.nii\.gz is missing"),
        (lambda root: (root / "train/volume-0.nii.gz").write_bytes(b"no NIfTI"), r"volume-0\.nii\.gz cannot be read"),
        (lambda root: (root / "cases.json").unlink(), r"cases\.json is missing"),
        (lambda root: (root / "cases.json").write_text("{}"), r"cases\.json cannot be read"),
    ],
    ids=["no segmentation", "no NIfTI", "no list", "no cases"],
)
def test_missing_or_broken_files_are_named(root: Path, spoil: object, message: str) -> None:
    spoil(root)  # type: ignore[operator]
    with pytest.raises(BadData, match=message):
        _read(root)


@pytest.mark.parametrize(
    ("voxels", "affine", "message"),
    [
        (np.zeros((24, 24, 3), np.uint8), LPS, r"segmentation-0.*shape \(24, 24, 3\).*\(24, 24, 4\)"),
        (np.zeros((24, 24, 4), np.uint8), LPS * 2, "segmentation-0.*affine"),
        (np.full((24, 24, 4), 7, np.uint8), LPS, r"segmentation-0.*\[7\].*\[0, 1, 2\]"),
        (np.zeros((24, 24, 4, 2), np.uint8), LPS, "segmentation-0.*4 dimensions"),
    ],
    ids=["shape", "affine", "label", "dimensions"],
)
def test_a_segmentation_that_does_not_fit_is_named(
    root: Path, voxels: np.ndarray, affine: np.ndarray, message: str
) -> None:
    write_nifti(root / "train/segmentation-0.nii.gz", voxels, affine)
    with pytest.raises(BadData, match=message):
        _read(root)


def test_tumour_labels_in_a_case_said_to_have_none_are_refused(root: Path) -> None:
    write_nifti(root / "train/segmentation-101.nii.gz", np.full((24, 24, 4), 2, np.uint8))
    with pytest.raises(BadData, match="segmentation-101"):
        _read(root)


def test_a_patient_in_two_splits_is_refused(root: Path) -> None:
    document = json.loads((root / "cases.json").read_text())
    document["cases"][2]["patient"] = "P0"
    (root / "cases.json").write_text(json.dumps(document))
    with pytest.raises(BadData, match="patient P0"):
        _read(root)


def test_an_empty_split_is_refused(root: Path) -> None:
    with pytest.raises(BadData, match="'valid'"):
        _read(root, "valid")
