"""Cancelling, retrying, erasing and expiring: what each may end, and what is left on the disk."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from office import EMERGENCY, Office
from sigap.core.errors import Cancelled, JobStateForbids, UnknownJob
from sigap.jobs.job import ENDED, STATES, Job

UNKNOWN = "0" * 32


def queued(office: Office) -> Job:
    return office.submit()


def running(office: Office) -> Job:
    office.submit()
    return office.claim().job


def succeeded(office: Office) -> Job:
    return office.answer()


def failed(office: Office) -> Job:
    job = office.submit()
    office.claim().fail({"detail": "why"})
    return office.get(job)


def cancelled(office: Office) -> Job:
    return office.store.cancel(office.submit().id)


def dead(office: Office) -> Job:
    return office.bury()


MAKERS: tuple[Callable[[Office], Job], ...] = (queued, running, succeeded, failed, cancelled, dead)


@pytest.mark.parametrize("state", STATES)
def test_every_state_is_made_here(office: Office, state: str):
    assert [make(office).state for make in MAKERS if make.__name__ == state] == [state]


@pytest.mark.parametrize("make", [maker for maker in MAKERS if maker.__name__ not in ENDED])
def test_what_has_not_ended_can_be_cancelled(office: Office, make: Callable[[Office], Job]):
    job = make(office)
    ended = office.store.cancel(job.id)
    assert (ended.state, ended.stage, ended.queue_position, ended.folder) == ("cancelled", None, None, None)
    assert ended.finished_at == office.clock.now
    assert office.folders() == set()
    assert office.used_bytes() == 0
    assert office.leases.claim() is None


@pytest.mark.parametrize("make", [maker for maker in MAKERS if maker.__name__ in ENDED])
def test_what_has_ended_cannot_be_cancelled(office: Office, make: Callable[[Office], Job]):
    job = make(office)
    with pytest.raises(JobStateForbids) as error:
        office.store.cancel(job.id)
    assert error.value.state == job.state
    assert office.get(job) == job


@pytest.mark.parametrize("make", [maker for maker in MAKERS if maker.__name__ not in ENDED])
def test_what_has_not_ended_cannot_be_erased(office: Office, make: Callable[[Office], Job]):
    job = make(office)
    with pytest.raises(JobStateForbids) as error:
        office.store.erase(job.id)
    assert error.value.state == job.state
    assert office.get(job) == job
    assert office.folders() == {job.folder}


@pytest.mark.parametrize("make", [maker for maker in MAKERS if maker.__name__ in ENDED])
def test_what_was_erased_is_unknown_and_its_files_are_gone(office: Office, make: Callable[[Office], Job]):
    job = make(office)
    office.store.erase(job.id)
    for ask in (office.store.get, office.store.cancel, office.store.retry, office.store.erase):
        with pytest.raises(UnknownJob):
            ask(job.id)
    assert office.folders() == set()
    assert office.used_bytes() == 0


def test_an_unknown_id_is_said_so(office: Office):
    for ask in (office.store.get, office.store.cancel, office.store.retry, office.store.erase):
        with pytest.raises(UnknownJob):
            ask(UNKNOWN)


@pytest.mark.parametrize("make", [maker for maker in MAKERS if maker is not dead])
def test_only_a_dead_letter_can_be_retried(office: Office, make: Callable[[Office], Job]):
    job = make(office)
    with pytest.raises(JobStateForbids) as error:
        office.store.retry(job.id)
    assert error.value.state == job.state
    assert office.get(job) == job


def test_a_dead_letter_waits_with_its_problem_and_its_upload(office: Office):
    job = office.bury("the disk made a noise")
    assert (job.state, job.errors, job.problem) == ("dead", 3, {"detail": "the disk made a noise"})
    assert office.leases.claim() is None
    files, _ = office.folder(job).files()
    assert [file.path.read_bytes() for file in files] == [b"a study that fails"]


def test_a_retried_dead_letter_has_a_clean_record_and_its_old_place(office: Office):
    job = office.bury()
    later = office.submit(content=b"later")
    again = office.store.retry(job.id)
    assert (again.state, again.errors, again.crashes, again.problem) == ("queued", 0, 0, None)
    assert again.finished_at is None
    assert again.queue_position == 1
    lease = office.claim()
    assert lease.job.id == job.id
    assert not lease.postpone({"detail": "again"}, is_counted=True)
    assert office.get(later).state == "queued"


def test_a_failed_job_keeps_its_problem_and_not_its_upload(office: Office):
    job = failed(office)
    assert (job.state, job.problem, job.folder) == ("failed", {"detail": "why"}, None)
    assert office.folders() == set()


def test_whoever_runs_a_cancelled_job_finds_out_at_its_next_word(office: Office):
    office.submit()
    lease = office.claim()
    lease.report("infer", 1, 4)
    office.store.cancel(lease.job.id)
    with pytest.raises(Cancelled):
        lease.report("infer", 2, 4)
    assert office.get(lease.job).slices_done == 1


def test_jobs_expire_by_their_end_and_take_their_files_along(office: Office):
    old = [succeeded(office), office.bury()]
    office.clock.now += 3600
    young = office.submit(EMERGENCY, b"another study")
    office.succeed(office.claim())
    waiting = office.submit(content=b"a third")
    office.clock.now += 100
    assert office.store.expire(3600) == 2
    assert {job.id for job in office.store.page()} == {young.id, waiting.id}
    assert office.folders() == {young.folder, waiting.folder}
    for job in old:
        with pytest.raises(UnknownJob):
            office.get(job)
    assert office.store.expire(3600) == 0


def test_what_waits_or_runs_never_expires(office: Office):
    running(office)
    queued(office)
    office.clock.now += 1e9
    assert office.store.expire(1) == 0


def test_a_result_outlives_its_own_job_while_a_later_one_shares_it(office: Office):
    first = succeeded(office)
    office.clock.now += 100
    second = office.submit()
    assert office.store.expire(50) == 1
    assert office.folders() == {first.folder}
    assert office.get(second).result == first.result


def test_a_clock_set_back_lets_nothing_expire_too_early(office: Office):
    job = succeeded(office)
    office.clock.now -= 1e6
    assert office.store.expire(3600) == 0
    assert office.get(job).state == "succeeded"
