"""A zip, unpacked under names of our own, with caps on what it may become."""

from __future__ import annotations

import os
import re
import stat
import struct
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile, ZipInfo

from isal import isal_zlib

from sigap.core.errors import TooLarge, UnreadableInput
from sigap.core.study import InputFile, Limits
from sigap.imaging.kinds import HEAD_BYTES, Kind, sniff

_PIECE = 4 << 20
_THREADS = min(2, os.cpu_count() or 1)
_END, _END64, _LOCATOR64 = b"PK\x05\x06", b"PK\x06\x06", b"PK\x06\x07"
_ENTRY, _LOCAL = b"PK\x01\x02", b"PK\x03\x04"
_END_BYTES, _END64_BYTES, _LOCATOR64_BYTES = 22, 56, 20
_LONGEST_COMMENT, _LOCAL_BYTES = 65535, 30
_LARGEST_DIRECTORY = 64 << 20
_ENCRYPTED = 0x1 | 0x40 | 0x2000
"""Flag bits: encrypted, strongly encrypted, encrypted directory (APPNOTE 4.4.4)."""
_ABSOLUTE = re.compile(r"[A-Za-z]:|/")
_IDLE_BYTES, _IDLE_EXPANSION = 64 << 20, 100
"""A member that is no image, and more and denser than this, is a bomb."""


def unpack(path: Path, folder: Path, limits: Limits) -> list[InputFile]:
    """Unpack a zip's files into a folder.

    Every member is looked at before the first is written. What counts against the caps is what is really inflated.

    Args:
        path: the zip.
        folder: exists and is empty.
        limits: caps on members and unpacked bytes.

    Returns:
        The files, in the archive's order; their own names only as `InputFile.name`.

    Raises:
        TooLarge: `too-many-members` or `unpacked-too-large`.
        UnreadableInput: `truncated`, `damaged`, `unsafe-member`, `encrypted`, `unsupported-compression`.

    Source:
        PKWARE APPNOTE 6.3.10; D. Fifield, A better zip bomb, WOOT 2019, for members that overlap.
    """
    _check_count(path, limits)
    try:
        with ZipFile(path) as archive:
            entries = archive.infolist()
    # zipfile's own, and what falls out of it where a directory is nonsense.
    except (BadZipFile, EOFError, NotImplementedError, OverflowError, ValueError, struct.error) as error:
        raise _damaged() from error
    _check_number(len(entries), limits)
    for entry in entries:
        _check(entry)
    members = [entry for entry in entries if not entry.filename.endswith(("/", "\\"))]
    _check_extent(members, path.stat().st_size, limits)
    # Inflating lets go of the interpreter, so a second thread is worth having.
    with ThreadPoolExecutor(_THREADS) as pool:
        unpacking = _Unpacking(path, folder)
        list(pool.map(unpacking.write_all, [members[start::_THREADS] for start in range(_THREADS)]))
    return [InputFile(unpacking.place(member), member.filename) for member in members]


def _check_count(path: Path, limits: Limits) -> None:
    """Count the members before the directory is read: a hundred thousand of them take long to list."""
    with path.open("rb") as file:
        length = file.seek(0, os.SEEK_END)
        start = file.seek(max(0, length - _END_BYTES - _LONGEST_COMMENT - 128))
        tail = file.read()
        end = tail.rfind(_END)
        if end < 0 or len(tail) < end + _END_BYTES:
            raise UnreadableInput("The zip ends before its directory: it was cut off. Send it again.", slug="truncated")
        count, size = struct.unpack_from("<HI", tail, end + 10)
        end64 = end - _LOCATOR64_BYTES - _END64_BYTES
        # Only where zipfile looks for it (APPNOTE 4.3.14, 4.3.15): elsewhere it is a part of a name or a comment.
        if end64 >= 0 and tail.startswith(_END64, end64) and tail.startswith(_LOCATOR64, end64 + _END64_BYTES):
            count, size = struct.unpack_from("<QQ", tail, end64 + 32)
            end = end64
        if size > _LARGEST_DIRECTORY:
            count = max(count, limits.members + 1)
        elif count <= limits.members:
            # The number is only a claim.
            file.seek(max(0, start + end - size))
            count = file.read(size).count(_ENTRY)
    _check_number(count, limits)


def _check_number(count: int, limits: Limits) -> None:
    if count > limits.members:
        raise TooLarge(
            f"The zip holds {count:,} files or more; at most {limits.members:,} are read. Send one study alone.",
            slug="too-many-members",
        )


