"""A gzip stream, inflated as it is read and never further than it must be."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from gzip import BadGzipFile
from pathlib import Path
from typing import BinaryIO, cast

from isal import igzip, isal_zlib

from sigap.core.errors import TooLarge, UnreadableInput
from sigap.imaging.kinds import HEAD_BYTES, Content, Kind, sniff

MOST_EXPANSION = 1032
"""Deflate makes at most 1,032 bytes of one (zlib's technical notes)."""
_PIECE = 1 << 20
_IDLE_BYTES = 256 << 20
"""So much is inflated of a stream whose content we do not read, to tell a wrong file from a bomb."""


@contextmanager
def unpacked(path: Path) -> Iterator[BinaryIO]:
    """Open a gzip file for reading what is in it; members that follow one another are one stream.

    Raises:
        UnreadableInput: `truncated` or `damaged-gzip`, while it is read.
    """
    try:
        with igzip.open(path, "rb") as stream:  # type: ignore[no-untyped-call]  # isal types no functions
            yield cast("BinaryIO", stream)
    except EOFError as error:
        raise UnreadableInput(
            "The gzip file ends before its content does: it was cut off on the way. Send it again.", slug="truncated"
        ) from error
    except (BadGzipFile, isal_zlib.IsalError) as error:  # type: ignore[misc]  # isal's stub calls this class an object
        raise UnreadableInput(
            "The gzip file is damaged: its content cannot be unpacked. Send it again.", slug="damaged"
        ) from error


def content(path: Path) -> Content:
    """Tell what a gzip file holds.

    Returns:
        `NIFTI`, or else what it is called together with its content: `ARCHIVE` or `FOREIGN`.

    Raises:
        UnreadableInput: it is empty inside, cut off or damaged.
        TooLarge: it holds very much that is not read.
    """
    with unpacked(path) as stream:
        found = sniff(stream.read(HEAD_BYTES))
        if found.kind is Kind.EMPTY:
            raise UnreadableInput("The gzip file has nothing in it. Send the image itself.", slug="empty-file")
        if found.kind is Kind.NIFTI:
            return found
        drain(stream, _IDLE_BYTES)
    is_archive = found.kind in (Kind.ZIP, Kind.ARCHIVE, Kind.GZIP)
    return Content(Kind.ARCHIVE if is_archive else Kind.FOREIGN, f"a gzip file that holds {found.word}")


def drain(stream: BinaryIO, most_bytes: int) -> None:
    """Read a stream to its end, which also checks its checksum, and keep nothing.

    Raises:
        TooLarge: there is more than `most_bytes` of it.
    """
    seen = 0
    while piece := stream.read(_PIECE):
        seen += len(piece)
        if seen > most_bytes:
            raise TooLarge(
                "The gzip file unpacks to far more than an image needs, as a gzip bomb does. Send the image alone.",
                slug="unpacked-too-large",
            )
