"""The audit log: who used the service for what, one JSON object a line, only ever added to.

No line holds a key, a patient's data, a UID or a file's name.
"""

from __future__ import annotations

import errno
import json
import os
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import structlog

from sigap.core.errors import SigapError

# Anybody can cause a line that tells of no key; whoever fills the disk with them would lock all others out.
STRANGERS_A_MINUTE = 60
_MINUTE_S = 60.0
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
        monotonic: seconds of a clock that nobody sets.
    """

    def __init__(self, path: Path, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._owed: list[bytes] = []
        self._strangers = _Strangers(monotonic)

    def check(self) -> None:
        """Before anything is done: whether it could be recorded. What could not be written before is written now.

        Raises:
            AuditUnavailable: nothing can be recorded.
        """
        with self._lock:
            self._append(b"")

    def write(self, *, is_strangers: bool = False, **fields: Any) -> None:
        """Record what was done; the time comes before it.

        Args:
            is_strangers: it was done without a key. Of such lines some are left out, and counted in the next one.
            fields: the line's.

        Raises:
            AuditUnavailable: it could not be written. It is owed: nothing more is let in before it is.
        """
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        with self._lock:
            if is_strangers and not self._strangers.may_be_told():
                return
            line = {"time": now, **fields, **self._strangers.untold()}
            self._append(json.dumps(line, ensure_ascii=True).encode() + b"\n")

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


class _Strangers:
    """Who comes without a key: so many a minute are told of."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._since, self._told, self._untold = monotonic(), 0, 0

    def may_be_told(self) -> bool:
        now = self._monotonic()
        if now - self._since >= _MINUTE_S:
            self._since, self._told = now, 0
        self._told += 1
        is_told = self._told <= STRANGERS_A_MINUTE
        self._untold += not is_told
        return is_told

    def untold(self) -> dict[str, int]:
        """How many were left out before this line; nothing where none were."""
        count, self._untold = self._untold, 0
        return {"unrecorded": count} if count else {}
