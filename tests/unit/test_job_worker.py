"""The thread that runs jobs: who interrupts whom, and what becomes of a job whose run does not succeed."""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from queue import Queue
from typing import Any

import pytest

from fakes import FakeEngine
from office import BATCH, EMERGENCY, MODEL, ROUTINE, Office, opened_office
from phantoms.results import result_of, small_labelmap
from serving import wait_until
from sigap.core.errors import DatabaseUnavailable, EngineUnavailable, NeverRoom, TooLarge, UnreadableInput
from sigap.core.result import Result
from sigap.core.study import InputFile, Limits
from sigap.jobs.answers import Answers
from sigap.jobs.changes import Changes
from sigap.jobs.ended import Ended
from sigap.jobs.job import Job, Order
from sigap.jobs.lease import Lease
from sigap.jobs.leases import MOST_CRASHES
from sigap.jobs.memory import MEMORY_PER_VOXEL, Memory, Share
from sigap.jobs.run import Means
from sigap.jobs.worker import Worker
from sigap.pipeline import Progress

PATIENCE_S = 10
SLICES = 4
VOXELS = 120
# Room for three such volumes.
CAPACITY_BYTES = 3 * MEMORY_PER_VOXEL * VOXELS

Step = Callable[[], object]


class Studies:
    """A pipeline whose studies are their names; what happens on the way is told beforehand.

    Attributes:
        decoding: by name, called with the limits while the volume is decoded; may raise.
        after: by name and slices done, called before that progress is reported; may raise.
        endless: names of those that report progress until something ends them.
        diary: name and slices done, in the order in which they came.
        held: volumes in memory; and the most at once.
    """

    def __init__(self) -> None:
        self.decoding: dict[str, Callable[[Limits], object]] = {}
        self.after: dict[tuple[str, int], Step] = {}
        self.endless: set[str] = set()
        self.diary: list[tuple[str, int]] = []
        self.held = 0
        self.most_held = 0

    def __call__(
        self,
        files: Sequence[InputFile],
        *,
        workspace: Path,
        limits: Limits,
        progress: Callable[[Progress], None],
        **_: Any,
    ) -> Result:
        name = files[0].path.read_text()
        (workspace / "unpacked").write_bytes(b"a voxel")
        progress(Progress("decode", 0, 0))
        self.decoding.get(name, lambda _: None)(limits)
        self.held += 1
        self.most_held = max(self.held, self.most_held)
        try:
            self._infer(name, progress)
        finally:
            self.held -= 1
        return replace(result_of(small_labelmap()), model=MODEL)

    def _infer(self, name: str, progress: Callable[[Progress], None]) -> None:
        for done in range(SLICES + 1):
            self.diary.append((name, done))
            self.after.pop((name, done), lambda: None)()
            progress(Progress("infer", done, SLICES, VOXELS))
        while name in self.endless:
            time.sleep(0.01)
            progress(Progress("infer", SLICES, SLICES, VOXELS))
        progress(Progress("measure", SLICES, SLICES, VOXELS))

    def lines(self, name: str) -> list[int]:
        return [done for seen, done in self.diary if seen == name]


