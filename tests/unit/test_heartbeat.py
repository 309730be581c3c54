"""Who counts as dead, what a gateway clears, and what its heartbeat outlives; over both databases."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from office import Office
from serving import wait_until
from sigap.core.errors import DatabaseUnavailable
from sigap.jobs import heartbeat
from sigap.jobs.heartbeat import SILENCE_S, Heartbeat
from sigap.jobs.leases import Leases

RETENTION_S = 3600.0
# Shorter than a silence, so that it is no gap in one's own looking; two of them are longer.
STEP_S = SILENCE_S * 2 / 3
NOBODYS = "0" * 32


class Watch:
    """Seconds that pass when told."""

    def __init__(self) -> None:
        self.now = 500.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def watch() -> Watch:
    return Watch()


def observer(office: Office, watch: Watch, leases: Leases | None = None) -> Heartbeat:
    """The heartbeat of a gateway, not yet started."""
    leases = leases or office.leases
    return Heartbeat(leases, office.store, office.storage, retention_s=RETENTION_S, monotonic=watch)


class Beating:
    """A gateway whose heartbeat runs in its thread, much faster than in life."""

    def __init__(self, office: Office, watch: Watch) -> None:
        self.leases = Leases(office.storage)
        self._office = office
        self._heartbeat = observer(office, watch, self.leases)

    @contextmanager
    def started(self) -> Iterator[None]:
        self._heartbeat.start()
        try:
            yield
        finally:
            self._heartbeat.stop()

    def wait_for_a_round(self) -> None:
        """Return after a round that began after this call: it lies between the next two beats."""
        until = time.monotonic() + 30
        goal = self._beat() + 2
        while self._beat() < goal:
            assert time.monotonic() < until, "the heartbeat has stopped"
            time.sleep(0.005)

    def give_back(self, job_id: str) -> None:
        self._heartbeat.abandon(job_id)

    def _beat(self) -> int:
        return self._office.leases.beats()[self.leases.gateway]


@pytest.fixture
def beating(office: Office, watch: Watch, monkeypatch: pytest.MonkeyPatch) -> Iterator[Beating]:
    monkeypatch.setattr(heartbeat, "BEAT_S", 0.005)
    gateway = Beating(office, watch)
    with gateway.started():
        yield gateway


def lives(gateway: Office, witness: Office) -> bool:
    return gateway.leases.gateway in witness.leases.beats()


def test_who_is_silent_for_long_enough_is_taken_over(office: Office, watch: Watch):
    silent = office.beside()
    job = office.submit()
    silent.claim()
    mine = observer(office, watch)
    mine.look_around()
    watch.now += STEP_S
    mine.look_around()
    watch.now += SILENCE_S - STEP_S - 0.001
    mine.look_around()
    assert lives(silent, office)
    assert office.get(job).state == "running"
    watch.now += 0.001
    mine.look_around()
    assert not lives(silent, office)
    assert (office.get(job).state, office.get(job).crashes) == ("queued", 1)


def test_who_beats_is_left_alone_however_long_it_lasts(office: Office, watch: Watch):
    alive = office.beside()
    mine = observer(office, watch)
    for _ in range(9):
        office.leases.beat()
        alive.leases.beat()
        mine.look_around()
        watch.now += STEP_S
    assert lives(alive, office)


def test_the_silence_is_counted_from_the_last_beat(office: Office, watch: Watch):
    late = office.beside()
    mine = observer(office, watch)
    mine.look_around()
    watch.now += STEP_S
    late.leases.beat()
    for expected in (True, True, False):
        office.leases.beat()
        mine.look_around()
        assert lives(late, office) is expected
        watch.now += STEP_S


def test_the_clock_on_the_wall_decides_nothing(office: Office, watch: Watch):
    other = office.beside()
    mine = observer(office, watch)
    for leap in (1e6, -2e6):
        mine.look_around()
        office.clock.now += leap
    mine.look_around()
    assert lives(other, office)


def test_who_was_frozen_itself_holds_no_silence_against_others(office: Office, watch: Watch):
    other = office.beside()
    mine = observer(office, watch)
    mine.look_around()
    watch.now += 100 * SILENCE_S
    mine.look_around()
    assert lives(other, office)
    for expected in (True, False):
        watch.now += STEP_S
        office.leases.beat()
        mine.look_around()
        assert lives(other, office) is expected


def test_a_read_that_failed_begins_the_count_anew(
    office: Office, watch: Watch, beating: Beating, monkeypatch: pytest.MonkeyPatch
):
    silent = office.beside()
    beating.wait_for_a_round()

    def away() -> dict[str, int]:
        raise DatabaseUnavailable("away")

    with monkeypatch.context() as patch:
        patch.setattr(beating.leases, "beats", away)
        watch.now += STEP_S
        beating.wait_for_a_round()
    beating.wait_for_a_round()
    for expected in (True, False):
        watch.now += STEP_S
        beating.wait_for_a_round()
        assert lives(silent, office) is expected


def test_a_hiccup_of_the_volume_does_not_end_the_clearing(
    office: Office, watch: Watch, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(heartbeat, "_CLEAR_S", 0.005)
    jobs, rounds = office.storage.data.path / "jobs", []
    monkeypatch.setattr(office.store, "expire", rounds.append)
    with Beating(office, watch).started():
        away = jobs.rename(jobs.with_name("away"))
        seen = len(rounds)
        wait_until(lambda: len(rounds) > seen + 2)
        away.rename(jobs)
        (jobs / NOBODYS).mkdir()
        wait_until(lambda: not (jobs / NOBODYS).exists())


def test_what_is_kept_for_long_enough_is_cleared(office: Office, watch: Watch):
    job = office.answer()
    gateway = observer(office, watch)
    office.clock.now += RETENTION_S - 1
    gateway.clear()
    assert office.folders() == {job.folder}
    office.clock.now += 2
    gateway.clear()
    assert office.store.page() == []
    assert office.folders() == set()


def test_a_gateway_that_clears_for_long_goes_on_beating(office: Office, watch: Watch, monkeypatch: pytest.MonkeyPatch):
    is_clearing, may_end = threading.Event(), threading.Event()

    def slow(_: float) -> int:
        is_clearing.set()
        may_end.wait(30)
        return 0

    monkeypatch.setattr(heartbeat, "BEAT_S", 0.005)
    monkeypatch.setattr(office.store, "expire", slow)
    gateway = Beating(office, watch)
    with gateway.started():
        assert is_clearing.wait(30)
        gateway.wait_for_a_round()
        may_end.set()


def test_an_entry_that_could_not_be_given_back_is_given_back_later(office: Office, beating: Beating):
    job_id = office.beside().enter()
    beating.give_back(job_id)
    wait_until(lambda: job_id not in office.store.folders())


def test_a_start_clears_too(office: Office, watch: Watch):
    office.answer()
    (office.storage.data.path / "jobs" / NOBODYS).mkdir()
    office.clock.now += RETENTION_S + 1
    gateway = Beating(office, watch)
    with gateway.started():
        wait_until(lambda: not office.store.page())
        wait_until(lambda: not (office.storage.data.path / "jobs" / NOBODYS).exists())


def test_a_start_finds_all_others_dead_where_no_other_can_live(office: Office, watch: Watch):
    job = office.submit()
    office.claim()
    others = [office, office.beside()]
    gateway = Beating(office, watch)
    with gateway.started():
        there = set(gateway.leases.beats())
        shown = office.get(job)
    if office.storage.database.is_shared:
        assert there == {other.leases.gateway for other in others}
        assert shown.state == "running"
    else:
        assert there == set()
        assert (shown.state, shown.crashes) == ("queued", 1)


def test_a_stop_leaves_in_order(office: Office, watch: Watch):
    gateway = Beating(office, watch)
    job = office.submit()
    with gateway.started():
        assert gateway.leases.claim() is not None
    assert gateway.leases.gateway not in office.leases.beats()
    assert (office.get(job).state, office.get(job).crashes) == ("queued", 0)


def test_a_stop_does_not_need_the_database(office: Office, watch: Watch, monkeypatch: pytest.MonkeyPatch):
    gateway = Beating(office, watch)

    def away() -> None:
        raise DatabaseUnavailable("away")

    monkeypatch.setattr(gateway.leases, "leave", away)
    with gateway.started():
        pass
    assert gateway.leases.gateway in office.leases.beats()  # until it has been silent for long enough
