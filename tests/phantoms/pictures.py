"""PNG and JPEG files, also broken ones."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIGNATURE = b"\x89PNG\r\n\x1a\n"


def shades(rows: int = 24, columns: int = 36) -> NDArray[np.uint8]:
    """A picture that no flip or turn leaves as it is."""
    return (np.arange(rows)[:, None] * 7 + np.arange(columns)[None, :] * 2).astype(np.uint8)


def encoded(picture: Image.Image | NDArray[Any], kind: str, **options: Any) -> bytes:
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png_that_claims(columns: int, rows: int) -> bytes:
    """An 8-bit grey PNG with a header and hardly anything behind it."""
    header = struct.pack(">IIBBBBB", columns, rows, 8, 0, 0, 0, 0)
    return SIGNATURE + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")