class Engine(FakeEngine):
    """Tells when it was asked whether it is ready."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = threading.Event()

    def is_ready(self, task: str | None = None) -> bool:
        self.asked.set()
        return super().is_ready(task)


class Desk:
    """An office with a worker.

    Attributes:
        at: by named point of a job's way, called once when it is next passed.
    """

    def __init__(self, office: Office) -> None:
        self.office = office
        self.studies = Studies()
        self.engine = Engine()
        self.at: dict[str, Step] = {}
        self._ended: Queue[Ended] = Queue()
        memory = Memory(CAPACITY_BYTES)
        data = office.storage.data
        answers = Answers(data, formats={}.__getitem__, memory=memory, limits=_limits, workspace=self._workspace)
        means = Means(
            engine=self.engine,
            data=data,
            run=self.studies,
            answers=answers,
            limits=_limits,
            workspace=self._workspace,
            passed=lambda point: self.at.pop(point, lambda: None)(),
            is_stopping=threading.Event(),
        )
        self.worker = Worker(office.leases, means, memory=memory, changes=Changes(), observe=self._ended.put)

    def send(self, name: str, order: Order = ROUTINE) -> Job:
        """Post a study and wake the worker, as a gateway does."""
        job = self.office.submit(order, name.encode())
        self.worker.wake()
        return job

    def ended(self, count: int) -> list[tuple[str, str]]:
        """Priority and outcome of the next runs that end."""
        return [(ended.job.priority, ended.outcome) for ended in self.runs(count)]

    def runs(self, count: int) -> list[Ended]:
        return [self._ended.get(timeout=PATIENCE_S) for _ in range(count)]

    def let_pass(self, seconds: float) -> None:
        self.office.clock.now += seconds
        self.worker.wake()

    def look_again(self) -> None:
        """Have an idle worker look for a job, and wait until it has."""
        # The second question comes after all that followed from the first.
        for _ in range(2):
            self.engine.asked.clear()
            self.worker.wake()
            assert self.engine.asked.wait(PATIENCE_S)

    def workspaces(self) -> list[Path]:
        """What runs have left of their workspaces."""
        return list((self.office.storage.data.path / "work").glob("*/*"))

    def _workspace(self) -> Path:
        return self.office.storage.data.workspace(self.office.leases.gateway)


def _limits(share: Share) -> Limits:
    return Limits(volume_bytes=share.bytes)


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    """A worker that has started; it stops at the end."""
    # The office's own quota has no room for three results.
    monkeypatch.setattr("office.QUOTA_BYTES", 1 << 20)
    with opened_office(tmp_path / "data") as office:
        desk = Desk(office)
        desk.worker.start()
        yield desk
        desk.worker.stop(PATIENCE_S)


def is_clean(job: Job) -> bool:
    """Whether nothing that happened to it stands against it."""
    return (job.errors, job.crashes, job.problem) == (0, 0, None)


def test_an_emergency_is_finished_between_the_batches_of_what_runs(desk: Desk):
    sent: list[Job] = []
    desk.studies.after["batch", 2] = lambda: sent.append(desk.send("emergency", EMERGENCY))
    batch = desk.send("batch", BATCH)
    assert desk.ended(2) == [("emergency", "succeeded"), ("batch", "succeeded")]
    whole = list(range(SLICES + 1))
    assert desk.studies.diary == [
        *(("batch", done) for done in whole[:3]),
        *(("emergency", done) for done in whole),
        *(("batch", done) for done in whole[3:]),
    ]
    assert [desk.office.get(job).state for job in (batch, *sent)] == ["succeeded", "succeeded"]
    assert desk.studies.most_held == 2
    assert desk.workspaces() == []


def test_an_equal_does_not_interrupt(desk: Desk):
    desk.studies.after["first", 1] = lambda: desk.send("second", ROUTINE)
    desk.studies.after["first", 2] = lambda: desk.send("third", BATCH)
    desk.send("first")
    assert desk.ended(3) == [("routine", "succeeded"), ("routine", "succeeded"), ("batch", "succeeded")]
    names = [name for name, _ in desk.studies.diary]
    assert names == sorted(names, key=["first", "second", "third"].index)
    assert desk.studies.most_held == 1


def test_with_one_volume_waiting_the_next_gives_way_to_an_emergency(desk: Desk):
    desk.studies.after["batch", 1] = lambda: desk.send("routine", ROUTINE)
    given_back: list[Job] = []

    def look() -> None:
        given_back.extend(job for job in desk.office.store.page() if job.priority == "routine")

    desk.studies.after["routine", 1] = lambda: desk.send("emergency", EMERGENCY)
    desk.studies.after["emergency", 0] = look
    batch = desk.send("batch", BATCH)
    runs = desk.runs(4)
    assert [(ended.job.priority, ended.outcome) for ended in runs] == [
        ("routine", "released"),
        ("emergency", "succeeded"),
        ("routine", "succeeded"),
        ("batch", "succeeded"),
    ]
    assert [(job.state, job.slices_done, is_clean(job)) for job in given_back] == [("queued", 0, True)]
    assert desk.studies.lines("routine") == [0, 1, 0, 1, 2, 3, 4]
    assert desk.studies.lines("batch") == [0, 1, 2, 3, 4]
    assert desk.studies.most_held == 2
    ended = [desk.office.get(run.job) for run in runs]
    assert all(job.state == "succeeded" and is_clean(job) for job in ended)
    assert desk.office.get(batch).attempts == 1


def test_the_third_error_that_may_pass_makes_a_dead_letter(desk: Desk):
    def fail(_: Limits) -> None:
        raise OSError(5, "the disk makes a noise", "/data/jobs")

    desk.studies.decoding["routine"] = fail
    job = desk.send("routine")
    assert desk.ended(1) == [("routine", "postponed")]
    assert (desk.office.get(job).state, desk.office.get(job).errors) == ("queued", 1)
    desk.let_pass(1)
    assert desk.ended(1) == [("routine", "postponed")]
    desk.let_pass(2)
    assert desk.ended(1) == [("routine", "dead")]
    letter = desk.office.get(job)
    assert (letter.state, letter.errors, letter.crashes) == ("dead", 3, 0)
    assert letter.problem is not None
    assert letter.problem["status"] == 500
    assert "noise" not in str(letter.problem)
    assert desk.workspaces() == []


def test_an_engine_that_is_away_is_waited_for_without_counting(desk: Desk):
    def be_away(_: Limits) -> None:
        raise EngineUnavailable("The engine is away.")

    desk.studies.decoding["routine"] = be_away
    job = desk.send("routine")
    for pause_s in (1, 2, 4, 8):
        assert desk.ended(1) == [("routine", "postponed")]
        assert (desk.office.get(job).state, is_clean(desk.office.get(job))) == ("queued", True)
        desk.let_pass(pause_s)
    assert desk.ended(1) == [("routine", "postponed")]
    del desk.studies.decoding["routine"]
    desk.let_pass(16)
    assert desk.ended(1) == [("routine", "succeeded")]
    assert desk.office.get(job).attempts == 6


def test_nothing_is_claimed_before_the_engine_is_ready(desk: Desk):
    desk.engine.ready = False
    desk.look_again()
    job = desk.send("routine")
    desk.look_again()
    assert (desk.office.get(job).state, desk.office.get(job).attempts) == ("queued", 0)
    desk.engine.ready = True
    desk.worker.wake()
    assert desk.ended(1) == [("routine", "succeeded")]


def test_bad_input_fails_at_once_and_leaves_no_file(desk: Desk):
    def refuse(_: Limits) -> None:
        raise UnreadableInput("The file is cut.")

    desk.studies.decoding["broken"] = refuse
    broken, sound = desk.send("broken"), desk.send("sound")
    assert desk.ended(2) == [("routine", "failed"), ("routine", "succeeded")]
    ended = desk.office.get(broken)
    assert (ended.state, ended.attempts, ended.errors, ended.folder) == ("failed", 1, 0, None)
    assert ended.problem is not None
    assert (ended.problem["type"], ended.problem["detail"]) == ("urn:sigap:problem:unreadable", "The file is cut.")
    assert desk.office.folders() == {sound.folder}


def test_stopping_puts_back_what_runs(desk: Desk):
    is_running = threading.Event()
    desk.studies.endless = {"routine"}
    desk.studies.after["routine", 1] = is_running.set
    job = desk.send("routine")
    assert is_running.wait(PATIENCE_S)
    desk.worker.stop(PATIENCE_S)
    assert desk.ended(1) == [("routine", "released")]
    waiting = desk.office.get(job)
    assert (waiting.state, waiting.stage, waiting.queue_position, is_clean(waiting)) == ("queued", None, 1, True)
    files, _ = desk.office.folder(waiting).files()
    assert [file.path.read_bytes() for file in files] == [b"routine"]
    assert desk.workspaces() == []
    assert desk.office.claim().job.id == job.id


def test_stopping_puts_back_what_is_paused_too(desk: Desk):
    is_running = threading.Event()
    desk.studies.endless = {"emergency"}
    desk.studies.after["batch", 1] = lambda: desk.send("emergency", EMERGENCY)
    desk.studies.after["emergency", 1] = is_running.set
    desk.send("batch", BATCH)
    assert is_running.wait(PATIENCE_S)
    desk.worker.stop(PATIENCE_S)
    assert sorted(desk.ended(2)) == [("batch", "released"), ("emergency", "released")]
    assert [(job.state, is_clean(job)) for job in desk.office.store.page()] == [("queued", True)] * 2


def test_what_is_too_large_beside_a_paused_volume_gets_all_the_memory(desk: Desk):
    seen: list[int] = []

    def need_all(limits: Limits) -> None:
        seen.append(limits.volume_bytes)
        if limits.volume_bytes < CAPACITY_BYTES:
            raise TooLarge("The study needs more memory than there is.")

    desk.studies.decoding["emergency"] = need_all
    desk.studies.after["batch", 1] = lambda: desk.send("emergency", EMERGENCY)
    desk.send("batch", BATCH)
    assert desk.ended(4) == [
        ("emergency", "released"),
        ("batch", "released"),
        ("emergency", "succeeded"),
        ("batch", "succeeded"),
    ]
    assert seen == [CAPACITY_BYTES - MEMORY_PER_VOXEL * VOXELS, CAPACITY_BYTES]
    assert desk.studies.most_held == 1
    assert all(job.state == "succeeded" and is_clean(job) for job in desk.office.store.page())


@pytest.mark.parametrize("error", [TooLarge("The study is too large."), MemoryError()], ids=["TooLarge", "MemoryError"])
def test_what_is_too_large_with_all_the_memory_fails(desk: Desk, error: Exception):
    def grow(_: Limits) -> None:
        raise error

    desk.studies.decoding["routine"] = grow
    job = desk.send("routine")
    assert desk.ended(1) == [("routine", "failed")]
    problem = desk.office.get(job).problem
    assert problem is not None
    assert (problem["type"], problem["status"]) == ("urn:sigap:problem:too-large", 413)


@pytest.mark.parametrize("point", ["claimed", "decode", "infer", "kept"])
def test_cancelling_ends_a_run_and_leaves_no_file(desk: Desk, point: str):
    if point == "infer":
        # Nothing but the cancelling ends it.
        desk.studies.endless = {"routine"}
    desk.at[point] = lambda: [desk.office.store.cancel(job.id) for job in desk.office.store.page()]
    job = desk.send("routine")
    assert desk.ended(1) == [("routine", "cancelled")]
    assert desk.office.get(job).state == "cancelled"
    assert desk.office.folders() == set()
    assert desk.office.used_bytes() == 0
    assert desk.workspaces() == []
    desk.send("another")
    assert desk.ended(1) == [("routine", "succeeded")]


def test_an_equal_job_is_answered_without_a_run(desk: Desk):
    desk.studies.after["routine", 1] = lambda: desk.send("routine", BATCH)
    desk.send("routine")
    assert desk.ended(2) == [("routine", "succeeded"), ("batch", "reused")]
    assert desk.studies.lines("routine") == [0, 1, 2, 3, 4]


def test_memory_that_runs_out_in_mid_run_fails_the_job(desk: Desk):
    def grow() -> None:
        raise MemoryError

    desk.studies.after["routine", 1] = grow
    job = desk.send("routine")
    assert desk.ended(1) == [("routine", "failed")]
    problem = desk.office.get(job).problem
    assert problem is not None
    assert problem["status"] == 413


def test_a_full_disk_is_waited_for_and_not_counted(desk: Desk):
    def fill() -> None:
        raise OSError(errno.ENOSPC, "no room")

    desk.studies.after["routine", 1] = fill
    job = desk.send("routine")
    assert desk.ended(1) == [("routine", "postponed")]
    assert desk.office.get(job).errors == 0


def lose_the_answer(monkeypatch: pytest.MonkeyPatch, office: Office, times: int) -> None:
    """The database makes the next commits of claims, and is away before it has said so."""
    claim, left = office.leases.claim, [times]

    def lost(**more: Any) -> Lease | None:
        lease = claim(**more)
        if lease is not None and left[0]:
            left[0] -= 1
            raise DatabaseUnavailable("away")
        return lease

    monkeypatch.setattr(office.leases, "claim", lost)


def test_a_claim_whose_answer_was_lost_is_given_back_and_run(desk: Desk, monkeypatch: pytest.MonkeyPatch):
    lose_the_answer(monkeypatch, desk.office, 1)
    job = desk.send("routine")
    assert desk.ended(1) == [("routine", "succeeded")]
    assert desk.office.get(job).attempts == 2


def test_a_run_that_breaks_off_is_given_back_and_dies_of_it_in_the_end(desk: Desk, monkeypatch: pytest.MonkeyPatch):
    """What cannot even be written down, a worker must not meet for ever, nor lose."""

    def fault(*_: object, **__: object) -> None:
        raise TypeError("not of JSON")

    monkeypatch.setattr(Lease, "postpone", fault)
    desk.studies.decoding["routine"] = fault
    job = desk.send("routine")
    wait_until(lambda: desk.office.get(job).state == "dead")
    assert desk.office.get(job).attempts == MOST_CRASHES
    desk.send("another")
    assert desk.ended(1) == [("routine", "succeeded")]


def test_a_study_larger_than_all_the_room_fails_with_507(desk: Desk, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Lease, "reserve", lambda *_: (_ for _ in ()).throw(NeverRoom()))
    job = desk.send("routine")
    assert desk.ended(1) == [("routine", "failed")]
    problem = desk.office.get(job).problem
    assert problem is not None
    assert problem["status"] == 507
