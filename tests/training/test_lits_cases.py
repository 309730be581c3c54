"""Which cases a folder holds: the download's layout, and lists."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sigap_training.lits_cases import case_files, find_cases
from sigap_training.slices import BadData
from training.tiny_data import write_case


def _touch(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def _pairs(root: Path, *cases: str) -> None:
    _touch(root, *(f"{kind}-{case}.nii.gz" for case in cases for kind in ("volume", "segmentation")))


def _list(root: Path, *entries: dict[str, Any]) -> None:
    (root / "cases.json").write_text(json.dumps({"cases": entries}))


def test_without_a_list_each_case_is_its_own_patient_with_tumour_labels(tmp_path: Path) -> None:
    write_case(tmp_path, "10")
    write_case(tmp_path, "9", suffix=".nii")
    nine, ten = find_cases(tmp_path)
    assert (nine.name, nine.patient, nine.split, nine.has_tumour_labels) == ("9", "9", None, True)
    assert (nine.volume, nine.segmentation) == (Path("volume-9.nii"), Path("segmentation-9.nii"))
    assert ten.volume == Path("volume-10.nii.gz")


def test_volumes_and_segmentations_may_lie_apart(tmp_path: Path) -> None:
    _touch(tmp_path, "volume_pt1/volume-0.nii", "volume_pt2/volume-51.nii")
    _touch(tmp_path, "segmentations/segmentation-0.nii", "segmentations/segmentation-51.nii")
    _touch(tmp_path, "volume_pt1/._volume-7.nii", "test-volume-3.nii", "volume-notes.txt")
    found = find_cases(tmp_path)
    assert [(entry.name, entry.split) for entry in found] == [("0", None), ("51", None)]
    assert found[1].segmentation == Path("segmentations/segmentation-51.nii")


def test_folders_called_after_splits_tell_them(tmp_path: Path) -> None:
    _pairs(tmp_path / "train", "0")
    _pairs(tmp_path / "valid", "1")
    assert [entry.split for entry in find_cases(tmp_path)] == ["train", "valid"]


def test_a_list_tells_patients_splits_and_labels_in_its_order(tmp_path: Path) -> None:
    _pairs(tmp_path, "0", "1", "2")
    _list(
        tmp_path,
        {"case": 2, "patient": "B", "split": "test", "labels": ["liver"]},
        {"case": "0", "patient": "A", "split": "train", "labels": ["liver", "tumour"], "source": "ignored"},
        {"case": "1"},
    )
    two, zero, one = find_cases(tmp_path)
    assert (two.name, two.patient, two.split, two.has_tumour_labels) == ("2", "B", "test", False)
    assert (zero.name, zero.patient, zero.split, zero.has_tumour_labels) == ("0", "A", "train", True)
    assert (one.name, one.patient, one.split, one.has_tumour_labels) == ("1", "1", None, True)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], r"no volume-<case>"),
        (["volume-1.nii"], r"/segmentation-1\.nii is missing: volume-1\.nii has no segmentation"),
        (["a/segmentation-1.nii.gz"], r"/a/volume-1\.nii\.gz is missing: a/segmentation-1"),
        (["volume-1.nii", "volume-1.nii.gz", "segmentation-1.nii"], r"volume-1\.nii\.gz: volume-1\.nii is the volume"),
        (["a/volume-1.nii", "b/volume-1.nii", "segmentation-1.nii"], r"b/volume-1\.nii: a/volume-1\.nii is the volume"),
        (["volume-01.nii", "volume-1.nii", "segmentation-1.nii"], r"volume-1\.nii: volume-01\.nii .*of case 1 too"),
    ],
)
def test_folders_that_do_not_pair_up_are_refused(tmp_path: Path, names: list[str], message: str) -> None:
    _touch(tmp_path, *names)
    with pytest.raises(BadData, match=message):
        find_cases(tmp_path)


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([{"case": "0"}], r"volume-1\.nii\.gz is not listed in .*cases\.json"),
        ([{"case": "0"}, {"case": "1"}, {"case": "2"}], r"cases\.json: case 2: volume-2\.nii\.gz is missing"),
        ([{"case": "0"}, {"case": "1"}, {"case": "0"}], r"cases\.json: case 0 is listed twice"),
        ([{"case": "0"}, {"case": "1", "split": "dev"}], r"cases\.json cannot be read"),
        ([{"case": "0"}, {"case": "1", "labels": ["spleen"]}], r"cases\.json cannot be read"),
    ],
)
def test_lists_that_do_not_fit_the_folder_are_refused(tmp_path: Path, entries: Any, message: str) -> None:
    _pairs(tmp_path, "0", "1")
    _list(tmp_path, *entries)
    with pytest.raises(BadData, match=message):
        find_cases(tmp_path)


@pytest.mark.parametrize("text", [b"{", b"\xff", b"[]", b'{"cases": 3}'])
def test_a_broken_list_is_named(tmp_path: Path, text: bytes) -> None:
    _pairs(tmp_path, "0")
    (tmp_path / "cases.json").write_bytes(text)
    with pytest.raises(BadData, match=r"cases\.json cannot be read"):
        find_cases(tmp_path)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadData, match="nowhere is no folder"):
        find_cases(tmp_path / "nowhere")


def test_a_cases_files_are_both_and_the_list(tmp_path: Path) -> None:
    _pairs(tmp_path, "0", "1")
    both = {tmp_path / "volume-1.nii.gz", tmp_path / "segmentation-1.nii.gz"}
    assert set(case_files(tmp_path, find_cases(tmp_path)[1:])) == both
    _list(tmp_path, {"case": "0"}, {"case": "1"})
    assert set(case_files(tmp_path, find_cases(tmp_path)[1:])) == both | {tmp_path / "cases.json"}
