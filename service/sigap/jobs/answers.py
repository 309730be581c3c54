"""Answers made from results: at once, while a run still holds its volume, or later, from what was kept."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import IO, Protocol

import structlog
from PIL import Image

from sigap.core.errors import EngineUnavailable, FormatNotForInput, TooLarge
from sigap.core.result import Result
from sigap.core.study import Limits, Study
from sigap.encoders.image import write_image
from sigap.imaging.decode import decode
from sigap.jobs.folder import DataFolder, no_room_means_full
from sigap.jobs.job import Job
from sigap.jobs.kept import kept_report, restore
from sigap.jobs.memory import MEMORY_PER_VOXEL, Memory, Share

_BUSY_S = 60.0
_LOOK_AGAIN_S = 0.5
JSON = "json"
_logger = structlog.stdlib.get_logger("sigap.jobs")


class Format(Protocol):
    """What is needed of an `encoders.formats.Format`."""

    @property
    def media_type(self) -> str: ...

    @property
    def filename(self) -> str: ...

    @property
    def write(self) -> Callable[[Result, Path], None]: ...


@dataclass(frozen=True)
class Answer:
    """An encoded result. Its file is open, and what need not be kept has no name any more."""

    file: IO[bytes]
    size: int
    media_type: str
    filename: str


class Answers:
    """What clients are given.

    Args:
        data: where results lie.
        formats: what a result can be written as, by key.
        memory: shared with the runs.
        limits: caps on what a share of memory may be decoded to.
        workspace: makes a new, empty folder.
    """

    def __init__(
        self,
        data: DataFolder,
        *,
        formats: Callable[[str], Format],
        memory: Memory,
        limits: Callable[[Share], Limits],
        workspace: Callable[[], Path],
    ) -> None:
        self._data = data
        self._formats = formats
        self._memory = memory
        self._limits = limits
        self._workspace = workspace
        self._lock = threading.Lock()
        self._wanted: dict[str, list[str]] = {}
        self._ready: dict[tuple[str, str], Answer] = {}

    def expect(self, job_id: str, encoding: str) -> None:
        """Somebody here waits for a job and will want this format."""
        if encoding != JSON:
            with self._lock:
                self._wanted.setdefault(job_id, []).append(encoding)

    def forget(self, job_id: str, encoding: str) -> None:
        """Whoever waited does so no more."""
        with self._lock:
            if encoding in self._wanted.get(job_id, ()):
                self._wanted[job_id].remove(encoding)
            if not self._wanted.get(job_id):
                self._wanted.pop(job_id, None)
                left = [self._ready.pop(key) for key in list(self._ready) if key[0] == job_id]
            else:
                left = []
        for answer in left:
            answer.file.close()

    def prepare(self, job_id: str, result: Result, folder: Path) -> None:
        """Write what is waited for, while the volume is at hand."""
        with self._lock:
            encodings = set(self._wanted.get(job_id, ()))
        for encoding in encodings:
            try:
                answer = self._write(encoding, result, folder)
            except FormatNotForInput:
                continue
            except Exception:
                # The result is good all the same; whoever wants this format meets the error when it is made for them.
                _logger.exception("an answer could not be made")
                continue
            with self._lock:
                if encoding not in self._wanted.get(job_id, ()):
                    answer.file.close()
                    continue
                before = self._ready.pop((job_id, encoding), None)
                self._ready[job_id, encoding] = answer
            if before is not None:
                before.file.close()

    def at_hand(self, job: Job, encoding: str) -> Answer | None:
        """A succeeded job's result in one format, if it lies ready.

        Raises:
            KeptUnreadable: its report is damaged.
        """
        with self._lock:
            answer = self._ready.pop((job.id, encoding), None)
        if answer is not None or encoding != JSON:
            return answer
        report, form = kept_report(self._result_folder(job)), self._formats(JSON)
        return None if report is None else Answer(BytesIO(report), len(report), form.media_type, form.filename)

    def make(self, job: Job, encoding: str, patience_s: float = _BUSY_S) -> Answer:
        """A succeeded job's result in one format, from what was kept.

        Args:
            job: it.
            encoding: the format.
            patience_s: longest wait for memory, if it is less than a minute.

        Raises:
            KeptUnreadable: the result is damaged.
            UnreadableInput: its upload is gone.
            EngineUnavailable: there was no memory for it in time.
            FormatNotForInput: the upload does not allow this format.
        """
        return self._with_study(
            job,
            patience_s,
            lambda study, folder: self._write(encoding, restore(self._result_folder(job), study), folder),
        )

    def image(self, job: Job, patience_s: float) -> Answer:
        """The scan as NIfTI; a picture as PNG.

        Raises:
            SigapError: as `make`; also what decoding raises.
        """
        return self._with_study(job, patience_s, self._write_image)

    def _write(self, encoding: str, result: Result, folder: Path) -> Answer:
        path = folder / self._formats(encoding).filename
        with no_room_means_full():
            self._formats(encoding).write(result, path)
        return _opened(path, self._formats(encoding))

    def _write_image(self, study: Study, folder: Path) -> Answer:
        if study.origin.kind in _PICTURES:
            path, media_type = folder / "image.png", "image/png"
            with no_room_means_full():
                Image.fromarray(study.volume.voxels[0]).save(path)
        else:
            path, media_type = folder / "image.nii.gz", "application/x-nifti"
            with no_room_means_full():
                write_image(study, path)
        return Answer(path.open("rb"), path.stat().st_size, media_type, path.name)

    def _with_study(self, job: Job, patience_s: float, make: Callable[[Study, Path], Answer]) -> Answer:
        """Decode a job's upload again and make something of it, within the memory there is."""
        give_up = time.monotonic() + min(patience_s, _BUSY_S)
        while True:
            folder = self._workspace()
            try:
                with self._memory.share() as share:
                    try:
                        study = self._decode(job, folder, self._limits(share))
                    except TooLarge:
                        if share.is_all:
                            raise
                    else:
                        share.settle(_bytes_of(study))
                        return make(study, folder)
            finally:
                shutil.rmtree(folder, ignore_errors=True)
            if time.monotonic() > give_up:
                raise EngineUnavailable("The server's memory is taken by other studies. Try again in a moment.")
            time.sleep(_LOOK_AGAIN_S)

    def _decode(self, job: Job, folder: Path, limits: Limits) -> Study:
        files, sha256 = self._data.job(job.folder or "").files()
        unpacked = folder / "unpacked"
        unpacked.mkdir()
        with no_room_means_full():
            return decode(files, workspace=unpacked, options=job.options.decode, limits=limits, sha256=sha256)

    def _result_folder(self, job: Job) -> Path:
        return self._data.job(job.folder or "").result(job.result or "")


_PICTURES = ("png", "jpeg")


def _opened(path: Path, encoding: Format) -> Answer:
    return Answer(path.open("rb"), path.stat().st_size, encoding.media_type, encoding.filename)


def _bytes_of(study: Study) -> int:
    return MEMORY_PER_VOXEL * study.volume.voxels.size
