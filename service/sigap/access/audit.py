"""The audit log: who used the service for what, one JSON object a line, only ever added to.

No line holds a key, a patient's data, a UID or a file's name.
"""

from __future__ import annotations

import errno
import json
import os
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import structlog

from sigap.core.errors import SigapError

_log = structlog.stdlib.get_logger("sigap.access")


class AuditUnavailable(SigapError):
    """A use could not be recorded, so it is refused."""

    slug = "audit-unavailable"


class AuditLog:
    """Appends lines; several processes may share one file on a local disk.

    The file is opened for every line: whoever rotates it need tell nobody. A line is one write at the end, which the
    system does not mix with others'.

    Args:
        path: made where it is missing, readable by its owner alone; its folder must be there.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._owed: list[bytes] = []

    def check(self) -> None:
        """Before anything is done: whether it could be recorded. What could not be written before is written now.

        Raises:
            AuditUnavailable: nothing can be recorded.
        """
        with self._lock:
            self._append(b"")

    def write(self, **fields: Any) -> None:
        """Record what was done; the time comes before it.

        Raises:
            AuditUnavailable: it could not be written. It is owed: nothing more is let in before it is.
        """
        time = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        line = json.dumps({"time": time, **fields}, ensure_ascii=True).encode() + b"\n"
        with self._lock:
            self._append(line)

    def _append(self, line: bytes) -> None:
        if line:
            self._owed.append(line)
        try:
            handle = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                while self._owed:
                    self._write(handle, self._owed[0])
                    del self._owed[0]
            finally:
                os.close(handle)
        except OSError as error:
            _log.error("the audit log cannot be written: nobody is let in", reason=error.strerror)
            raise AuditUnavailable(
                "The server cannot write its audit log, so it does nothing. Tell its administrator."
            ) from error

    def _write(self, handle: int, line: bytes) -> None:
        written = os.write(handle, line)
        if written < len(line):
            # The disk is about to be full. The rest alone would be a line that nobody can read: the whole comes again.
            self._owed[0] = b"\n" + line.lstrip(b"\n")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
