"""What data a number was measured on: fingerprints of files."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from sigap_training.bars import bar
from sigap_training.slices import BadData


def fingerprint(folder: Path, files: Sequence[Path] | None = None) -> str:
    """SHA-256 over the names and contents of files: the same data gives the same 64 digits wherever it lies.

    It is the SHA-256 of the lines `<SHA-256 of the file>  <name>`, sorted by name: what `sha256sum` prints for them.

    Args:
        folder: names are relative to it, with `/`.
        files: which, below `folder`; None: all but hidden ones.

    Raises:
        BadData: a file is missing or cannot be read.
    """
    lines = []
    for name, path in bar(_named(folder, files), f"fingerprint of {folder.name}"):
        try:
            with path.open("rb") as file:
                lines.append(f"{hashlib.file_digest(file, 'sha256').hexdigest()}  {name}\n")
        except OSError as error:
            raise BadData(f"{path} cannot be read: {error}") from error
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def stamp(folder: Path, files: Sequence[Path] | None = None) -> str:
    """SHA-256 over names, sizes and times of last change: cheap, for caches on one machine.

    A file that is changed and keeps both its size and its time goes unnoticed, as `make` would not notice it.

    Raises:
        BadData: a file is missing.
    """
    seen = hashlib.sha256()
    for name, path in _named(folder, files):
        try:
            status = path.stat()
        except OSError as error:
            raise BadData(f"{path} cannot be read: {error}") from error
        seen.update(f"{name}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
    return seen.hexdigest()


def _named(folder: Path, files: Sequence[Path] | None) -> list[tuple[str, Path]]:
    if files is None:
        found = [path for path in folder.rglob("*") if path.is_file()]
        files = [path for path in found if not any(part.startswith(".") for part in path.relative_to(folder).parts)]
    return sorted((path.relative_to(folder).as_posix(), path) for path in files)
