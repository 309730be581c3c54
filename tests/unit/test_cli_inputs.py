"""Which files an input is, and what its answer's folder is called."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from sigap.cli.inputs import answer_names, collect
from sigap.core.errors import UnreadableInput


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")
    return path


def test_a_file_is_itself(tmp_path: Path) -> None:
    file = touch(tmp_path / "a.nii")
    assert [(found.path, found.name) for found in collect(file)] == [(file, "a.nii")]


def test_a_folder_is_all_its_files_at_any_depth_hidden_ones_too(tmp_path: Path) -> None:
    for name in ("b", "deep/er/a", ".hidden"):
        touch(tmp_path / name)
    (tmp_path / "empty").mkdir()
    assert [file.name for file in collect(tmp_path)] == [".hidden", "b", "deep/er/a"]


def test_links_out_of_a_folder_are_not_followed(tmp_path: Path) -> None:
    outside, folder = touch(tmp_path / "outside" / "secret"), tmp_path / "study"
    touch(folder / "slice")
    (folder / "inside").symlink_to(folder / "slice")
    (folder / "out").symlink_to(outside)
    (folder / "out-folder").symlink_to(outside.parent)
    (folder / "dangling").symlink_to(tmp_path / "nowhere")
    assert [file.name for file in collect(folder)] == ["inside", "slice"]


def test_a_folder_without_files_says_so(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    with pytest.raises(UnreadableInput, match="no files") as caught:
        collect(tmp_path)
    assert caught.value.slug == "no-file"


def test_a_name_that_is_no_utf8_is_spelt_out(tmp_path: Path) -> None:
    file = touch(Path(os.fsdecode(os.fsencode(tmp_path) + b"/study/r\xe9sum\xe9.txt")))
    assert [found.name for found in collect(file.parent)] == ["r\\xe9sum\\xe9.txt"]
    assert [found.name for found in collect(file)] == ["r\\xe9sum\\xe9.txt"]


def test_a_folder_s_part_that_cannot_be_read_is_not_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(tmp_path / "a")
    touch(tmp_path / "locked" / "b")
    look = os.scandir

    def scandir(path: str) -> Any:
        if path.endswith("locked"):
            raise PermissionError(errno.EACCES, "Permission denied")
        return look(path)

    # Root, who runs the tests in CI, may read everything.
    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(PermissionError):
        collect(tmp_path)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UnreadableInput, match="neither a file nor a folder"):
        collect(tmp_path / "pipe")


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("head.nii.gz", "head"),
        ("HEAD.NII", "HEAD"),
        ("study.zip", "study"),
        ("scan.v2.nii.gz", "scan.v2"),
        ("1.2.840.113619", "1.2.840.113619"),
        ("1.2.840.113619.dcm", "1.2.840.113619"),
        ("scan.img", "scan"),
        ("plain", "plain"),
        (".nii.gz", ".nii"),
    ],
)
def test_an_answer_is_named_as_the_file_less_its_extensions(name: str, stem: str) -> None:
    assert answer_names([Path(name)]) == [stem]


def test_a_folder_keeps_its_whole_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = tmp_path / "1.2.zip"
    study.mkdir()
    monkeypatch.chdir(study)
    assert answer_names([study, Path(), Path("../1.2.zip/"), Path("/")]) == [
        "1.2.zip",
        "1.2.zip-2",
        "1.2.zip-3",
        "input",
    ]


def test_clashes_count_up_whatever_the_case() -> None:
    inputs = [Path(name) for name in ("a.nii", "x/a.nii.gz", "A.png", "a-2.nii", "summary.csv.gz")]
    assert answer_names(inputs, taken=["summary.csv"]) == ["a", "a-2", "A-3", "a-2-2", "summary.csv-2"]
