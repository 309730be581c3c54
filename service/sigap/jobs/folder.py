"""Where a job's files lie: one folder for each, deleted with everything in it when the job ends."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import secrets
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from sigap.core.errors import StorageFull
from sigap.core.study import InputFile, combined_sha256

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class JobFolders:
    """The folder `jobs` under SIGAP_DATA: private to its owner, used by one process at a time.

    Jobs live in this process (durable ones: a later version), so whatever lies there at start was left by a dead one.
    """

    def __init__(self, data: Path, *, quota_bytes: int) -> None:
        self._data = data
        self._root = data / "jobs"
        self._quota_bytes = quota_bytes
        self._used_bytes = 0
        self._lock = threading.Lock()
        self._claim: int | None = None

    def __enter__(self) -> Self:
        """Claim the folder and clear it.

        Raises:
            OSError: it cannot be made or written to; `BlockingIOError`: another process uses it.
        """
        self._data.mkdir(parents=True, exist_ok=True)
        self._root.mkdir(mode=0o700, exist_ok=True)
        self._root.chmod(0o700)
        self._claim = os.open(self._data / "jobs.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._give_up()
            raise
        for leftover in self._root.iterdir():
            shutil.rmtree(leftover) if leftover.is_dir() and not leftover.is_symlink() else leftover.unlink()
        return self

    def __exit__(self, *_: object) -> None:
        self._give_up()

    def create(self) -> JobFolder:
        """A new, empty folder under a name that cannot be guessed."""
        with no_room_means_full():
            return JobFolder(self, self._root / secrets.token_hex(16))

    def take(self, count: int) -> None:
        """Count bytes about to be written.

        Raises:
            StorageFull: they would go over the quota.
        """
        with self._lock:
            if self._used_bytes + count > self._quota_bytes:
                raise StorageFull("The server's space for uploads is full. Try again later or tell its administrator.")
            self._used_bytes += count

    def give(self, count: int) -> None:
        with self._lock:
            self._used_bytes -= count

    def _give_up(self) -> None:
        if self._claim is not None:
            os.close(self._claim)
            self._claim = None


class JobFolder:
    """One job's files. What the client called them never becomes part of a path.

    Attributes:
        id: the folder's own name.
        files: what was uploaded, each once it is complete.
    """

    def __init__(self, folders: JobFolders, path: Path) -> None:
        self._folders = folders
        self._path = path
        self._bytes = 0
        self.id = path.name
        self.files: list[InputFile] = []
        self._sha256s: list[str] = []
        path.mkdir(mode=0o700)
        self.workspace.mkdir()
        self._uploads.mkdir()

    @property
    def workspace(self) -> Path:
        """For what the pipeline unpacks."""
        return self._path / "work"

    @property
    def result(self) -> Path:
        """For the encoded answer."""
        return self._path / "result"

    @property
    def _uploads(self) -> Path:
        return self._path / "upload"

    @property
    def sha256(self) -> str:
        """The `combined_sha256` of the files."""
        return combined_sha256(self._sha256s)

    def receive(self, name: str) -> IncomingFile:
        """Start the next uploaded file; `name` is what the client calls it."""
        with no_room_means_full():
            return IncomingFile(self, self._uploads / f"{len(self.files):06}", name)

    def take(self, count: int) -> None:
        self._folders.take(count)
        self._bytes += count

    def keep(self, file: InputFile, sha256: str) -> None:
        """Add a complete file."""
        self.files.append(file)
        self._sha256s.append(sha256)

    def remove(self) -> None:
        """Delete everything; a second call does nothing."""
        shutil.rmtree(self._path, ignore_errors=True)
        self._folders.give(self._bytes)
        self._bytes = 0


class IncomingFile:
    """One file while its bytes arrive."""

    def __init__(self, folder: JobFolder, path: Path, name: str) -> None:
        self._folder = folder
        self._file = path.open("wb", buffering=0)
        self._digest = hashlib.sha256()
        self._input = InputFile(path, name)

    def write(self, block: memoryview | bytes) -> None:
        """Append bytes.

        Raises:
            StorageFull: there is no room for them.
        """
        self._folder.take(len(block))
        rest = memoryview(block)
        with no_room_means_full():
            # An unbuffered write may take a part only, just before the disk is full.
            while rest:
                rest = rest[self._file.write(rest) :]
        self._digest.update(block)

    def complete(self) -> None:
        """Close the file and count it among the folder's."""
        self.close()
        self._folder.keep(self._input, self._digest.hexdigest())

    def close(self) -> None:
        self._file.close()


@contextmanager
def no_room_means_full() -> Iterator[None]:
    """Map what the operating system says of a full disk.

    Raises:
        StorageFull: the disk or the user's share of it is full.
    """
    try:
        yield
    except OSError as error:
        if error.errno in _NO_ROOM:
            raise StorageFull("The server's disk is full. Try again later or tell its administrator.") from error
        raise
