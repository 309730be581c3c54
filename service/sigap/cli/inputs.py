"""Inputs as a command line names them: a file, a zip, a folder; and the names of their answers' folders."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from sigap.core.errors import UnreadableInput
from sigap.core.study import InputFile

_EXTENSIONS = {".gz", ".nii", ".zip", ".dcm", ".dicom", ".ima", ".png", ".jpg", ".jpeg"}


def collect(path: Path) -> list[InputFile]:
    """All files of one input, a folder's at any depth.

    A link inside a folder is followed only if it leads to a file of the same folder: what was not named is not read.

    Raises:
        UnreadableInput: there is no such file, it is a pipe or a device, or the folder holds none.
        OSError: a part of the folder cannot be read.
    """
    if not path.exists():
        raise UnreadableInput("There is no such file or folder.", slug="no-file")
    if path.is_file():
        return [InputFile(path, legible(path.name))]
    if not path.is_dir():
        raise UnreadableInput("This is neither a file nor a folder. Write it to a file first.", slug="no-file")
    files = sorted(_walk(path), key=lambda file: file.name)
    if not files:
        raise UnreadableInput("The folder holds no files (links that lead out of it are not followed).", slug="no-file")
    return files


def _walk(folder: Path) -> Iterator[InputFile]:
    def refuse(error: OSError) -> None:
        # Passed over, a part of the study would look like all of it.
        raise error

    home = folder.resolve()
    for place, _, names in os.walk(folder, onerror=refuse):
        for name in names:
            file = Path(place, name)
            if file.is_file() and (not file.is_symlink() or file.resolve().is_relative_to(home)):
                yield InputFile(file, legible(file.relative_to(folder).as_posix()))


def legible(path: str) -> str:
    r"""A path for reports and tables: bytes that are no UTF-8, which no JSON or CSV can hold, become `\xe9`."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def answer_names(inputs: Sequence[Path], *, taken: Sequence[str] = ()) -> list[str]:
    """A folder name for each input: its own less its extensions, `-2`, `-3` … where another has it.

    Args:
        inputs: files or folders.
        taken: names that are in use already.
    """
    used = {name.casefold() for name in taken}
    chosen: list[str] = []
    for path in inputs:
        stem = _stem(path)
        name, count = stem, 1
        while name.casefold() in used:
            count += 1
            name = f"{stem}-{count}"
        used.add(name.casefold())
        chosen.append(name)
    return chosen


def _stem(path: Path) -> str:
    """`head.nii.gz` is head, `1.2.840.7` and a folder's name stay whole, `scan.img` is scan."""
    # Not resolve(): an input that is a link keeps the name it was given by. `.` and `..` have none of their own.
    whole = Path(os.path.abspath(path))  # noqa: PTH100 - Path.absolute() leaves `..` in place
    if path.is_dir():
        return whole.name or "input"
    stem = whole
    while stem.suffix.lower() in _EXTENSIONS:
        stem = stem.with_suffix("")
    if stem == whole and stem.suffix[1:].isalpha():
        stem = stem.with_suffix("")
    return stem.name
