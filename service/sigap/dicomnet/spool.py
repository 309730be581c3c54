"""What the receiver has taken and not yet handed over: safe on the disk before the sender is told so.

A study is a folder: its files, named by their content, and `study.json`, which says what was decided about it. Nothing
of a patient becomes part of a path.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import secrets
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from pydicom.dataset import FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_file_meta_info

from sigap.core.errors import StorageFull
from sigap.jobs.folder import no_room_means_full, sync

_ID_LENGTH = 32
_STATE = "study.json"
_PREAMBLE = bytes(128) + b"DICM"


@dataclass(frozen=True)
class Handover:
    """A series that was given to a task, or is about to be.

    Attributes:
        task: a model's name.
        series_uid: of the series.
        key: names the request, so that the gateway makes one job of it however often it is sent.
        files: names of its files.
        send_to: destinations of the result.
        priority: of the job; None: the task's own.
        job: its id, once the gateway has accepted it.
        problem: why the gateway does not take it: a person has to look.
    """

    task: str
    series_uid: str
    key: str
    files: tuple[str, ...]
    send_to: tuple[str, ...] = ()
    priority: str | None = None
    job: str | None = None
    problem: str | None = None

    @property
    def is_due(self) -> bool:
        return self.job is None and self.problem is None


@dataclass(frozen=True)
class Undecided:
    """A choice that rules leave to a person.

    Attributes:
        task: whose rule fits several series; None: no rule fits any.
        why: a sentence.
        series: what there is, each as a refused upload lists it.
    """

    task: str | None
    why: str
    series: tuple[dict[str, Any], ...]


@dataclass(frozen=True)
class StudyState:
    """What was decided about a study.

    Attributes:
        seen: a digest of the files that the decision is about; "" while there is none.
        handovers: what rules or a person have chosen.
        undecided: what is left to a person.
        choices: series by task, as a person has chosen.
        is_dismissed: a person wants nothing of it.
    """

    seen: str = ""
    handovers: tuple[Handover, ...] = ()
    undecided: tuple[Undecided, ...] = ()
    choices: dict[str, str] = field(default_factory=dict)
    is_dismissed: bool = False

    @property
    def needs_person(self) -> bool:
        return not self.is_dismissed and bool(self.undecided or any(one.problem for one in self.handovers))

    @classmethod
    def of(cls, document: dict[str, Any]) -> StudyState:
        """The inverse of `asdict`."""
        handovers = tuple(
            Handover(**{**entry, "files": tuple(entry["files"]), "send_to": tuple(entry["send_to"])})
            for entry in document["handovers"]
        )
        undecided = tuple(Undecided(**{**entry, "series": tuple(entry["series"])}) for entry in document["undecided"])
        return cls(**{**document, "handovers": handovers, "undecided": undecided})


class SpooledStudy:
    """One study's folder.

    Attributes:
        id: of its Study Instance UID, which it does not tell.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.id = path.name

    @property
    def files_folder(self) -> Path:
        return self.path / "files"

    def files(self) -> dict[str, Path]:
        """The files by name."""
        return {path.name: path for path in sorted(self.files_folder.iterdir())}

    def digest(self) -> str:
        """Changes when a file comes; asked of every study every second, so no path is made of any name."""
        with os.scandir(self.files_folder) as entries:
            names = sorted(entry.name for entry in entries)
        return hashlib.sha256("".join(names).encode()).hexdigest()

    def newest(self) -> float:
        """When the last file came, in seconds since 1970."""
        return self.files_folder.stat().st_mtime

    def state(self) -> StudyState:
        try:
            return StudyState.of(json.loads((self.path / _STATE).read_text(encoding="utf-8")))
        except FileNotFoundError:
            return StudyState()

    @contextmanager
    def changing(self) -> Iterator[list[StudyState]]:
        """The state to be changed, in a list of one; whoever else changes it, in whatever process, waits."""
        with (self.path / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            held = [self.state()]
            before = held[0]
            yield held
            if held[0] != before:
                write_safely(self.path / _STATE, json.dumps(asdict(held[0])).encode())

    def remove(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)


class Spool:
    """The folder of the receiver.

    Args:
        path: made where it is missing.
        quota_bytes: more is refused.
    """

    def __init__(self, path: Path, quota_bytes: int) -> None:
        self.path = path
        self._studies = path / "studies"
        self._incoming = path / "incoming"
        self._quota_bytes = quota_bytes
        self._used_bytes = 0
        self._lock = threading.Lock()

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Make what is missing, and keep another receiver out.

        Raises:
            BlockingIOError: another receiver uses the folder.
            OSError: it cannot be made or written to.
        """
        made = [folder for folder in (self.path, self._studies, self._incoming) if not folder.is_dir()]
        for folder in made:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            sync(folder.parent)
        with (self.path / "lock").open("w") as claim:
            fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Of a receiver that died: no sender was told that these are safe.
            for path in self._incoming.iterdir():
                path.unlink()
            self._used_bytes = sum(path.stat().st_size for path in self._studies.glob("*/files/*"))
            yield

    def studies(self) -> list[SpooledStudy]:
        """All of them; none where nothing was ever received."""
        if not self._studies.is_dir():
            return []
        return [SpooledStudy(path) for path in sorted(self._studies.iterdir()) if path.is_dir()]

    def study(self, study_uid: str) -> SpooledStudy:
        """Where a study's instances are, or would be."""
        return SpooledStudy(self._studies / hashlib.sha256(study_uid.encode()).hexdigest()[:_ID_LENGTH])

    def keep(self, study_uid: str, meta: FileMetaDataset, content: memoryview) -> SpooledStudy:
        """Write an instance down; once this returns, a power cut cannot take it.

        The same instance sent again is kept once. Another one under the same UID is kept beside it: which of the two is
        right is nothing that a receiver can know, and the study's geometry verdict will say so.

        Args:
            study_uid: of the instance.
            meta: its file meta information.
            content: the data set, encoded as `meta` says.

        Raises:
            StorageFull: the disk, or the receiver's share of it, is full.
        """
        study = self.study(study_uid)
        name = hashlib.sha256(str(meta.TransferSyntaxUID).encode() + content).hexdigest()
        head = _head(meta)
        size = len(head) + len(content)
        with no_room_means_full():
            with self._lock:
                study.files_folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                is_new = not (study.files_folder / name).exists()
                if is_new and self._used_bytes + size > self._quota_bytes:
                    raise StorageFull("The receiver's folder is full. Try again later or tell its administrator.")
                self._used_bytes += size if is_new else 0
            if is_new:
                self._move_in(study, name, (head, content), size)
            # Of one that is there already, too: whoever brought it may not have come so far.
            for folder in (study.files_folder, study.path, self._studies):
                sync(folder)
        return study

    def forget(self, study: SpooledStudy, seen: str) -> bool:
        """Delete a study that was handed over, unless an image has come since `seen` was its digest.

        Returns:
            Whether it is deleted.
        """
        with self._lock:
            if study.digest() != seen:
                return False
            size = sum(path.stat().st_size for path in study.files().values())
            study.remove()
            self._used_bytes -= size
        return True

    def _move_in(self, study: SpooledStudy, name: str, parts: tuple[bytes, memoryview], size: int) -> None:
        partial = self._incoming / secrets.token_hex(16)
        try:
            with partial.open("xb", buffering=0) as file:
                for part in parts:
                    _write_all(file.fileno(), part)
                os.fsync(file.fileno())
            with self._lock:
                # The study may have been handed over and deleted meanwhile.
                study.files_folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                partial.rename(study.files_folder / name)
        except BaseException:
            partial.unlink(missing_ok=True)
            with self._lock:
                self._used_bytes -= size
            raise


def write_safely(path: Path, content: bytes) -> None:
    """Replace a file as a whole; a power cut leaves the old one or the new one."""
    partial = path.with_name(f".{path.name}-{secrets.token_hex(4)}")
    try:
        with partial.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.rename(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    sync(path.parent)


def with_handover(state: StudyState, done: Handover) -> StudyState:
    """The state with one handover replaced by what became of it."""
    same = (done.task, done.key)
    return replace(state, handovers=tuple(done if (one.task, one.key) == same else one for one in state.handovers))


def _head(meta: FileMetaDataset) -> bytes:
    buffer = DicomBytesIO()
    write_file_meta_info(buffer, meta)
    return _PREAMBLE + buffer.getvalue()


def _write_all(handle: int, content: bytes | memoryview) -> None:
    rest = memoryview(content)
    while rest:
        # It may take a part only, just before the disk is full.
        rest = rest[os.write(handle, rest) :]
