"""A gzip file, compressed as it is written."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from isal import isal_zlib

FASTEST = isal_zlib.ISAL_BEST_SPEED
"""isal's 0 does compress, unlike zlib's."""

_GZIP_WINDOW_BITS = 16 + 15


def write_gzip(path: Path, blocks: Iterable[bytes], *, level: int = isal_zlib.ISAL_DEFAULT_COMPRESSION) -> None:
    """Write blocks one after the other; its header names no file and no time, so equal content gives equal bytes."""
    stream = isal_zlib.compressobj(level, isal_zlib.DEFLATED, _GZIP_WINDOW_BITS)
    with path.open("wb") as file:
        for block in blocks:
            file.write(stream.compress(block))
        file.write(stream.flush())
