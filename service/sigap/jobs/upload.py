"""An upload while it arrives: each file written, counted and hashed as it comes, all of them safe at the end."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Self

from sigap.core.errors import StorageFull
from sigap.core.study import combined_sha256
from sigap.jobs.folder import MANIFEST, JobFolder, no_room_means_full, sync

# Bytes that a body of unknown length gets at a time.
_STEP = 64 << 20
_SYNC_THREADS = 8


class Upload:
    """A job's folder while its files arrive.

    Args:
        folder: made here.
        reserve: takes room on the disk for so many bytes in all; raises `StorageFull`.
        reserved_bytes: what was taken already.

    Attributes:
        count: complete files so far.
    """

    def __init__(self, folder: JobFolder, reserve: Callable[[int], None], reserved_bytes: int) -> None:
        self.folder = folder
        self._reserve = reserve
        self._reserved_bytes = reserved_bytes
        self._bytes = 0
        self._entries: list[dict[str, str]] = []
        self._synced: list[Future[None]] = []
        # Syncing goes on beside receiving: one file after the other would cost a DICOM folder seconds.
        self._threads = ThreadPoolExecutor(_SYNC_THREADS, thread_name_prefix="sigap-sync")
        with no_room_means_full():
            folder.path.mkdir(mode=0o700)
            folder.uploads.mkdir(mode=0o700)

    @property
    def count(self) -> int:
        return len(self._entries)

    def receive(self, name: str) -> IncomingFile:
        """Start the next file; `name` is what the client calls it."""
        file = f"{self.count:06}"
        with no_room_means_full():
            return IncomingFile(self, self.folder.uploads / file, name)

    def take(self, count: int) -> None:
        """Count bytes about to be written; raises `StorageFull`."""
        self._bytes += count
        if self._bytes > self._reserved_bytes:
            try:
                self._reserve_bytes(self._bytes + _STEP)
            except StorageFull:
                # The last of the room, or none.
                self._reserve_bytes(self._bytes)

    def keep(self, path: Path, name: str, sha256: str) -> None:
        """Add a complete file."""
        self._entries.append({"file": path.name, "name": name, "sha256": sha256})
        self._synced.append(self._threads.submit(sync, path))

    def complete(self) -> str:
        """Make all files safe: whatever happens to the machine from here, they are there.

        Returns:
            Their `combined_sha256`.
        """
        with no_room_means_full():
            manifest = self.folder.path / MANIFEST
            manifest.write_text(json.dumps(self._entries, ensure_ascii=False), encoding="utf-8")
            for synced in self._synced:
                synced.result()
            for path in (manifest, self.folder.uploads, self.folder.path, self.folder.path.parent):
                sync(path)
        self._reserve_bytes(self._bytes + manifest.stat().st_size)
        self.close()
        return combined_sha256([entry["sha256"] for entry in self._entries])

    def close(self) -> None:
        self._threads.shutdown(cancel_futures=True)

    def _reserve_bytes(self, count: int) -> None:
        self._reserve(count)
        self._reserved_bytes = count

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class IncomingFile:
    """One file while its bytes arrive.

    Attributes:
        path: where they lie.
    """

    def __init__(self, upload: Upload, path: Path, name: str) -> None:
        self._upload = upload
        self.path = path
        self._name = name
        self._file = path.open("wb", buffering=0)
        self._digest = hashlib.sha256()

    def write(self, block: memoryview | bytes) -> None:
        """Append bytes.

        Raises:
            StorageFull: there is no room for them.
        """
        self._upload.take(len(block))
        rest = memoryview(block)
        with no_room_means_full():
            # An unbuffered write may take a part only, just before the disk is full.
            while rest:
                rest = rest[self._file.write(rest) :]
        self._digest.update(block)

    def complete(self) -> None:
        """Close the file and count it among the upload's."""
        self.close()
        self._upload.keep(self.path, self._name, self._digest.hexdigest())

    def close(self) -> None:
        self._file.close()
