"""How many parts a picture may have: chunks, segments and filling between them cost far more than their few bytes."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Self

from sigap.core.errors import TooLarge

MOST_READS = 1_000_000
"""Of a picture; the largest that is read, written in chunks of 8 KB, has a third of that."""


class PartsReader(io.BufferedReader):
    """A picture's file that counts how often it is read from."""

    reads = 0

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open a file for reading."""
        return cls(io.FileIO(path))

    def read(self, size: int | None = -1, /) -> bytes:
        """Read on.

        Raises:
            TooLarge: it has been done too often.
        """
        self.reads += 1
        if self.reads > MOST_READS:
            raise TooLarge(
                "The picture is split into more parts than any picture needs. Export it anew and send it again.",
                slug="too-many-parts",
            )
        return super().read(size)
