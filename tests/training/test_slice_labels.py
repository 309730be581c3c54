"""Slices with a yes or no."""

from __future__ import annotations

from pathlib import Path

import pytest

from sigap_training import coco
from sigap_training.coco_export import read_list
from sigap_training.slice_labels import check_slice_labels, read_labels, read_slice_labels
from sigap_training.slices import UNKNOWN, BadData, join
from training.tiny_data import write_coco, write_slice_labels


def _write(folder: Path, *lines: str) -> None:
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")


def test_a_slice_label_is_no_mask_unless_it_is_a_no(tmp_path: Path) -> None:
    write_coco(tmp_path / "train")
    write_slice_labels(tmp_path / "slice_labels", {"a": "1", "b": "0"})
    told = read_slice_labels(tmp_path / "slice_labels", size=32)
    assert told.known[:, 0].tolist() == [False, True]
    assert told.findings[:, 0].tolist() == [1, 0]
    joined = join([*coco.slice_parts(read_list(tmp_path / "train"), size=32), told])
    assert len(joined) == 6
    assert len(set(joined.study.tolist())) == 6
    assert joined.groups[joined.group[4]] == "label-positive"


def test_subtypes_and_patients_are_told(tmp_path: Path) -> None:
    write_slice_labels(tmp_path, {"a": "1", "b": "1", "c": "0"})
    lines = ("id,hemorrhage,epidural,subdural,patient", "a,1,0,1,P", "b,1,1,0,", "c,0,0,0,unknown")
    _write(tmp_path, *lines)
    told = read_slice_labels(tmp_path, size=16, subtypes=("subdural", "epidural"))
    assert told.findings.tolist() == [[1, 1, 0], [1, 0, 1], [0, 0, 0]]
    assert told.patient.tolist() == ["P", "b", "c"]


def test_channels_without_a_column_are_known_only_where_there_is_no_blood(tmp_path: Path) -> None:
    write_slice_labels(tmp_path, {"a": "1", "b": "0"})
    _write(tmp_path, "id,hemorrhage,epidural", "a,1,0", "b,0,0")
    told = read_slice_labels(tmp_path, size=16, channels=("epidural", "chronic"))
    assert told.masks.shape == (2, 2, 16, 16)
    assert told.known.tolist() == [[True, False], [True, True]]
    assert told.findings.tolist() == [[0, UNKNOWN], [0, 0]]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["id,hemorrhage", "a,maybe"], r"slice a: hemorrhage is 'maybe'"),
        (["id,hemorrhage", "../a,1"], r"'\.\./a' is no file name"),
        (["id,hemorrhage", ",1"], r"'' is no file name"),
        (["id,hemorrhage,subdural", "a,1,2"], r"slice a: subdural is '2'"),
        (["id,hemorrhage,subdural", "a,1"], r"slice a: subdural is None"),
        (["id,blood", "a,1"], "no column hemorrhage"),
        (["id,hemorrhage", "a,1"], "no column subdural"),
        (["id,hemorrhage,subdural"], "no slice"),
        ([""], "no column id"),
    ],
)
def test_lists_that_make_no_sense_are_named(tmp_path: Path, lines: list[str], message: str) -> None:
    write_slice_labels(tmp_path, {"a": "1"})
    _write(tmp_path, *lines)
    with pytest.raises(BadData, match=rf"labels\.csv.*{message}"):
        read_labels(tmp_path, subtypes=("subdural",) if "subdural" in lines[0] + message else ())


def test_a_missing_list_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadData, match=r"labels\.csv is missing"):
        read_labels(tmp_path)


def test_a_list_that_is_no_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BadData, match=r"labels\.csv cannot be read"):
        read_labels(tmp_path)


def test_a_missing_picture_is_named_before_and_while_reading(tmp_path: Path) -> None:
    write_slice_labels(tmp_path, {"a": "1"})
    (tmp_path / "images" / "a.png").unlink()
    for look in (lambda: check_slice_labels(read_labels(tmp_path)), lambda: read_slice_labels(tmp_path, size=32)):
        with pytest.raises(BadData, match=r"a\.png is missing"):
            look()
