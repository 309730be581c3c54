"""The one thread that decodes, runs and encodes studies."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from sigap.core.errors import GeometryRefused, TooLarge
from sigap.core.result import Result
from sigap.core.study import Limits
from sigap.engines.engine import Engine
from sigap.jobs.folder import no_room_means_full
from sigap.jobs.job import Answer, Findings, Job
from sigap.jobs.queue import JobQueue


class Format(Protocol):
    """What the worker needs of an entry of `encoders.formats.FORMATS`."""

    @property
    def media_type(self) -> str: ...

    @property
    def filename(self) -> str: ...

    @property
    def write(self) -> Callable[[Result, Path], None]: ...


class Worker:
    """Takes jobs from the queue, one at a time: two at once would share the same cores and need twice the memory.

    Args:
        queue: where jobs wait.
        engine: runs the models.
        limits: caps on a study's decoded size.
        run: `pipeline.run`.
        formats: what an answer can be encoded as.
        observe: told of every job that has ended, for metrics.
    """

    def __init__(
        self,
        queue: JobQueue,
        *,
        engine: Engine,
        limits: Limits,
        run: Callable[..., Result],
        formats: Mapping[str, Format],
        observe: Callable[[Job], None] = lambda _: None,
    ) -> None:
        self._queue = queue
        self._engine = engine
        self._limits = limits
        self._run = run
        self._formats = formats
        self._observe = observe
        self._thread = threading.Thread(target=self._work, name="sigap-worker", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self, timeout_s: float) -> None:
        """Cancel all jobs and wait for the thread; one batch of the engine may have to end first."""
        self._queue.close()
        self._thread.join(timeout_s)

    def _work(self) -> None:
        while self._do_next():
            pass

    def _do_next(self) -> bool:
        """Run one job; False once the queue is closed.

        A function of its own, so that nothing of a job is held while the next is awaited: a failed one's traceback
        holds its volume.
        """
        with self._queue.next_job() as job:
            if job is None:
                return False
            started = time.monotonic()
            self._answer(job)
            job.folder.remove()
        if job.answer is not None:
            self._queue.took(time.monotonic() - started)
        self._observe(job)
        # Last: whoever waits for the answer finds the files gone and the place free.
        job.end()
        return True

    def _answer(self, job: Job) -> None:
        try:
            job.start()
            with no_room_means_full():
                answer, findings = self._run_and_encode(job)
        except GeometryRefused as error:
            job.fail(error, _refused(error))
        except MemoryError:
            job.fail(TooLarge("The study needs more memory than this server has. Send fewer slices."), Findings())
        except Exception as error:  # noqa: BLE001 - the thread must outlive any job; the error is answered and logged with it
            job.fail(error, Findings())
        else:
            job.succeed(answer, findings)

    def _run_and_encode(self, job: Job) -> tuple[Answer, Findings]:
        result = self._run(
            job.folder.files,
            task=job.request.task,
            engine=self._engine,
            workspace=job.folder.workspace,
            options=job.request.options,
            limits=self._limits,
            sha256=job.folder.sha256,
            progress=job.report,
        )
        job.check()
        started = time.perf_counter()
        encoding = self._formats[job.request.format]
        encoding.write(result, job.folder.result)
        findings = _findings(result, encode_ms=(time.perf_counter() - started) * 1000)
        file = job.folder.result.open("rb")
        size = job.folder.result.stat().st_size
        return Answer(file, size, encoding.media_type, encoding.filename), findings


def _findings(result: Result, *, encode_ms: float) -> Findings:
    geometry = result.study.geometry
    return Findings(
        verdict=geometry.severity.word,
        reasons=tuple(reason.code for reason in geometry.reasons),
        slices=result.study.volume.grid.shape[0],
        has_lesions=bool(result.measurements.lesions),
        timings_ms={**result.timings_ms, "encode": encode_ms},
    )


def _refused(error: GeometryRefused) -> Findings:
    verdict = error.verdict
    return Findings(verdict=verdict.severity.word, reasons=tuple(reason.code for reason in verdict.reasons))
