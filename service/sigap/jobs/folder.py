"""The data folder: a job's files, each job's in a folder of its own, and what runs make on their way."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import secrets
import shutil
from collections.abc import Callable, Container, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from sigap.core.errors import StorageFull, UnreadableInput
from sigap.core.study import InputFile, combined_sha256

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_ID = re.compile(r"[0-9a-f]{32}")
MANIFEST = "manifest.json"


class DataFolder:
    """SIGAP_DATA: `jobs/<id>` for uploads and results, `work/<gateway>` for what a run unpacks. Private to its owner.

    Args:
        path: made where it is missing.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._jobs = path / "jobs"
        self._work = path / "work"

    def prepare(self) -> None:
        """Make what is missing.

        Raises:
            OSError: it cannot be made or written to.
        """
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        for folder in (self._jobs, self._work):
            folder.mkdir(mode=0o700, exist_ok=True)
        for folder in (self.path, self._jobs, self._work):
            folder.chmod(0o700)

    @contextmanager
    def claimed(self) -> Iterator[None]:
        """Keep other gateways out, as SQLite needs it.

        Raises:
            BlockingIOError: another gateway uses the folder.
        """
        claim = os.open(self.path / "jobs.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
        finally:
            os.close(claim)

    def is_marked(self, database: str) -> bool:
        """Whether the folder is this database's; one that is nobody's becomes so."""
        mark = self.path / "database"
        try:
            with open(mark, "x", encoding="ascii", opener=_private) as file:
                file.write(database)
        except FileExistsError:
            return mark.read_text(encoding="ascii") == database
        sync(mark)
        sync(self.path)
        return True

    def job(self, folder_id: str) -> JobFolder:
        """A job's folder, which may not be there."""
        return JobFolder(self._jobs / folder_id)

    def remove(self, folder_ids: Iterable[str]) -> None:
        """Delete the folders of jobs that the store knows no more."""
        for folder_id in folder_ids:
            self.job(folder_id).remove()

    def workspace(self, gateway: str) -> Path:
        """A new, empty folder for what is unpacked or made on the way."""
        path = self._work / gateway / secrets.token_hex(8)
        with no_room_means_full():
            # One by one: `parents` would make those open to all.
            path.parent.mkdir(mode=0o700, exist_ok=True)
            path.mkdir(mode=0o700)
        return path

    def remove_workspaces(self, gateway: str) -> None:
        """Delete what a gateway's runs have left."""
        shutil.rmtree(self._work / gateway, ignore_errors=True)

    def sweep(self, gateways: Callable[[], set[str]], folders: Callable[[], Container[str]]) -> int:
        """Delete what nobody knows: left by a process that died between a row's deletion and its folder's.

        A folder's row is written before the folder is made, so one that was listed first and is in no row is nobody's.

        Args:
            gateways: those that live.
            folders: the folders that must be there.

        Returns:
            How many folders were deleted.
        """
        works, jobs = _ours(self._work), _ours(self._jobs)
        living, known = gateways(), folders()
        left = [path for path in works if path.name not in living]
        left += [path for path in jobs if path.name not in known]
        for path in left:
            shutil.rmtree(path, ignore_errors=True)
        return len(left)


class JobFolder:
    """One job's files. What the client called them never becomes part of a path."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def uploads(self) -> Path:
        return self.path / "upload"

    def result(self, name: str) -> Path:
        """The subfolder of a kept result."""
        return self.path / name

    def files(self) -> tuple[list[InputFile], str]:
        """What was uploaded, and its `combined_sha256`.

        Raises:
            UnreadableInput: the files are gone.
        """
        try:
            entries = json.loads((self.path / MANIFEST).read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise UnreadableInput("The study's files are gone. Send it again.", slug="upload-gone") from error
        files = [InputFile(self.uploads / entry["file"], entry["name"]) for entry in entries]
        return files, combined_sha256([entry["sha256"] for entry in entries])

    def size(self) -> int:
        """Bytes of what was uploaded."""
        return sum(path.stat().st_size for path in (self.path / MANIFEST, *self.uploads.iterdir()))

    def take_result(self, made: Path, name: str) -> Path:
        """Move a complete result in; once this returns, a power cut cannot take it.

        Args:
            made: a folder on the same disk, its files synced.
            name: what the result is called here.
        """
        place = self.result(name)
        made.rename(place)
        sync(self.path)
        return place

    def remove(self) -> None:
        """Delete everything; a second call does nothing."""
        shutil.rmtree(self.path, ignore_errors=True)

    def remove_results(self, *, before: int) -> None:
        """Delete what runs with tokens before this one have written: they have no say any more."""
        for path in self.path.glob("result-*"):
            if int(path.name.removeprefix("result-")) < before:
                shutil.rmtree(path, ignore_errors=True)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _ours(folder: Path) -> list[Path]:
    """Subfolders under names as we give them; what else lies there is not ours to delete."""
    return [path for path in folder.iterdir() if _ID.fullmatch(path.name) and path.is_dir() and not path.is_symlink()]


def sync(path: Path) -> None:
    """Wait until a file's bytes, or a folder's names, are on the disk."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


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
