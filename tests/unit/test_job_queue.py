"""The queue and its worker: bounded, in order, and clean after every outcome."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from collections.abc import Iterator
from pathlib import Path

import pytest

from fakes import FakeEngine, FakePipeline
from serving import wait_until
from sigap.core.errors import (
    DeadlineExceeded,
    EngineUnavailable,
    GeometryRefused,
    QueueFull,
    StorageFull,
    TooLarge,
)
from sigap.core.study import Limits
from sigap.core.verdict import GeometryVerdict, Reason, Severity
from sigap.encoders.formats import FORMATS
from sigap.jobs.folder import JobFolders
from sigap.jobs.job import Job, Request
from sigap.jobs.queue import JobQueue
from sigap.jobs.worker import Worker
from sigap.pipeline import RunOptions


class Office:
    """A queue, a worker and a data folder, with a fake pipeline."""

    def __init__(self, data: Path, *, length: int = 2) -> None:
        self.pipeline = FakePipeline()
        self.queue = JobQueue(length)
        self.folders = JobFolders(data, quota_bytes=1 << 20)
        self.ended: list[Job] = []
        self.submitted: list[Job] = []
        self.jobs = data / "jobs"
        self.worker = Worker(
            self.queue,
            engine=FakeEngine(),
            limits=Limits(),
            run=self.pipeline,
            formats=FORMATS,
            observe=self.ended.append,
        )

    def submit(self, name: str = "study", *, priority: str = "routine", timeout_s: float = 60) -> Job:
        place = self.queue.enter()
        folder = self.folders.create()
        file = folder.receive(name)
        file.write(name.encode())
        file.complete()
        request = Request("toy", "json", priority, RunOptions(), time.monotonic() + timeout_s)
        done = threading.Event()
        job = Job(request, folder, done.set)
        job.done = done  # type: ignore[attr-defined]  # the test's own handle
        self.queue.put(job, place)
        self.submitted.append(job)
        return job

    def close(self) -> None:
        self.worker.stop(10)
        for job in self.submitted:
            job.cancel()  # closes the answer's file


def wait(job: Job) -> None:
    assert job.done.wait(10), "the job did not end"  # type: ignore[attr-defined]


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    office = Office(tmp_path / "data")
    with office.folders:
        office.worker.start()
        yield office
        office.close()


def test_an_answer_outlives_its_folder_and_nothing_else_does(office: Office) -> None:
    job = office.submit()
    wait(job)
    assert job.state == "succeeded"
    assert job.answer is not None
    assert list(office.jobs.iterdir()) == []
    assert office.queue.taken == 0
    with job.answer.file as file:
        assert len(file.read()) == job.answer.size > 0


def test_the_pipeline_is_told_what_was_asked_for(office: Office) -> None:
    job = office.submit("a study")
    wait(job)
    seen = office.pipeline.seen[0]
    assert seen["files"] == {"a study": b"a study"}
    assert seen["task"] == "toy"
    assert seen["limits"] == Limits()
    assert seen["sha256"] == job.folder.sha256
    assert job.findings.timings_ms.keys() >= {"decode", "infer", "postprocess", "measure", "encode"}


def test_more_than_fits_is_refused_at_once_and_a_place_that_is_left_is_free(office: Office) -> None:
    office.pipeline.gate.clear()
    jobs = [office.submit() for _ in range(3)]
    with pytest.raises(QueueFull) as refused:
        office.queue.enter()
    assert refused.value.retry_after_s >= 1
    office.pipeline.gate.set()
    for job in jobs:
        wait(job)
    place = office.queue.enter()
    assert office.queue.taken == 1
    place.leave()
    place.leave()
    assert office.queue.taken == 0


def test_who_cannot_wait_comes_first_then_who_came_first(tmp_path: Path) -> None:
    office = Office(tmp_path / "data", length=9)
    names = ["b1", "r1", "e1", "r2", "e2", "b2"]
    ranks = {"b": "batch", "r": "routine", "e": "emergency"}
    with office.folders:
        jobs = [office.submit(name, priority=ranks[name[0]]) for name in names]
        office.worker.start()
        for job in jobs:
            wait(job)
        office.close()
    assert [next(iter(seen["files"])) for seen in office.pipeline.seen] == ["e1", "e2", "r1", "r2", "b1", "b2"]


def test_a_waiting_job_that_nobody_wants_is_gone_at_once(office: Office) -> None:
    office.pipeline.gate.clear()
    running, waiting = office.submit("running"), office.submit("waiting")
    assert office.pipeline.started.wait(10)
    office.queue.cancel(waiting)
    assert waiting.state == "cancelled"
    assert [path.name for path in office.jobs.iterdir()] == [running.id]
    assert office.queue.taken == 1
    office.pipeline.gate.set()
    wait(running)
    assert len(office.pipeline.seen) == 1


def test_a_running_job_that_nobody_wants_stops_at_its_next_step(office: Office) -> None:
    office.pipeline.gate.clear()
    job = office.submit()
    assert office.pipeline.started.wait(10)
    office.queue.cancel(job)
    wait(job)
    assert (job.state, job.answer, office.queue.taken) == ("cancelled", None, 0)
    assert list(office.jobs.iterdir()) == []


def test_an_answer_that_nobody_wants_any_more_is_closed(office: Office) -> None:
    job = office.submit()
    wait(job)
    assert job.answer is not None
    office.queue.cancel(job)
    assert job.answer.file.closed


def test_the_deadline_stops_a_running_job(office: Office) -> None:
    office.pipeline.gate.clear()
    job = office.submit(timeout_s=0.05)
    wait(job)
    assert isinstance(job.error, DeadlineExceeded)
    assert list(office.jobs.iterdir()) == []


REFUSAL = GeometryRefused(GeometryVerdict((Reason("mixed_size", Severity.REFUSED, "Two sizes."),)))


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (REFUSAL, GeometryRefused),
        (EngineUnavailable("away"), EngineUnavailable),
        (MemoryError(), TooLarge),
        (OSError(28, "No space left on device"), StorageFull),
        (KeyError("a fault of ours"), KeyError),
    ],
)
def test_after_any_error_the_worker_goes_on_with_a_clean_folder(
    office: Office, raised: Exception, expected: type[Exception]
) -> None:
    office.pipeline.error = raised
    job = office.submit()
    wait(job)
    assert isinstance(job.error, expected)
    assert job.state == "failed"
    assert list(office.jobs.iterdir()) == []
    office.pipeline.error = None
    after = office.submit()
    wait(after)
    assert after.state == "succeeded"
    assert [ended.state for ended in office.ended] == ["failed", "succeeded"]


def test_a_refusal_is_counted_with_its_reasons(office: Office) -> None:
    office.pipeline.error = REFUSAL
    job = office.submit()
    wait(job)
    assert (job.findings.verdict, job.findings.reasons, job.findings.has_lesions) == ("refused", ("mixed_size",), None)


def test_stopping_cancels_what_runs_and_what_waits(office: Office) -> None:
    office.pipeline.gate.clear()
    jobs = [office.submit() for _ in range(3)]
    assert office.pipeline.started.wait(10)
    office.worker.stop(10)
    wait_until(lambda: all(job.state == "cancelled" for job in jobs))
    assert list(office.jobs.iterdir()) == []
    with pytest.raises(QueueFull):
        office.queue.enter()


def test_the_wait_that_is_advised_follows_the_jobs_measured() -> None:
    queue = JobQueue(1)
    for _ in range(50):
        queue.took(3.2)
    assert queue.retry_after_s == 4
    for _ in range(50):
        queue.took(0.01)
    assert queue.retry_after_s == 1


def test_nothing_of_a_failed_study_is_held_while_the_next_is_awaited(office: Office) -> None:
    class Volume:
        """Stands for two gigabytes."""

    def run(*_: object, **__: object) -> None:
        volume = Volume()
        held.append(weakref.ref(volume))
        raise ValueError(str(volume))

    held: list[weakref.ref[Volume]] = []
    office.worker._run = run  # type: ignore[assignment]  # it never answers
    wait(office.submit())
    office.submitted.clear()
    office.ended.clear()
    gc.collect()
    wait_until(lambda: held[0]() is None)
