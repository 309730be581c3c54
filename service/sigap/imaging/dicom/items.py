"""How many elements a header may have, and items its sequences: each costs far more than the bytes that it takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import BinaryIO

from sigap.core.errors import SigapError, TooLarge
from sigap.core.study import Limits
from sigap.imaging.dicom import tags
from sigap.imaging.dicom.header import ITEM, ITEM_BIG_ENDIAN, Header
from sigap.imaging.dicom.layout import PixelLayout

MOST_ITEMS = 300_000
"""Of a file; a whole body's enhanced object, with fifty items a frame, has two thirds of that."""
MOST_ELEMENTS = 3_000_000
"""That are read one by one; with the ends of items and sequences such an object has half of that."""
_ITEMS_A_FRAME = 200
_HEAD_BYTES = 8
"""Of an element or an item: as many as pydicom reads of nothing else."""
_CHECK_EVERY = 1000


class ItemCounter:
    """A stream that counts the elements and items pydicom reads from it.

    A sequence of undefined length is read with the header itself, item by item, before anybody can ask how long it is;
    and a megabyte of zeros, of which a zip of one megabyte holds a thousand, is 131,072 empty elements.

    Attributes:
        ended: what ended the reading; pydicom makes an OSError of all that is raised within a sequence.
    """

    def __init__(self, stream: BinaryIO, check: Callable[[], None]) -> None:
        self._stream = stream
        self._check = check
        self._elements = self._items = 0
        self.ended: SigapError | None = None
        self.seek, self.tell = stream.seek, stream.tell

    def read(self, size: int = -1) -> bytes:
        """Read on.

        Raises:
            SigapError: more elements or items than any image has, or what the caller's check raises.
        """
        content = self._stream.read(size)
        if size == _HEAD_BYTES:
            self._count(is_item=content[:4] in (ITEM, ITEM_BIG_ENDIAN))
        return content

    def _count(self, *, is_item: bool) -> None:
        self._elements += 1
        self._items += is_item
        try:
            if self._items > MOST_ITEMS or self._elements > MOST_ELEMENTS:
                raise too_many_items()
            if self._elements % _CHECK_EVERY == 0:
                self._check()
        except SigapError as error:
            self.ended = error
            raise


def check_announced(header: Header, layout: PixelLayout, limits: Limits) -> None:
    """Refuse an enhanced object for what it announces, before its functional groups are read.

    Raises:
        TooLarge: more pixels, frames or items than this service takes.
    """
    groups = (tags.SHARED_FUNCTIONAL_GROUPS_SEQUENCE, tags.PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE)
    items = sum(header.count_items(sequence) for sequence in groups)
    if not items:
        return
    # A frame counts as a file does.
    if layout.frames > limits.members or 2 * layout.frames * layout.rows * layout.columns > limits.volume_bytes:
        raise TooLarge("An enhanced CT object announces more frames than this service takes. Send a part of it.")
    if items > min(MOST_ITEMS, _ITEMS_A_FRAME * (layout.frames + 1)):
        raise too_many_items()


def too_many_items() -> TooLarge:
    """What to say of a header that is out of all proportion."""
    return TooLarge("The header of a DICOM file is larger than that of any image. Export the study anew.")
