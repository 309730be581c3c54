"""An answer's files in their folder: whole or not at all, and never over another answer unasked."""

from __future__ import annotations

import re
import secrets
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from sigap.core.result import Result
from sigap.core.study import Study
from sigap.encoders.formats import FORMATS, Format
from sigap.encoders.stl import SIGNATURE

_REPORT = "json"
_REPORT_FILE = FORMATS[_REPORT].filename


def holds_answer(folder: Path) -> bool:
    """Whether any file of an answer lies there, of whatever task and formats."""
    return next(_files_of_answers(folder), None) is not None


def _files_of_answers(folder: Path) -> Iterator[Path]:
    """Ours in a folder: by name, and surfaces, which are named as a model's labels, by how they begin; report first."""
    named = [answer.filename for answer in FORMATS.values() if answer.parts is None]
    for name in sorted(named, key=lambda name: name != _REPORT_FILE):
        yield from (path for path in [folder / name] if path.exists())
    yield from sorted(path for path in folder.glob("sc-*.dcm") if re.fullmatch(r"sc-\d{3}\.dcm", path.name))
    for path in sorted(folder.glob("*.stl")):
        with path.open("rb") as file:
            if file.read(len(SIGNATURE)) == SIGNATURE:
                yield path


def check_formats(study: Study, formats: Sequence[str]) -> None:
    """Raise `FormatNotForInput` where one of the formats cannot be made of this study."""
    for name in formats:
        FORMATS[name].check(study)


def write_answer(result: Result, formats: Sequence[str], folder: Path) -> None:
    """Encode a result in a hidden folder of its folder, then move it out: what is beside may be on another disk.

    An answer that lies there already is replaced as a whole: one run's mask must not stand beside another's report.

    Args:
        result: the answer.
        formats: names in `FORMATS`, without zip.
        folder: where it goes; made if it is not there. Its parent must be there.
    """
    is_new = not folder.exists()
    folder.mkdir(exist_ok=True)
    partial = folder / f".{secrets.token_hex(4)}.partial"
    try:
        partial.mkdir()
        _encode(result, [FORMATS[name] for name in formats], partial)
        _publish(partial, folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        if is_new:
            # Goes only where it is empty: nothing came to be written.
            with suppress(OSError):
                folder.rmdir()


def _encode(result: Result, answers: Sequence[Format], folder: Path) -> None:
    """The report comes last: its `encode` counts the others."""
    started = time.perf_counter()
    for answer in sorted(answers, key=lambda answer: answer.name == _REPORT):
        for name, write in answer.files(result).items():
            spent_ms = (time.perf_counter() - started) * 1000
            timings_ms = {**result.timings_ms, "encode": spent_ms}
            write(replace(result, timings_ms=timings_ms), folder / name)


def _publish(partial: Path, folder: Path) -> None:
    """Where the report lies, all other files lie: it is moved last, and the old one is deleted first."""
    for old in list(_files_of_answers(folder)):
        old.unlink()
    for file in sorted(partial.iterdir(), key=lambda file: file.name == _REPORT_FILE):
        file.rename(folder / file.name)
