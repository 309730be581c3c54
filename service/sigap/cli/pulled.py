"""A folder for a series out of the PACS: there as a whole, or not at all."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class FolderSink:
    """Gives files their names: what a PACS says never becomes part of a path."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._count = 0

    def receive(self, name: str) -> PulledFile:  # noqa: ARG002 - the sinks' signature
        self._count += 1
        return PulledFile(self._folder / f"{self._count:06}.dcm")


class PulledFile:
    """One file while its bytes arrive."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("wb")

    def write(self, block: memoryview | bytes) -> None:
        self._file.write(block)

    def complete(self) -> None:
        self._file.close()

    def close(self) -> None:
        self._file.close()


@contextmanager
def folder_sink(folder: Path) -> Iterator[FolderSink]:
    """Files are written beside the folder, which appears when the block has ended without an error."""
    partial = folder.with_name(f".{folder.name}-{secrets.token_hex(4)}.partial")
    partial.mkdir(parents=True)
    try:
        yield FolderSink(partial)
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
