"""One run of one job, from its claim to its end."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from sigap.core.errors import (
    Cancelled,
    DatabaseUnavailable,
    EngineUnavailable,
    InputError,
    NeverRoom,
    StorageFull,
    TooLarge,
    UnknownTask,
)
from sigap.core.result import Result
from sigap.core.study import Limits
from sigap.engines.engine import Engine
from sigap.jobs.answers import Answers
from sigap.jobs.ended import Ended, Findings, findings_of, findings_of_refused
from sigap.jobs.folder import DataFolder, JobFolder, no_room_means_full
from sigap.jobs.job import Order
from sigap.jobs.kept import keep
from sigap.jobs.lease import Lease
from sigap.jobs.memory import MEMORY_PER_VOXEL, Share
from sigap.jobs.problem import describe
from sigap.pipeline import Progress

_REPORT_EVERY_S = 0.2
_DATABASE_PAUSE_S = 1.0
_PASSING = (DatabaseUnavailable, StorageFull)

_Written = TypeVar("_Written")


class Stopped(Exception):
    """Raised within a run, to end it in order."""


class GaveWay(Exception):
    """Raised within a run whose volume must make room for a job that goes first."""


class _OutcomeUnknown(Cancelled):
    """The gateway stops before the database has said whether a write was made."""


@dataclass(frozen=True)
class Means:
    """What every run of a gateway works with.

    Attributes:
        run: `pipeline.run`.
        limits: caps on what a share of memory may be decoded to.
        workspace: makes a new, empty folder.
        passed: told of every named point of a job's way; tests end the process there.
        is_stopping: set when the gateway is being stopped.
    """

    engine: Engine
    data: DataFolder
    run: Callable[..., Result]
    answers: Answers
    limits: Callable[[Share], Limits]
    workspace: Callable[[], Path]
    passed: Callable[[str], None]
    is_stopping: threading.Event


class Run:
    """Decodes, segments, measures and keeps one study.

    Args:
        means: what it works with.
        lease: its job.
        share: its part of the memory.
        between_batches: called where the run can be paused; what it raises ends the run.
        changed: told when clients would see something new.
    """

    def __init__(
        self,
        means: Means,
        lease: Lease,
        share: Share,
        *,
        between_batches: Callable[[], None],
        changed: Callable[[], None],
    ) -> None:
        self._means = means
        self._lease = lease
        self._share = share
        self._between_batches = between_batches
        self._changed = changed
        self._stage = ""
        self._reported = 0.0
        self.lacks_memory = False

    def finish(self) -> Ended:
        """Run the job and write down what it came to. Raises nothing."""
        job = self._lease.job
        try:
            ended = self._try()
        except Cancelled as error:
            ended = Ended(job, "cancelled", error=error)
        self._changed()
        return ended

    def _try(self) -> Ended:
        job, lease = self._lease.job, self._lease
        try:
            if self._insist(lease.answer_by_twin):
                return Ended(job, "reused")
            return Ended(job, "succeeded", self._answer())
        except (Stopped, GaveWay):
            return self._release()
        except (InputError, UnknownTask, NeverRoom) as error:
            return self._refuse(error)
        except MemoryError:
            return self._refuse(TooLarge("The study needs more memory than this server has. Send fewer slices."))
        except Cancelled:
            raise
        except Exception as error:  # noqa: BLE001 - the worker must outlive any job; the error is kept with it and logged
            return self._postpone(error)

    def _release(self) -> Ended:
        self._insist(self._lease.release)
        return Ended(self._lease.job, "released")

    def _refuse(self, error: Exception) -> Ended:
        if isinstance(error, TooLarge) and not self._share.is_all:
            # Not too large for this server, only for what another study leaves of it.
            self.lacks_memory = True
            return self._release()
        self._insist(lambda: self._lease.fail(describe(error)))
        return Ended(self._lease.job, "failed", findings_of_refused(error), error)

    def _postpone(self, error: Exception) -> Ended:
        # An engine that is away and a disk that is full are nobody's fault, and may take their time.
        is_counted = not isinstance(error, (EngineUnavailable, StorageFull))
        is_dead = self._insist(lambda: self._lease.postpone(describe(error), is_counted=is_counted))
        return Ended(self._lease.job, "dead" if is_dead else "postponed", error=error)

    def _answer(self) -> Findings:
        job, means = self._lease.job, self._means
        with no_room_means_full():
            folder, workspace = means.data.job(job.folder or job.id), means.workspace()
            try:
                (workspace / "unpacked").mkdir()
                folder.remove_results(before=job.token)
                files, sha256 = folder.files()
                result = means.run(
                    files,
                    task=job.task,
                    engine=means.engine,
                    workspace=workspace / "unpacked",
                    options=job.options,
                    limits=means.limits(self._share),
                    sha256=sha256,
                    progress=self._report,
                )
                return self._keep(result, sha256, folder, workspace)
            finally:
                shutil.rmtree(workspace, ignore_errors=True)

    def _keep(self, result: Result, sha256: str, folder: JobFolder, workspace: Path) -> Findings:
        """Make the result beside the job's folder, and move it in when there is room for it."""
        job, means = self._lease.job, self._means
        made = workspace / "result"
        kept = keep(result, made)
        means.answers.prepare(job.id, kept, workspace)
        size = sum(path.stat().st_size for path in made.iterdir())
        self._insist(partial(self._lease.reserve, folder.size(), size), patient_with=DatabaseUnavailable)
        place = folder.take_result(made, f"result-{job.token}")
        try:
            means.passed("kept")
            order = Order(job.task, job.priority, job.options)
            fingerprint, slices = order.fingerprint(sha256, result.model), result.study.volume.grid.shape[0]
            self._insist(partial(self._lease.succeed, place.name, fingerprint=fingerprint, slices=slices))
        except _OutcomeUnknown:
            # It may be the job's result by now.
            raise
        except BaseException:
            shutil.rmtree(place, ignore_errors=True)
            raise
        means.passed("succeeded")
        return findings_of(kept)

    def _report(self, progress: Progress) -> None:
        """The pipeline's progress; what it raises ends the run."""
        if progress.voxels:
            self._share.settle(MEMORY_PER_VOXEL * progress.voxels)
        self._means.passed(progress.stage)
        if self._means.is_stopping.is_set():
            raise Stopped
        self._note(progress)
        if progress.stage == "infer":
            self._between_batches()

    def _note(self, progress: Progress) -> None:
        """Write down how far the run is, a few times a second."""
        now = time.monotonic()
        if progress.stage == self._stage and now - self._reported < _REPORT_EVERY_S:
            return
        self._stage, self._reported = progress.stage, now
        try:
            self._lease.report(progress.stage, progress.slices_done, progress.slices_total)
        except _PASSING:
            # The work goes on; its end waits for the database.
            return
        self._changed()

    def _insist(
        self, write: Callable[[], _Written], patient_with: type[Exception] | tuple[type[Exception], ...] = _PASSING
    ) -> _Written:
        """Write to the store, and wait for it where it is away: what was computed is not thrown away for that."""
        while True:
            try:
                return write()
            except patient_with:
                if self._means.is_stopping.wait(_DATABASE_PAUSE_S):
                    raise _OutcomeUnknown("The gateway stops while its database is away.") from None
