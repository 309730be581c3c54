"""The cache gives back what was built, or nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from sigap_training import lits
from sigap_training.cache import GrowingArray, cached
from sigap_training.slices import BadData, SliceSet, join
from training.tiny_data import write_lits


@pytest.fixture
def parts(tmp_path: Path) -> list[SliceSet]:
    root = tmp_path / "liver"
    write_lits(root, {"0": ("train", ["liver", "tumour"]), "101": ("train", ["liver"])})
    return list(lits.slice_parts(root, lits.case_entries(root, "train"), size=24, level_hu=100, width_hu=300))


def _same(one: SliceSet, other: SliceSet) -> None:
    for field in fields(SliceSet):
        mine, theirs = getattr(one, field.name), getattr(other, field.name)
        assert np.array_equal(mine, theirs), field.name
        assert getattr(mine, "dtype", None) == getattr(theirs, "dtype", None)


def test_what_is_kept_is_what_was_joined(parts: list[SliceSet], tmp_path: Path) -> None:
    built = cached(tmp_path / "cache", "key", lambda: parts)
    kept = cached(tmp_path / "cache", "key", pytest.fail)
    _same(built, join(parts))
    _same(kept, join(parts))


def test_pixels_are_mapped_and_may_be_written_without_changing_the_file(parts: list[SliceSet], tmp_path: Path) -> None:
    kept = cached(tmp_path / "cache", "key", lambda: parts)
    assert isinstance(kept.images, np.memmap)
    assert isinstance(kept.masks, np.memmap)
    kept.images[:] = 7
    _same(cached(tmp_path / "cache", "key", pytest.fail), join(parts))


def test_another_key_is_another_set(parts: list[SliceSet], tmp_path: Path) -> None:
    one = cached(tmp_path / "cache", "one", lambda: parts[:1])
    both = cached(tmp_path / "cache", "both", lambda: parts)
    assert (len(one), len(both)) == (4, 8)


def test_a_build_that_fails_leaves_no_set(parts: list[SliceSet], tmp_path: Path) -> None:
    def broken() -> Iterator[SliceSet]:
        yield parts[0]
        raise BadData("volume-9")

    with pytest.raises(BadData, match="volume-9"):
        cached(tmp_path / "cache", "key", broken)
    assert len(cached(tmp_path / "cache", "key", lambda: parts)) == 8


_KILLED = """
import os, signal, sys
from pathlib import Path
from sigap_training import lits
from sigap_training.cache import cached

def parts():
    root = Path(sys.argv[1])
    for part in lits.slice_parts(root, lits.case_entries(root, "train"), size=24, level_hu=100, width_hu=300):
        yield part
        os.kill(os.getpid(), signal.SIGKILL)

cached(Path(sys.argv[2]), "key", parts)
"""


def test_a_killed_build_leaves_no_half_set_and_no_lock(parts: list[SliceSet], tmp_path: Path) -> None:
    arguments = [sys.executable, "-c", _KILLED, str(tmp_path / "liver"), str(tmp_path / "cache")]
    killed = subprocess.run(arguments, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert killed.returncode == -9
    assert list((tmp_path / "cache").glob("*.part"))
    _same(cached(tmp_path / "cache", "key", lambda: parts), join(parts))
    assert not list((tmp_path / "cache").glob("*.part"))


@pytest.mark.parametrize("name", ["images.npy", "patient.npy", "names.json"])
def test_a_damaged_set_is_named(parts: list[SliceSet], tmp_path: Path, name: str) -> None:
    cached(tmp_path / "cache", "key", lambda: parts)
    (damaged,) = (tmp_path / "cache").glob(f"*/{name}")
    damaged.write_bytes(damaged.read_bytes()[:-5])
    with pytest.raises(BadData, match=f"{damaged.parent.name} is damaged, delete it"):
        cached(tmp_path / "cache", "key", pytest.fail)


def test_a_cache_that_cannot_be_written_is_named(parts: list[SliceSet], tmp_path: Path) -> None:
    (tmp_path / "cache").write_bytes(b"a file")
    with pytest.raises(BadData, match=r"cache/\w+ cannot be written"):
        cached(tmp_path / "cache", "key", lambda: parts)


def test_an_array_grows_in_place(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    pieces = [random.integers(0, 255, (count, 3, 5), dtype=np.uint8) for count in (1, 0, 12, 100)]
    with GrowingArray.create(tmp_path / "grown.npy") as array:
        for piece in pieces:
            array.append(piece[:, :, ::-1])
    np.testing.assert_array_equal(np.load(tmp_path / "grown.npy"), np.concatenate(pieces)[:, :, ::-1])


def test_what_does_not_continue_an_array_is_refused(tmp_path: Path) -> None:
    with GrowingArray.create(tmp_path / "grown.npy") as array:
        array.append(np.zeros((2, 3), np.uint8))
        with pytest.raises(ValueError, match=r"uint8 \(4,\) does not continue uint8 \(3,\)"):
            array.append(np.zeros((2, 4), np.uint8))
