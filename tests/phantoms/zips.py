"""Zips, honest and hostile."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Mapping
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

LINK, FIFO, FILE = 0o120777, 0o010644, 0o100644


def zipped(files: Mapping[str, bytes], *, mode: int = FILE, method: int = ZIP_DEFLATED) -> bytes:
    """A zip of these files, with a Unix mode for all of them."""
    stream = io.BytesIO()
    with ZipFile(stream, "w") as archive:
        for name, content in files.items():
            entry = ZipInfo(name)
            entry.filename = name  # as it is, whatever ZipInfo made of it
            entry.external_attr = mode << 16
            entry.create_system = 3
            archive.writestr(entry, content, method)
    return stream.getvalue()


def locked(content: bytes) -> bytes:
    """The same zip with every member marked as encrypted."""
    changed = bytearray(content)
    for signature, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        place = changed.find(signature)
        while place >= 0:
            changed[place + flags] |= 1
            place = changed.find(signature, place + 4)
    return bytes(changed)


def lying(content: bytes, *, unpacked: bytes) -> bytes:
    """A zip of one file that says to be `content` and unpacks to `unpacked`."""
    honest = zipped({"scan": unpacked})
    real = struct.pack("<III", zlib.crc32(unpacked), _deflated_length(honest), len(unpacked))
    claim = struct.pack("<III", zlib.crc32(content), _deflated_length(honest), len(content))
    assert honest.count(real) == 2
    return honest.replace(real, claim)


def _deflated_length(archive: bytes) -> int:
    return ZipFile(io.BytesIO(archive)).infolist()[0].compress_size


def overlapping(content: bytes, count: int) -> bytes:
    """A zip that names one file's bytes `count` times: each name costs some 50 bytes and unpacks to all of them."""
    single = zipped({"a": content})
    end = single.rfind(b"PK\x05\x06")
    start = single.find(b"PK\x01\x02")
    entry = single[start:end]
    closing = bytearray(single[end:])
    struct.pack_into("<HHI", closing, 8, count, count, len(entry) * count)
    return single[:start] + entry * count + bytes(closing)


def claiming(count: int) -> bytes:
    """A small zip whose directory holds `count` empty members, with one local header among them all."""
    single = zipped({"a": b""})
    end, start = single.rfind(b"PK\x05\x06"), single.find(b"PK\x01\x02")
    entry = single[start:end]
    closing = bytearray(single[end:])
    # 16 bits, as an old tool would write: the number is not to be believed.
    struct.pack_into("<HHI", closing, 8, count % 65536, count % 65536, len(entry) * count)
    return single[:start] + entry * count + bytes(closing)