def _check(entry: ZipInfo) -> None:
    name = entry.orig_filename.replace("\\", "/")
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if _ABSOLUTE.match(name) or ".." in name.split("/") or "\0" in name or kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise UnreadableInput(
            "The zip holds a link, or a name that points outside of it. Make a new zip of the image files alone.",
            slug="unsafe-member",
        )
    if entry.flag_bits & _ENCRYPTED:
        raise UnreadableInput("The zip is locked with a password. Make one without.", slug="encrypted")
    if entry.compress_type not in (ZIP_STORED, ZIP_DEFLATED):
        raise UnreadableInput(
            "The zip is compressed in a way that is not read. Make one with the usual compression (deflate).",
            slug="unsupported-compression",
        )


def _check_extent(members: Sequence[ZipInfo], length: int, limits: Limits) -> None:
    if sum(member.file_size for member in members) > limits.unpacked_bytes:
        raise TooLarge(
            f"The zip unpacks to more than {limits.unpacked_bytes >> 20:,} MiB. Send one study alone.",
            slug="unpacked-too-large",
        )
    places = sorted((member.header_offset, member.compress_size) for member in members)
    if places and (places[0][0] < 0 or sum(places[-1]) > length):
        raise _damaged()
    if any(offset + _LOCAL_BYTES + size > following for (offset, size), (following, _) in pairwise(places)):
        raise TooLarge(
            "Files in the zip share their bytes, as in a zip bomb. Make a new zip.", slug="unpacked-too-large"
        )


@dataclass(frozen=True)
class _Unpacking:
    """An archive and the folder for its members."""

    path: Path
    folder: Path

    def place(self, member: ZipInfo) -> Path:
        # No two members begin at one place.
        return self.folder / str(member.header_offset)

    def write_all(self, members: Sequence[ZipInfo]) -> None:
        with self.path.open("rb") as packed:
            for member in members:
                self._write(member, packed.fileno())

    def _write(self, member: ZipInfo, packed: int) -> None:
        written = checksum = 0
        with self.place(member).open("xb") as file:
            pieces = _pieces(member, packed)
            for piece in pieces:
                if written == 0 and _is_bomb(piece, member):
                    raise TooLarge(
                        "A file in the zip is no image and unpacks to very much. Zip the image files alone.",
                        slug="unpacked-too-large",
                    )
                written += len(piece)
                if written > member.file_size:
                    raise _too_long(pieces)
                checksum = isal_zlib.crc32(piece, checksum)
                file.write(piece)
        if written < member.file_size or checksum != member.CRC:
            raise _damaged()


def _too_long(rest: Iterator[bytes]) -> TooLarge | UnreadableInput:
    """What unpacks to more than the zip says is damaged, or a bomb if it goes on and on."""
    surplus = 0
    for piece in rest:
        surplus += len(piece)
        if surplus > _IDLE_BYTES:
            return TooLarge(
                "A file in the zip unpacks to far more than the zip says, as a zip bomb does. Make a new zip.",
                slug="unpacked-too-large",
            )
    return _damaged()


def _is_bomb(piece: bytes, member: ZipInfo) -> bool:
    is_large = member.file_size > max(_IDLE_BYTES, _IDLE_EXPANSION * member.compress_size)
    return is_large and sniff(piece[:HEAD_BYTES]).kind in (Kind.UNKNOWN, Kind.FOREIGN)


def _pieces(member: ZipInfo, packed: int) -> Iterator[bytes]:
    """Inflate a member, a piece at a time."""
    header = os.pread(packed, _LOCAL_BYTES, member.header_offset)
    if len(header) < _LOCAL_BYTES or not header.startswith(_LOCAL):
        raise _damaged()
    name, extra = struct.unpack_from("<HH", header, 26)
    place = member.header_offset + _LOCAL_BYTES + name + extra
    stored = _stored(packed, place, place + member.compress_size)
    if member.compress_type == ZIP_STORED:
        yield from stored
        return
    inflater = isal_zlib.decompressobj(-15)
    try:
        while not inflater.eof:
            source = inflater.unconsumed_tail or next(stored, b"")
            if piece := inflater.decompress(source, _PIECE):
                yield piece
            elif not source:
                raise _damaged()
    except isal_zlib.IsalError as error:  # type: ignore[misc]  # isal's stub calls this class an object
        raise _damaged() from error


def _stored(packed: int, place: int, end: int) -> Iterator[bytes]:
    while place < end:
        piece = os.pread(packed, min(_PIECE, end - place), place)
        if not piece:
            raise _damaged()
        yield piece
        place += len(piece)


def _damaged() -> UnreadableInput:
    return UnreadableInput("The zip is damaged: a part of it cannot be unpacked. Send it again.", slug="damaged")
