"""How many items the sequences of a header may have: each costs a thousand times the bytes that it takes in a file."""

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
_ITEMS_A_FRAME = 200
_ITEM_HEAD_BYTES = 8
_CHECK_EVERY = 1000


class ItemCounter:
    """A stream that counts the items pydicom reads from it.

    A sequence of undefined length is read with the header itself, item by item, before anybody can ask how long it is.

    Attributes:
        ended: what ended the reading; pydicom makes an OSError of all that is raised within a sequence.
    """

    def __init__(self, stream: BinaryIO, check: Callable[[], None]) -> None:
        self._stream = stream
        self._check = check
        self._items = 0
        self.ended: SigapError | None = None
        self.seek, self.tell = stream.seek, stream.tell

    def read(self, size: int = -1) -> bytes:
        """Read on.

        Raises:
            SigapError: more items than any image has, or what the caller's check raises.
        """
        content = self._stream.read(size)
        if size == _ITEM_HEAD_BYTES and content[:4] in (ITEM, ITEM_BIG_ENDIAN):
            self._count()
        return content

    def _count(self) -> None:
        self._items += 1
        try:
            if self._items > MOST_ITEMS:
                raise too_many_items()
            if self._items % _CHECK_EVERY == 0:
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
