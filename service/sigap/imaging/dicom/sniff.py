"""Whether a file is DICOM: with its magic number, or, without one, by its first elements."""

from __future__ import annotations

from pathlib import Path

from pydicom.datadict import dictionary_VR

_HEAD = 4096
_MAGIC_AT = 128
_GROUPS = (0x0002, 0x0008)
_LONG_VRS = {"OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"}
_UNDEFINED = 0xFFFFFFFF
_ENOUGH_ELEMENTS = 3
_LONGEST_VALUE = 1 << 16


def is_dicom(path: Path) -> bool:
    """Tell DICOM files by content.

    Old archives hold files without the preamble of PS3.10 7.1: then the first elements must be known ones of group 0002
    or 0008, in ascending order, explicit or implicit, little or big endian.
    """
    with path.open("rb") as stream:
        head = stream.read(_HEAD)
    return head[_MAGIC_AT : _MAGIC_AT + 4] == b"DICM" or any(
        _begins_data_set(head, order) for order in ("little", "big")
    )


def _begins_data_set(head: bytes, order: str) -> bool:
    place, last, seen = 0, 0, 0
    while seen < _ENOUGH_ELEMENTS:
        element = _element(head, place, order)
        if element is None:
            return False
        tag, end = element
        if tag <= last or (tag >> 16 not in _GROUPS and seen == 0):
            return False
        place, last, seen = end, tag, seen + 1
        if place >= len(head) and seen > 1:
            return True
    return True


def _element(head: bytes, place: int, order: str) -> tuple[int, int] | None:
    """Tag and end of the element at `place`; None if no data set could have it there."""
    if len(head) < place + 8:
        return None
    group, number = (_number(head[at : at + 2], order) for at in (place, place + 2))
    tag = group << 16 | number
    vr = _known_vr(tag)
    if vr is None:
        return None
    written = head[place + 4 : place + 6]
    if written == vr.encode():
        start = place + (12 if vr in _LONG_VRS else 8)
        length = _number(head[place + 8 : place + 12] if vr in _LONG_VRS else head[place + 6 : place + 8], order)
    elif order == "little":
        start, length = place + 8, _number(head[place + 4 : place + 8], order)
    else:
        return None
    if length == _UNDEFINED and vr == "SQ":
        return tag, len(head)
    return (tag, start + length) if length <= _LONGEST_VALUE else None


def _known_vr(tag: int) -> str | None:
    if tag & 0xFFFF == 0:
        return "UL"
    try:
        return dictionary_VR(tag)
    except KeyError:
        return None


def _number(raw: bytes, order: str) -> int:
    return int.from_bytes(raw, "big" if order == "big" else "little")
