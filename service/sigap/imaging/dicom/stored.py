"""Frames as they are stored: decoded, but not yet CT numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO

from numpy.typing import NDArray
from pydicom.pixels.decoders.base import Decoder, get_decoder
from pydicom.uid import HTJ2KLossless, HTJ2KLosslessRPCL, JPEG2000Lossless, JPEGLSLossless

from sigap.core.errors import InputError, UnreadableInput
from sigap.core.study import Limits
from sigap.imaging.dicom.frames import Image
from sigap.imaging.dicom.jpeg12 import decode_jpeg12, is_jpeg12
from sigap.imaging.dicom.layout import PixelLayout
from sigap.imaging.dicom.source import open_source

_ITEM, _DELIMITER = b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0"
_END_OF_IMAGE = b"\xff\xd9"
_CODED_WHOLE = (JPEGLSLossless, JPEG2000Lossless, HTJ2KLossless, HTJ2KLosslessRPCL)


def stored_planes(image: Image, indices: Sequence[int], limits: Limits) -> Iterator[tuple[int, NDArray[Any]]]:
    """Decode some frames of one file, in the order of the file.

    Args:
        image: the file.
        indices: of the frames, from 0, ascending.
        limits: caps on what a deflated file may unpack to.

    Yields:
        A frame's index and its (rows, columns) stored values, with their sign, free of bits above Bits Stored.

    Raises:
        UnreadableInput: no pixels, too few of them, an unknown transfer syntax, or a codestream that cannot be decoded.
    """
    layout = image.layout
    check_layout(layout)
    decoder = _decoder(layout)
    try:
        stream, _ = open_source(image.file.path, limits)
        with stream:
            yield from _decode(decoder, stream, layout, indices)
    except (InputError, MemoryError):
        raise
    except Exception as error:  # each plugin raises its own
        raise UnreadableInput(
            f"The pixels of a slice cannot be decoded ({layout.syntax.name}). Export the study uncompressed.",
            slug="undecodable",
        ) from error


def check_layout(layout: PixelLayout) -> None:
    """Refuse what cannot be decoded before anything is allocated for it.

    Raises:
        UnreadableInput: see `stored_planes`.
    """
    if layout.offset is None:
        raise UnreadableInput(
            "A slice has no pixels. Export the images themselves, not their headers.", slug="no-pixels"
        )
    if layout.rows < 1 or layout.columns < 1:
        raise UnreadableInput("A slice has no rows or no columns.", slug="absurd-dimensions")
    sound_bits = (
        layout.bits_allocated in (8, 16, 32) and layout.bits_stored <= layout.high_bit + 1 <= layout.bits_allocated
    )
    if not sound_bits:
        raise UnreadableInput("The number of bits a pixel of a slice makes no sense.", slug="undecodable")
    needed = layout.rows * layout.columns * layout.bits_allocated // 8 * layout.frames
    if not _decoder(layout).is_encapsulated and min(layout.length or 0, layout.available) < needed:
        raise _truncated()
    own = layout.codestream
    if own is not None and (own.rows, own.columns) != (layout.rows, layout.columns):
        raise UnreadableInput("A slice's compressed pixels have another size than its header says.", slug="undecodable")


def _truncated() -> UnreadableInput:
    return UnreadableInput(
        "A DICOM file breaks off within its pixels. Export the study again and send it anew.", slug="truncated"
    )


def _decoder(layout: PixelLayout) -> Decoder:
    try:
        return get_decoder(layout.syntax)
    except (NotImplementedError, ValueError) as error:
        raise UnreadableInput(
            "A slice is stored in a transfer syntax that this service does not read. Export the study uncompressed.",
            slug="unknown-transfer-syntax",
        ) from error


def _decode(
    decoder: Decoder, stream: BinaryIO, layout: PixelLayout, indices: Sequence[int]
) -> Iterator[tuple[int, NDArray[Any]]]:
    start = layout.offset or 0
    if decoder.is_encapsulated:
        stream.seek(start)
        if not _is_whole(stream):
            raise _truncated()
    stream.seek(start)
    # Without an offset table each access to a later frame would read from the start: several are taken as they come.
    comes_whole = is_jpeg12(layout) or (decoder.is_encapsulated and len(indices) > 1)
    order = range(layout.frames) if comes_whole else indices
    wanted = set(indices)
    for index, plane in zip(
        order, _planes(decoder, stream, layout, None if comes_whole else list(indices)), strict=False
    ):
        if index in wanted:
            wanted.discard(index)
            yield index, _used_bits(plane, layout)
    if wanted:
        raise _truncated()


def _used_bits(plane: NDArray[Any], layout: PixelLayout) -> NDArray[Any]:
    """The bits up to High Bit, and the sign from there: what lies above may be anything (PS3.5 8.1.1).

    pydicom sees to that, but goes by the precision of a codestream where it has one, and that may hold all bits
    allocated. With loss nothing is cut: a number beyond the range was rounded there, and would turn into its opposite.
    """
    unused = 8 * plane.dtype.itemsize - layout.high_bit - 1
    if unused and layout.syntax in _CODED_WHOLE:
        plane = (plane << unused) >> unused
    return plane >> (layout.high_bit + 1 - layout.bits_stored)


def _planes(
    decoder: Decoder, stream: BinaryIO, layout: PixelLayout, indices: list[int] | None
) -> Iterator[NDArray[Any]]:
    if is_jpeg12(layout):
        return decode_jpeg12(stream, layout)
    return (plane for plane, _ in decoder.iter_array(stream, indices=indices, raw=True, **_options(layout)))


def _options(layout: PixelLayout) -> dict[str, Any]:
    return {
        "transfer_syntax_uid": layout.syntax,
        "rows": layout.rows,
        "columns": layout.columns,
        "samples_per_pixel": 1,
        "photometric_interpretation": "MONOCHROME2",
        "number_of_frames": layout.frames,
        "bits_allocated": layout.bits_allocated,
        "bits_stored": layout.high_bit + 1,
        "pixel_representation": int(layout.is_signed),
        "pixel_keyword": "PixelData",
        "pixel_vr": "OW",
    }


def _is_whole(stream: BinaryIO) -> bool:
    """Whether all fragments are there (PS3.5 A.4); a writer that forgets the delimiter still ends its codestream."""
    tail = b""
    while len(head := stream.read(8)) == 8 and head[:4] == _ITEM:
        length = int.from_bytes(head[4:], "little")
        fragment = stream.read(length)
        if len(fragment) < length:
            return False
        tail = fragment[-4:]
    return head[:4] == _DELIMITER or _END_OF_IMAGE in tail
