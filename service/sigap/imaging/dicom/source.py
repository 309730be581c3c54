"""A DICOM file as a stream that pydicom can read a data set from."""

from __future__ import annotations

import io
import zlib
from pathlib import Path
from typing import BinaryIO

from pydicom.uid import DeflatedExplicitVRLittleEndian

from sigap.core.errors import TooLarge, UnreadableInput
from sigap.core.study import Limits

_PREAMBLE = 128
_GROUP_LENGTH_ELEMENT = 12
_CHUNK = 1 << 20
HEADER_ROOM_BYTES = 256 << 20
"""What a file may hold beside its voxels: private elements, the functional groups of an enhanced object."""


def open_source(path: Path, limits: Limits) -> tuple[BinaryIO, bool]:
    """Open a file at its start.

    A deflated data set comes inflated, in memory and without its file meta information; pydicom would inflate it too,
    but without a limit.

    Args:
        path: the file.
        limits: caps on what it may unpack to.

    Returns:
        The stream, and whether it was inflated.

    Raises:
        TooLarge: a deflated file unpacks to more than the limits allow.
        UnreadableInput: a deflated file is broken off.
    """
    stream = path.open("rb")
    start = _deflated_from(stream)
    if start is None:
        stream.seek(0)
        return stream, False
    with stream:
        stream.seek(start)
        return io.BytesIO(_inflate(stream, limits.volume_bytes + HEADER_ROOM_BYTES)), True


def _deflated_from(stream: BinaryIO) -> int | None:
    """Where the deflated data set begins; None if the file is not deflated (PS3.5 A.5)."""
    head = stream.read(_PREAMBLE + 4 + _GROUP_LENGTH_ELEMENT)
    if head[_PREAMBLE : _PREAMBLE + 8] != b"DICM\x02\x00\x00\x00" or len(head) < _PREAMBLE + 16:
        return None
    meta_length = int.from_bytes(head[-4:], "little")
    meta = stream.read(min(meta_length, _CHUNK))
    wanted = b"\x02\x00\x10\x00UI"
    place = meta.find(wanted)
    if place < 0:
        return None
    length = int.from_bytes(meta[place + 6 : place + 8], "little")
    syntax = meta[place + 8 : place + 8 + length].rstrip(b"\0 ").decode("latin-1")
    return len(head) + meta_length if syntax == DeflatedExplicitVRLittleEndian else None


def _inflate(stream: BinaryIO, limit_bytes: int) -> bytes:
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    inflated = bytearray()
    try:
        while not inflater.eof:
            packed = inflater.unconsumed_tail or stream.read(_CHUNK)
            if not packed:
                raise UnreadableInput("A deflated DICOM file breaks off. Send it again.", slug="truncated")
            inflated += inflater.decompress(packed, _CHUNK)
            if len(inflated) > limit_bytes:
                raise TooLarge("A deflated DICOM file unpacks to more than this service takes.")
    except zlib.error as error:
        raise UnreadableInput("A deflated DICOM file is damaged. Send it again.", slug="truncated") from error
    return bytes(inflated)
