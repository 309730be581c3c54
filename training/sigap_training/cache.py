"""Slices kept on disk, mapped into memory: an epoch waits for no decoding, and a set may exceed the memory."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import fields, replace
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from sigap_training.slices import BadData, SliceSet, join

_MAPPED = ("images", "masks")
_NAMES = "names.json"


def cached(folder: Path, key: str, parts: Callable[[], Iterable[SliceSet]]) -> SliceSet:
    """Read a set from its folder in the cache, or build it there first.

    `images` and `masks` are mapped, copy on write: the operating system reads ahead, keeps what fits in memory and
    shares it among processes. A set appears in the cache when it is complete and on disk, by one rename; what a killed
    build left is removed by the next. Of several processes one builds and the others wait.

    Args:
        folder: of all sets; never committed. Anything in it may be deleted while nobody trains.
        key: everything that the set depends on; it stands in `key.txt`.
        parts: makes the set, in pieces that fit into memory; they are joined as `join` does.

    Raises:
        BadData: the cache is damaged or cannot be written; or as `parts` does.
    """
    path = folder / hashlib.sha256(key.encode()).hexdigest()[:16]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _lock(path.with_suffix(".lock")):
            if not path.exists():
                _build(path, key, parts())
    except OSError as error:
        raise BadData(f"{path} cannot be written: {error}") from error
    try:
        return _load(path)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadData(f"{path} is damaged, delete it: {error}") from error


def _build(path: Path, key: str, parts: Iterable[SliceSet]) -> None:
    unfinished = path.with_suffix(".part")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()
    small = []
    with ExitStack() as stack:
        files = {name: stack.enter_context(GrowingArray.create(unfinished / f"{name}.npy")) for name in _MAPPED}
        for part in parts:
            for name, file in files.items():
                file.append(getattr(part, name))
            small.append(replace(part, images=part.images[:0], masks=part.masks[:0]))
    rest = join(small)
    names = {}
    for field in fields(SliceSet):
        value = getattr(rest, field.name)
        if not isinstance(value, np.ndarray):
            names[field.name] = value
        elif field.name not in _MAPPED:
            with _durable(unfinished / f"{field.name}.npy") as out:
                np.save(out, value, allow_pickle=False)
    for name, text in ((_NAMES, json.dumps(names)), ("key.txt", key)):
        with _durable(unfinished / name) as out:
            out.write(text.encode())
    unfinished.rename(path)


def _load(path: Path) -> SliceSet:
    names: dict[str, Any] = json.loads((path / _NAMES).read_bytes())
    arrays: dict[str, Any] = {
        field.name: _map(path / f"{field.name}.npy")
        if field.name in _MAPPED
        else np.load(path / f"{field.name}.npy", allow_pickle=False)
        for field in fields(SliceSet)
        if field.name not in names
    }
    if len({len(array) for array in arrays.values()}) != 1:
        raise ValueError("its arrays differ in length")
    return SliceSet(**arrays | {name: tuple(value) for name, value in names.items()})


def _map(path: Path) -> NDArray[Any]:
    if hasattr(os, "posix_fadvise"):
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_WILLNEED)
    array: NDArray[Any] = np.load(path, mmap_mode="c", allow_pickle=False)
    return array


class GrowingArray:
    """A .npy file that grows along its first axis.

    Numpy pads a header so that its first axis may grow in place: the header is written again at the end.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._length = 0
        self._rest: tuple[int, ...] = ()
        self._type = np.dtype(np.uint8)

    @classmethod
    @contextmanager
    def create(cls, path: Path) -> Iterator[GrowingArray]:
        """Open a new file; it is complete when the context ends without an error."""
        with _durable(path) as file:
            array = cls(file)
            yield array
            file.seek(0)
            array._write_header()

    def append(self, more: NDArray[Any]) -> None:
        """Write [N, ...]; what is appended later has the same type and other axes.

        Raises:
            ValueError: it has not.
        """
        if self._file.tell() == 0:
            self._rest, self._type = more.shape[1:], more.dtype
            self._write_header()
        if (more.shape[1:], more.dtype) != (self._rest, self._type):
            raise ValueError(f"{more.dtype} {more.shape[1:]} does not continue {self._type} {self._rest}")
        self._file.write(np.ascontiguousarray(more).data)
        self._length += len(more)

    def _write_header(self) -> None:
        shape = (self._length, *self._rest)
        header = {"descr": np.lib.format.dtype_to_descr(self._type), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(self._file, header)


@contextmanager
def _durable(path: Path) -> Iterator[IO[bytes]]:
    with path.open("wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
