"""All answers in one zip, under the names that the command line gives them."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile, ZipInfo

from sigap.core.result import Result
from sigap.encoders.report import timed

_COMPRESSED = (".gz", ".png")
# The earliest date that a zip can hold: equal answers give equal bytes.
_DATE = (1980, 1, 1, 0, 0, 0)
_READABLE_FILE = 0o100644


def write_archive(result: Result, path: Path, *, members: Mapping[str, Callable[[Result, Path], None]]) -> None:
    """Write each member beside the zip, one at a time, and move it in.

    Args:
        result: what all of them say.
        path: of the zip; its folder must have room for one more member, uncompressed.
        members: what writes each file, by name, in order. Each sees as `encode` what those before it took, so the
            report comes last.
    """
    started = time.perf_counter()
    with ZipFile(path, "w") as archive, tempfile.TemporaryDirectory(dir=path.parent) as folder:
        for name, write in members.items():
            file = Path(folder) / name
            write(timed(result, encode_ms=(time.perf_counter() - started) * 1000), file)
            _add(archive, file)
            file.unlink()


def _add(archive: ZipFile, file: Path) -> None:
    entry = ZipInfo(file.name, _DATE)
    entry.compress_type = ZIP_STORED if file.suffix in _COMPRESSED else ZIP_DEFLATED
    entry.external_attr = _READABLE_FILE << 16
    entry.file_size = file.stat().st_size
    with file.open("rb") as source, archive.open(entry, "w") as target:
        shutil.copyfileobj(source, target)
