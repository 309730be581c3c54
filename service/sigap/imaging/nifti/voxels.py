"""Voxels of a NIfTI as CT numbers, read a few planes at a time: a request's memory is one volume, not three."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from sigap.core.errors import UnreadableInput
from sigap.imaging.gzipped import drain, unpacked
from sigap.imaging.nifti.header import Header

_BLOCK_BYTES = 8 << 20
_TRAILING_BYTES = 64 << 20
"""What may follow the voxels in a gzip stream before it is called a bomb."""
_INT16 = np.iinfo(np.int16)


class _NotInt16(Exception):
    """A value is not whole or does not fit."""


@dataclass(frozen=True)
class Source:
    """A NIfTI file on this machine, perhaps gzipped."""

    path: Path
    is_gzip: bool

    def open(self) -> AbstractContextManager[BinaryIO]:
        return unpacked(self.path) if self.is_gzip else self.path.open("rb")


@dataclass
class Extremes:
    """Least and greatest value seen."""

    least: float = math.inf
    greatest: float = -math.inf

    def add(self, least: float, greatest: float) -> None:
        self.least, self.greatest = min(self.least, least), max(self.greatest, greatest)


def read(
    source: Source, header: Header, order: tuple[int, int, int], check: Callable[[], None] = lambda: None
) -> tuple[NDArray[Any], Extremes]:
    """Read a volume.

    Args:
        source: the file.
        header: of that file.
        order: for slice, row, column: which stored axis it is.
        check: called before each few planes; what it raises ends the reading.

    Returns:
        `[slice, row, column]`, C-contiguous, int16 if every value is whole and fits, else float32; and its extremes.

    Raises:
        UnreadableInput: `truncated`, `not-finite`, or damaged gzip.
        TooLarge: the gzip stream goes on and on after the voxels.
    """
    try:
        return _read_as(np.dtype(np.int16), source, header, order, check)
    except _NotInt16:
        pass  # and out of here: the exception's traceback keeps the int16 volume alive
    # Only where it must: twice the memory, and a second pass over the file.
    return _read_as(np.dtype(np.float32), source, header, order, check)


def _read_as(
    dtype: np.dtype[Any], source: Source, header: Header, order: tuple[int, int, int], check: Callable[[], None]
) -> tuple[NDArray[Any], Extremes]:
    voxels = np.empty([header.dims[axis] for axis in order], dtype)
    # The file's order, slowest axis first, as a view of ours.
    stored = voxels.transpose([order.index(axis) for axis in (2, 1, 0)])
    extremes = Extremes()
    convert = _to_int16 if dtype == np.int16 else _to_float32
    with source.open() as stream:
        _skip(stream, header.offset)
        for first, block in _blocks(stream, header):
            check()
            stored[first : first + len(block)] = convert(block, header, extremes)
        if source.is_gzip:
            drain(stream, _TRAILING_BYTES)
    return voxels, extremes


def _blocks(stream: BinaryIO, header: Header) -> Iterator[tuple[int, NDArray[Any]]]:
    columns, rows, planes = header.dims
    count = max(1, _BLOCK_BYTES // (rows * columns * header.dtype.itemsize))
    buffer = np.empty((min(count, planes), rows, columns), header.dtype)
    for first in range(0, planes, count):
        block = buffer[: min(count, planes - first)]
        _fill(stream, block.view(np.uint8).reshape(-1).data)
        yield first, block


def _fill(stream: BinaryIO, room: memoryview) -> None:
    filled = 0
    while filled < len(room):
        count = stream.readinto(room[filled:])  # type: ignore[attr-defined]  # typeshed's BinaryIO lacks it; both streams have it
        if not count:
            raise UnreadableInput(
                "The NIfTI file ends before its last voxel: it was cut off, or its header is wrong. Send it again.",
                slug="truncated",
            )
        filled += count


def _skip(stream: BinaryIO, count: int) -> None:
    room = memoryview(bytearray(min(count, 1 << 20)))
    while count:
        _fill(stream, room[: min(count, len(room))])
        count -= min(count, len(room))


def _to_int16(block: NDArray[Any], header: Header, extremes: Extremes) -> NDArray[np.int16]:
    is_whole_scale = header.slope.is_integer() and header.inter.is_integer()
    if header.dtype.kind == "f" or not is_whole_scale:
        scaled = _to_float32(block, header, extremes)
        if extremes.least < _INT16.min or extremes.greatest > _INT16.max:
            raise _NotInt16
        whole = scaled.astype(np.int16)
        if not np.array_equal(whole, scaled):
            raise _NotInt16
        return whole
    slope, inter = int(header.slope), int(header.inter)
    ends = sorted(slope * int(value) + inter for value in (block.min(), block.max()))
    if ends[0] < _INT16.min or ends[1] > _INT16.max:
        raise _NotInt16
    extremes.add(*ends)
    whole = block.astype(np.int16)
    if (slope, inter) != (1, 0):
        # Every result fits 16 bits, so arithmetic modulo 2^16 is exact, whatever overflows on the way.
        whole *= _modulo_int16(slope)
        whole += _modulo_int16(inter)
    return whole


def _modulo_int16(value: int) -> np.int16:
    return np.int16((value + 32768) % 65536 - 32768)


def _to_float32(block: NDArray[Any], header: Header, extremes: Extremes) -> NDArray[np.float32]:
    with np.errstate(over="ignore", invalid="ignore"):
        if (header.slope, header.inter) == (1.0, 0.0):
            scaled = block.astype(np.float32)
        else:
            # In double precision, as nibabel scales.
            scaled = (block * np.float64(header.slope) + np.float64(header.inter)).astype(np.float32)
    least, greatest = float(scaled.min()), float(scaled.max())
    if not (math.isfinite(least) and math.isfinite(greatest)):
        raise UnreadableInput(
            "The NIfTI file holds values that are no numbers (NaN or infinite). Fill them at the source, "
            "then send it again.",
            slug="not-finite",
        )
    extremes.add(least, greatest)
    return scaled
