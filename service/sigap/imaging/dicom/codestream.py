"""What a compressed frame says of itself in its first bytes."""

from __future__ import annotations

from dataclasses import dataclass

_J2K_START = b"\xff\x4f\xff\x51"
_J2K_COD = b"\xff\x52"
_JPEG_START = b"\xff\xd8"
# Start of frame: baseline … lossless, and JPEG-LS; C4, C8 and CC are other markers (ITU-T T.81 table B.1, T.87).
_JPEG_FRAMES = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}


@dataclass(frozen=True)
class Codestream:
    """Its own size, and whether JPEG 2000 used the wavelet that loses bits (False also where that cannot be known)."""

    rows: int
    columns: int
    is_irreversible: bool


def read_codestream(head: bytes) -> Codestream | None:
    """Read a JPEG, JPEG-LS, JPEG 2000 or HT-J2K codestream's header; None for RLE or a header that we do not know."""
    if head.startswith(_J2K_START):
        return _read_j2k(head)
    if head.startswith(_JPEG_START):
        return _read_jpeg(head)
    return None


def _read_j2k(head: bytes) -> Codestream | None:
    """Marker segments SIZ and COD (ISO/IEC 15444-1, A.5.1 and A.6.1)."""
    if len(head) < 24:
        return None
    width, height, left, top = (int.from_bytes(head[at : at + 4], "big") for at in (8, 12, 16, 20))
    place = 4 + int.from_bytes(head[4:6], "big")
    while place + 4 <= len(head) and head[place] == 0xFF and head[place : place + 2] != _J2K_COD:
        place += 2 + int.from_bytes(head[place + 2 : place + 4], "big")
    # Bytes behind the marker: length 2, style, progression, layers 2, components, levels, block 2, style, wavelet.
    wavelet = head[place + 13 : place + 14] if head[place : place + 2] == _J2K_COD else b""
    return Codestream(height - top, width - left, wavelet == b"\0")


def _read_jpeg(head: bytes) -> Codestream | None:
    place = 2
    while place + 9 <= len(head) and head[place] == 0xFF:
        marker = head[place + 1]
        if marker in _JPEG_FRAMES:
            rows, columns = (int.from_bytes(head[at : at + 2], "big") for at in (place + 5, place + 7))
            return Codestream(rows, columns, is_irreversible=False)
        place += 1 if marker == 0xFF else 2 + int.from_bytes(head[place + 2 : place + 4], "big")
    return None
