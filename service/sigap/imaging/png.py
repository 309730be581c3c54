"""A PNG's chunks, looked through before a decoder sees them: it would fill up what is missing without a word."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

from sigap.core.errors import TooLarge, UnreadableInput
from sigap.core.study import Limits
from sigap.imaging.parts import PartsReader

_SIGNATURE_BYTES = 8
_IHDR_BYTES = 13
_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""Of a pixel, by the colour type."""
_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""Of each pass: its first column and row, and the steps to the next ones."""
_PIECE = 1 << 20


def check_png(path: Path, limits: Limits) -> None:
    """See that a PNG is whole: every chunk with its checksum, every row, and the last chunk.

    Raises:
        UnreadableInput: `truncated`, `damaged`, or `several-images` of an animated one.
        TooLarge: more pixels than `limits` allow, known from its header; or parts beyond number.
        zlib.error: its pixels cannot be unpacked.

    Source:
        PNG, third edition: 5.3 chunks, 8.1 and 8.2 interlacing, 10 compression.
    """
    pixels = _Pixels()
    with PartsReader.open(path) as file:
        file.seek(_SIGNATURE_BYTES)
        name = b""
        while name != b"IEND":
            head = file.read(8)
            size, name = struct.unpack(">I4s", head) if len(head) == 8 else (0, b"")
            body = file.read(size + 4)
            if name == b"IHDR" and len(body) >= 8:
                columns, rows = struct.unpack_from(">II", body)
                check_size(columns, rows, limits)
            if not name or len(body) < size + 4:
                raise _cut_off()
            if zlib.crc32(body[:-4], zlib.crc32(name)) != int.from_bytes(body[-4:], "big"):
                raise UnreadableInput("The PNG picture is damaged, a checksum is wrong. Send it again.", slug="damaged")
            if name == b"acTL":
                raise UnreadableInput("The PNG picture is animated. Send one still picture.", slug="several-images")
            if name == b"IHDR" and size == _IHDR_BYTES:
                pixels.missing = _unpacked_bytes(body)
            if name == b"IDAT":
                pixels.feed(body[:-4])
    if pixels.missing:
        raise _cut_off()


def check_size(columns: int, rows: int, limits: Limits) -> None:
    """Raise `TooLarge` for a picture of more pixels than are read."""
    if columns * rows > limits.plane_pixels:
        raise TooLarge(
            f"The picture has {columns:,} x {rows:,} pixels; at most {limits.plane_pixels:,} are read. "
            "Send a smaller one.",
            slug="too-many-pixels",
        )


class _Pixels:
    """Counts the bytes that the pixel chunks unpack to, and keeps none.

    Attributes:
        missing: bytes that the header promises and that have not come.
    """

    def __init__(self) -> None:
        self.missing = 0
        self._inflater = zlib.decompressobj()

    def feed(self, packed: bytes) -> None:
        while self.missing and (piece := self._inflater.decompress(packed, min(_PIECE, self.missing))):
            self.missing -= len(piece)
            packed = self._inflater.unconsumed_tail


def _unpacked_bytes(header: bytes) -> int:
    """Of all rows, each with its filter's byte."""
    columns, rows, depth, colour, _, _, is_interlaced = struct.unpack_from(">IIBBBBB", header)
    bits = depth * _SAMPLES.get(colour, 0)
    total = 0
    for left, top, right, down in _ADAM7 if is_interlaced else ((0, 0, 1, 1),):
        across, along = len(range(left, columns, right)), len(range(top, rows, down))
        total += along * (1 + (across * bits + 7) // 8) if across else 0
    return total


def _cut_off() -> UnreadableInput:
    return UnreadableInput("The PNG picture ends too early: it was cut off. Send it again.", slug="truncated")
