"""Where in a file the pixels lie, and how to read them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import BinaryIO, Literal

from pydicom.dataset import FileDataset
from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from sigap.imaging.dicom import tags
from sigap.imaging.dicom.codestream import Codestream, read_codestream
from sigap.imaging.dicom.header import Header

_UNDEFINED = 0xFFFFFFFF
_CODESTREAM_HEAD = 1 << 16


@dataclass(frozen=True)
class PixelLayout:
    """The Image Pixel module (PS3.3 C.7.6.3), and the place of the pixel data.

    Attributes:
        syntax: the transfer syntax; of a file that names none, the one that its elements are written in.
        offset: of the pixel data's value in the (inflated) file; None: there are no pixels.
        length: of the value; None: undefined, as that of compressed pixels is.
        available: bytes of the (inflated) file from `offset` on.
        is_float: Float or Double Float Pixel Data.
        padding: Pixel Padding Value and Range Limit as stored values, ascending; None: there is none.
        codestream: what the first compressed frame says of itself.
    """

    syntax: UID
    offset: int | None
    length: int | None
    available: int
    is_float: bool
    frames: int
    rows: int
    columns: int
    samples: int
    photometric: str
    bits_allocated: int
    bits_stored: int
    high_bit: int
    is_signed: bool
    padding: tuple[int, int] | None
    codestream: Codestream | None


@dataclass(frozen=True)
class PixelPlace:
    """The pixel data element that ends a header."""

    tag: int
    offset: int
    length: int | None
    available: int
    codestream: Codestream | None


def find_pixels(stream: BinaryIO, dataset: FileDataset) -> PixelPlace | None:
    """Look at the element on which pydicom stopped; None if it is no pixel data."""
    is_implicit, is_little = dataset.original_encoding
    order: Literal["little", "big"] = "little" if is_little else "big"
    start = stream.tell()
    head = stream.read(8 if is_implicit else 12)
    tag = int.from_bytes(head[:2], order) << 16 | int.from_bytes(head[2:4], order)
    if tag not in tags.PIXELS:
        stream.seek(start)
        return None
    length = int.from_bytes(head[-4:], order)
    offset = stream.tell()
    available = stream.seek(0, os.SEEK_END) - offset
    if length != _UNDEFINED:
        return PixelPlace(tag, offset, length, available, None)
    return PixelPlace(tag, offset, None, available, read_codestream(_first_fragment(stream, offset)))


def read_layout(
    header: Header, dataset: FileDataset, place: PixelPlace | None, syntax: UID | None = None
) -> PixelLayout:
    """Gather the Image Pixel module; a missing element gets the value that it has in every CT image."""
    bits_allocated = header.integer(tags.BITS_ALLOCATED) or 16
    bits_stored = header.integer(tags.BITS_STORED) or bits_allocated
    high_bit = header.integer(tags.HIGH_BIT)
    is_signed = header.integer(tags.PIXEL_REPRESENTATION) == 1
    return PixelLayout(
        syntax=syntax or _syntax(dataset),
        offset=place.offset if place else None,
        length=place.length if place else None,
        available=place.available if place else 0,
        is_float=place is not None and place.tag != tags.PIXEL_DATA,
        frames=max(1, int(header.number(tags.NUMBER_OF_FRAMES) or 1)),
        rows=header.integer(tags.ROWS) or 0,
        columns=header.integer(tags.COLUMNS) or 0,
        samples=header.integer(tags.SAMPLES_PER_PIXEL) or 1,
        photometric=(header.text(tags.PHOTOMETRIC_INTERPRETATION) or "MONOCHROME2").upper(),
        bits_allocated=bits_allocated,
        bits_stored=bits_stored,
        high_bit=bits_stored - 1 if high_bit is None else high_bit,
        is_signed=is_signed,
        padding=_padding(header, is_signed=is_signed),
        codestream=place.codestream if place else None,
    )


def _first_fragment(stream: BinaryIO, offset: int) -> bytes:
    """The beginning of the first compressed frame, behind the item of the offset table (PS3.5 A.4)."""
    stream.seek(offset + 4)
    table = int.from_bytes(stream.read(4), "little")
    stream.seek(offset + 8 + table + 4)
    length = int.from_bytes(stream.read(4), "little")
    return stream.read(min(length, _CODESTREAM_HEAD))


def _padding(header: Header, *, is_signed: bool) -> tuple[int, int] | None:
    """Pixel Padding Value and Range Limit (PS3.3 C.7.5.1.1.2).

    Makers store a negative one in an element of unsigned type; it is read as the pixels' own type makes of it.
    """
    value = header.integer(tags.PIXEL_PADDING_VALUE)
    if value is None:
        return None
    limit = header.integer(tags.PIXEL_PADDING_RANGE_LIMIT)
    wrap = (1 << 16) if is_signed else 0
    ends = [end - wrap if end >= 1 << 15 else end for end in (value, value if limit is None else limit)]
    return min(ends), max(ends)


def _syntax(dataset: FileDataset) -> UID:
    meta = Header(dataset.file_meta)
    named = meta.text(tags.TRANSFER_SYNTAX_UID)
    if named:
        return UID(named)
    is_implicit, is_little = dataset.original_encoding
    if is_implicit:
        return ImplicitVRLittleEndian
    return ExplicitVRLittleEndian if is_little else ExplicitVRBigEndian
