"""All answers in one zip, under the names that the command line gives them."""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile, ZipInfo

from sigap.core.errors import FormatNotForInput
from sigap.core.result import Result
from sigap.encoders.report import timed

_COMPRESSED = (".gz", ".png")
# The earliest date that a zip can hold: equal answers give equal bytes.
_DATE = (1980, 1, 1, 0, 0, 0)
_READABLE_FILE = 0o100644


LEFT_OUT = "left-out.json"
"""Lists what an input does not allow; there only where something is."""


def write_archive(
    result: Result,
    path: Path,
    *,
    members: Mapping[str, Callable[[Result], Mapping[str, Callable[[Result, Path], None]]]],
) -> None:
    """Write each member beside the zip, one at a time, and move it in.

    Args:
        result: what all of them say.
        path: of the zip; its folder must have room for one more member, uncompressed.
        members: for each format what gives its files, by name, and raises `FormatNotForInput` where the input does not
            allow it; in order. Each file sees as `encode` what those before it took, so the report comes last.
    """
    started = time.perf_counter()
    left_out: list[dict[str, str]] = []
    with ZipFile(path, "w") as archive, tempfile.TemporaryDirectory(dir=path.parent) as folder:
        for format_name, files_of in members.items():
            try:
                files = files_of(result)
            except FormatNotForInput as error:
                left_out.append({"format": format_name, "reason": error.message})
                continue
            for name, write in files.items():
                file = Path(folder) / name
                write(timed(result, encode_ms=(time.perf_counter() - started) * 1000), file)
                _add(archive, file)
                file.unlink()
        if left_out:
            file = Path(folder) / LEFT_OUT
            file.write_text(json.dumps({"schema": "sigap.left-out/1", "left_out": left_out}, indent=1) + "\n")
            _add(archive, file)


def _add(archive: ZipFile, file: Path) -> None:
    entry = ZipInfo(file.name, _DATE)
    entry.compress_type = ZIP_STORED if file.suffix in _COMPRESSED else ZIP_DEFLATED
    entry.external_attr = _READABLE_FILE << 16
    entry.file_size = file.stat().st_size
    with file.open("rb") as source, archive.open(entry, "w") as target:
        shutil.copyfileobj(source, target)
