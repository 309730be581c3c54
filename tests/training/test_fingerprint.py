"""Fingerprints are of names and contents, stamps of names, sizes and times."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from sigap_training.fingerprint import fingerprint, stamp
from sigap_training.slices import BadData


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "data"
    (root / "train").mkdir(parents=True)
    (root / "train" / "b.txt").write_bytes(b"two")
    (root / "a.txt").write_bytes(b"one")
    return root


def test_it_is_the_sum_of_what_sha256sum_prints(folder: Path) -> None:
    lines = [f"{hashlib.sha256(b'one').hexdigest()}  a.txt", f"{hashlib.sha256(b'two').hexdigest()}  train/b.txt"]
    expected = hashlib.sha256("".join(f"{line}\n" for line in lines).encode()).hexdigest()
    assert fingerprint(folder) == expected
    assert fingerprint(folder, [folder / "train" / "b.txt", folder / "a.txt"]) == expected


def test_it_is_the_same_wherever_and_whenever(folder: Path, tmp_path: Path) -> None:
    before = fingerprint(folder)
    os.utime(folder / "a.txt", ns=(1, 1))
    (folder / ".DS_Store").write_bytes(b"")
    assert fingerprint(folder.rename(tmp_path / "elsewhere")) == before


def test_other_bytes_other_names_and_other_files_change_it(folder: Path) -> None:
    before = {fingerprint(folder), fingerprint(folder, [folder / "a.txt"])}
    (folder / "a.txt").write_bytes(b"One")
    before.add(fingerprint(folder))
    (folder / "a.txt").rename(folder / "c.txt")
    before.add(fingerprint(folder))
    assert len(before) == 4


def test_a_stamp_changes_with_size_and_time(folder: Path) -> None:
    path = folder / "a.txt"
    os.utime(path, ns=(5, 5))
    stamps = [stamp(folder), stamp(folder)]
    os.utime(path, ns=(5, 6))
    stamps.append(stamp(folder))
    path.write_bytes(b"longer")
    os.utime(path, ns=(5, 6))
    stamps.append(stamp(folder))
    assert stamps[0] == stamps[1]
    assert len(set(stamps)) == 3


@pytest.mark.parametrize("take", [fingerprint, stamp])
def test_a_missing_file_is_named(folder: Path, take: Callable[[Path, list[Path]], str]) -> None:
    with pytest.raises(BadData, match=r"gone\.txt cannot be read"):
        take(folder, [folder / "gone.txt"])
