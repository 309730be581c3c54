"""The keys as a running gateway knows them: those of the file, as it is at this moment."""

from __future__ import annotations

import threading
from pathlib import Path

import structlog

from sigap.access import session
from sigap.access.keys import Key, KeyFile, KeysUnavailable, digest

_Stamp = tuple[int, int, int, int]
_log = structlog.stdlib.get_logger("sigap.access")


class KeyRing:
    """Looks at the file's stamp each time and reads it only when that has changed; safe to use from several threads.

    Args:
        folder: the data folder.
        is_shut: without a file nobody has a key, even if there has never been one.
    """

    def __init__(self, folder: Path, *, is_shut: bool = False) -> None:
        self._file = KeyFile(folder)
        self._lock = threading.Lock()
        self._stamp: _Stamp | None = None
        self._keys: tuple[Key, ...] | None = () if is_shut else None
        self._fault: KeysUnavailable | None = None

    def keys(self) -> tuple[Key, ...] | None:
        """All keys; None as long as there has never been one and there need be none.

        A file that was there and has gone leaves nobody a key, and opens nothing.

        Raises:
            KeysUnavailable: the file cannot be read or trusted.
        """
        with self._lock:
            try:
                stamp = _stamp(self._file.path)
            except OSError as error:
                raise KeysUnavailable("The server's file of keys cannot be read. Tell its administrator.") from error
            if stamp != self._stamp:
                self._read()
                self._stamp = stamp
            if self._fault is not None:
                raise KeysUnavailable("The server's file of keys cannot be used. Tell its administrator.")
            return self._keys

    def key_of(self, secret: str) -> Key | None:
        """The key with this secret. All are compared, so that time tells nothing of which came close."""
        shown = digest(secret)
        return _only([key for key in self.keys() or () if key.is_of(shown)])

    def key_of_session(self, token: str, now: float) -> Key | None:
        """The key that a session was begun with, if both still hold."""
        return _only([key for key in self.keys() or () if session.is_of(key, token, now)])

    def _read(self) -> None:
        try:
            keys, self._fault = self._file.read(), None
        except KeysUnavailable as error:
            keys, self._fault = (), error
            _log.error("nobody is let in", reason=error.message)
        self._keys = () if keys is None and self._keys is not None else keys


def _only(keys: list[Key]) -> Key | None:
    return keys[0] if keys else None


def _stamp(path: Path) -> _Stamp | None:
    """Changes with every change of the file, of its permissions too."""
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
