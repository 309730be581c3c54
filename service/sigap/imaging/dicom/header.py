"""The elements of a data set as they are stored.

pydicom converts an element when it is read by name, and then validates, warns and sometimes raises over values that are
odd but clear (a decimal string of 20 characters, an invalid UID). We need few elements and know what each must be, so
their bytes are read here.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable
from typing import Literal, cast

from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag

ITEM, ITEM_BIG_ENDIAN = b"\xfe\xff\x00\xe0", b"\xff\xfe\xe0\x00"
"""The tag that begins an item of a sequence (PS3.5 7.5)."""


class Header:
    """One data set, or one item of a sequence. A missing, empty or unreadable value is None."""

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset

    def texts(self, tag: int) -> tuple[str, ...]:
        """The values of a text element, trimmed; () if missing or empty."""
        value = self._value(tag)
        if value is None:
            return ()
        text = _decode(value) if isinstance(value, bytes) else _join(value)
        parts = tuple(part.strip(" \0\t\r\n") for part in text.split("\\"))
        return parts if any(parts) else ()

    def text(self, tag: int) -> str | None:
        """A text element as a whole, its values joined by backslashes."""
        return "\\".join(self.texts(tag)) or None

    def numbers(self, tag: int, count: int) -> tuple[float, ...] | None:
        """Exactly `count` finite numbers of a DS, IS, FD or FL element."""
        value = self._value(tag)
        numbers = self._binary_floats(tag, value, count) if isinstance(value, bytes) else None
        if numbers is None:
            try:
                numbers = tuple(float(text) for text in self.texts(tag))
            except ValueError:
                return None
        return numbers if len(numbers) == count and all(map(math.isfinite, numbers)) else None

    def number(self, tag: int) -> float | None:
        numbers = self.numbers(tag, 1)
        return None if numbers is None else numbers[0]

    def integer(self, tag: int) -> int | None:
        """A US or UL element (or SS, read as unsigned)."""
        value = self._value(tag)
        if isinstance(value, bytes):
            size = 4 if len(value) >= 4 and self._vr(tag) in ("UL", "SL", "UN", None) else 2
            order: Literal["little", "big"] = "little" if self._is_little(tag) else "big"
            return int.from_bytes(value[:size], order) if len(value) >= size else None
        return value if isinstance(value, int) else None

    def items(self, tag: int) -> tuple[Header, ...]:
        """The items of a sequence; () if it is missing."""
        if tag not in self._dataset:
            return ()
        value = self._dataset[Tag(tag)].value
        return tuple(Header(item) for item in value) if isinstance(value, Iterable) else ()

    def count_items(self, tag: int) -> int:
        """At most how many items a sequence has, those within its items among them, without reading them.

        Of one that pydicom has already read, its own items alone: `ItemCounter` has seen the others.
        """
        element = self._element(tag)
        if element is None or element.value is None:
            return 0
        if isinstance(element.value, bytes):
            return element.value.count(ITEM if self._is_little(tag) else ITEM_BIG_ENDIAN)
        return len(element.value)

    @property
    def is_cut(self) -> bool:
        """Whether an element promises more bytes than follow."""
        elements = (self._element(tag) for tag in self._dataset.keys())  # noqa: SIM118 - a Dataset iterates over elements
        raw = (element for element in elements if isinstance(element, RawDataElement))
        return any(isinstance(one.value, bytes) and len(one.value) < one.length < 0xFFFFFFFF for one in raw)

    def _element(self, tag: int) -> RawDataElement | DataElement | None:
        # pydicom's stub leaves out the None.
        return cast("RawDataElement | DataElement | None", self._dataset.get_item(Tag(tag)))

    def _value(self, tag: int) -> object:
        element = self._element(tag)
        value = None if element is None else element.value
        return None if value in (None, b"", "") else value

    def _vr(self, tag: int) -> str | None:
        element = self._element(tag)
        return None if element is None else element.VR

    def _is_little(self, tag: int) -> bool:
        element = self._element(tag)
        return element.is_little_endian if isinstance(element, RawDataElement) else True

    def _binary_floats(self, tag: int, value: bytes, count: int) -> tuple[float, ...] | None:
        """The values of an FD or FL element; implicit VR does not say so, then length and look decide."""
        vr = self._vr(tag)
        size = {"FD": 8, "FL": 4}.get(vr or "")
        if size is None and vr in (None, "UN") and not _is_decimal(value):
            size = {8 * count: 8, 4 * count: 4}.get(len(value))
        if size is None or len(value) % size:
            return None
        order = "<" if self._is_little(tag) else ">"
        return struct.unpack(f"{order}{len(value) // size}{'d' if size == 8 else 'f'}", value)


def _is_decimal(value: bytes) -> bool:
    return all(byte in b"0123456789+-.eE\\ \0" for byte in value)


def _join(value: object) -> str:
    if isinstance(value, str) or not isinstance(value, Iterable):
        return str(value)
    return "\\".join(str(part) for part in value)


def _decode(value: bytes) -> str:
    """UTF-8 if it can be, else Latin-1: enough to compare and to list; a name is never shown."""
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode("latin-1")
