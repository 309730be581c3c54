"""The LiTS reader on phantoms."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from sigap_training import lits
from sigap_training.slices import UNKNOWN, BadData, SliceSet, join
from training.tiny_data import LPS, write_case, write_lits, write_nifti

BOTH = ["liver", "tumour"]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_lits(tmp_path, {"0": ("train", BOTH), "101": ("train", ["liver"]), "2": ("test", BOTH)})
    return tmp_path


def _read(root: Path, split: str = "train") -> SliceSet:
    entries = lits.case_entries(root, split)
    return join(list(lits.slice_parts(root, entries, size=24, level_hu=100, width_hu=300)))


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
    assert slices.findings[:, 1].tolist() == [0, 1, 0, 0] + [UNKNOWN] * 4
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
        (lambda root: _truncate(root / "train/volume-0.nii.gz"), r"volume-0\.nii\.gz cannot be read"),
        (lambda root: _truncate(root / "train/segmentation-0.nii.gz"), r"segmentation-0\.nii\.gz cannot be read"),
        (lambda root: (root / "cases.json").write_text("{}"), r"cases\.json cannot be read"),
    ],
    ids=["no segmentation", "no NIfTI", "half a volume", "half a segmentation", "no cases"],
)
def test_missing_or_broken_files_are_named(root: Path, spoil: Callable[[Path], object], message: str) -> None:
    spoil(root)
    with pytest.raises(BadData, match=message):
        _read(root)


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-40])


def _check(root: Path) -> None:
    parts = lits.divide_cases(root)
    lits.check_cases(root, [entry for part in parts.values() for entry in part])


def test_a_half_written_file_without_compression_is_named(tmp_path: Path) -> None:
    for case in ("0", "1"):
        write_case(tmp_path, case, suffix=".nii")
    path = tmp_path / "segmentation-1.nii"
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(BadData, match=r"segmentation-1\.nii cannot be read"):
        _check(tmp_path)


@pytest.mark.parametrize(
    ("voxels", "affine", "message"),
    [
        (np.zeros((24, 24, 3), np.uint8), LPS, r"segmentation-0.*shape \(24, 24, 3\).*\(24, 24, 4\)"),
        (np.zeros((24, 24, 4), np.uint8), LPS * 2, "segmentation-0.*affine"),
        (np.full((24, 24, 4), 7, np.uint8), LPS, r"segmentation-0.*\[7\].*\[0, 1, 2\]"),
        (np.full((24, 24, 4), -1, np.int16), LPS, r"segmentation-0.*\[-1\]"),
        (np.full((24, 24, 4), 0.5, np.float32), LPS, r"segmentation-0.*\[0\.5\]"),
        (
            np.full((24, 24, 4), np.nan, np.float32),
            LPS,
            "segmentation-0.*2304 voxels are no numbers, the first in slice 0",
        ),
        (np.zeros((24, 24, 4, 2), np.uint8), LPS, "segmentation-0.*4 dimensions"),
        (np.zeros((24, 24, 4), np.complex64), LPS, "segmentation-0.*complex64"),
    ],
    ids=["shape", "affine", "label", "negative", "share", "no number", "dimensions", "type"],
)
def test_a_segmentation_that_does_not_fit_is_named_before_and_while_reading(
    root: Path, voxels: np.ndarray, affine: np.ndarray, message: str
) -> None:
    write_nifti(root / "train/segmentation-0.nii.gz", voxels, affine)
    for look in (_check, _read):
        with pytest.raises(BadData, match=message):
            look(root)


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_a_voxel_that_is_no_number_is_named_with_its_slice(root: Path, number: float) -> None:
    hounsfield = np.zeros((24, 24, 4), np.float32)
    hounsfield[5, 6, 2] = number
    write_nifti(root / "test/volume-2.nii.gz", hounsfield)
    for look in (_check, lambda folder: _read(folder, "test")):
        with pytest.raises(BadData, match=r"test/volume-2.*1 voxels are no numbers, the first in slice 2"):
            look(root)


def test_an_affine_that_flattens_is_named(root: Path) -> None:
    for name in ("volume", "segmentation"):
        path = root / "train" / f"{name}-0.nii.gz"
        image = nib.load(path)
        voxels = np.asanyarray(image.dataobj)
        flat = nib.Nifti1Image(voxels, None)
        flat.header.set_sform(np.diag([1.0, 1.0, 0.0, 1.0]), code=1)
        flat.header.set_qform(None, code=0)
        nib.save(flat, path)
    with pytest.raises(BadData, match=r"volume-0.*nowhere"):
        _check(root)


def test_whole_labels_stored_as_floats_are_labels(root: Path) -> None:
    before = _read(root)
    path = root / "train" / "segmentation-0.nii.gz"
    write_nifti(path, np.asanyarray(nib.load(path).dataobj).astype(np.float32))
    np.testing.assert_array_equal(_read(root).masks, before.masks)


def test_headers_are_checked_before_any_voxel(root: Path) -> None:
    write_nifti(root / "train/segmentation-0.nii.gz", np.full((24, 24, 4), 7, np.uint8))
    write_nifti(root / "test/segmentation-2.nii.gz", np.zeros((24, 24, 3), np.uint8))
    with pytest.raises(BadData, match=r"segmentation-2.*shape"):
        _check(root)


def test_a_case_is_resized_in_blocks_as_in_one(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = _read(root)
    monkeypatch.setattr(lits, "_BLOCK", 3)
    in_blocks = _read(root)
    np.testing.assert_array_equal(in_blocks.images, whole.images)
    np.testing.assert_array_equal(in_blocks.masks, whole.masks)


def test_the_plain_layout_of_the_download_reads_the_same(root: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    plain = tmp_path_factory.mktemp("plain")
    for case in ("0", "101"):
        write_case(plain / "train", case, suffix=".nii")
    slices = _read(plain)
    assert slices.patient.tolist() == ["0"] * 4 + ["101"] * 4
    np.testing.assert_array_equal(slices.masks[:4], _read(root).masks[:4])


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
