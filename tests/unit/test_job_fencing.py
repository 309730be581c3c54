"""A gateway that lost a job and comes back can overwrite nothing; a dead one's work goes on elsewhere."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from office import EMERGENCY, MODEL, QUOTA_BYTES, Office
from sigap.core.errors import Cancelled, DatabaseUnavailable, UnknownJob
from sigap.jobs.lease import Lease
from sigap.jobs.leases import MOST_CRASHES

WRITES: dict[str, Callable[[Lease], object]] = {
    "report": lambda lease: lease.report("infer", 3, 4),
    "reserve": lambda lease: lease.reserve(4, 5),
    "succeed": lambda lease: lease.succeed("result-x", fingerprint="f" * 64, slices=9),
    "fail": lambda lease: lease.fail({"detail": "old"}),
    "postpone": lambda lease: lease.postpone({"detail": "old"}, is_counted=False),
    "bury": lambda lease: [lease.postpone({"detail": "old"}, is_counted=True) for _ in range(3)],
    "release": lambda lease: lease.release(),
}


def take_over(dead: Office, heir: Office) -> bool:
    gateway = dead.leases.gateway
    return heir.leases.take_over(gateway, heir.leases.beats()[gateway])


def taken_over(office: Office, _: Lease) -> None:
    take_over(office, office.beside())


def claimed_by_another(office: Office, lease: Lease) -> None:
    heir = office.beside()
    take_over(office, heir)
    assert heir.claim().job.id == lease.job.id


def claimed_again_here(office: Office, lease: Lease) -> None:
    lease.release()
    assert office.claim().job.id == lease.job.id


@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize(
    "lose",
    [
        taken_over,
        claimed_by_another,
        claimed_again_here,
        lambda office, lease: office.store.cancel(lease.job.id),
        lambda office, lease: office.succeed(lease),
    ],
    ids=["taken over", "claimed by another", "claimed again here", "cancelled", "succeeded"],
)
def test_who_has_lost_a_job_can_change_nothing(office: Office, write: str, lose: Callable[[Office, Lease], object]):
    job = office.submit()
    lease = office.claim()
    lease.report("infer", 1, 4)
    lose(office, lease)
    shown, used, folders = office.get(job), office.used_bytes(), office.folders()
    with pytest.raises(Cancelled):
        WRITES[write](lease)
    assert office.get(job) == shown
    assert (office.used_bytes(), office.folders()) == (used, folders)


def test_who_has_lost_a_job_cannot_answer_it_by_another_either(office: Office):
    office.submit()
    second = office.submit()
    first_lease, second_lease = office.claim(), office.claim()
    office.succeed(first_lease)
    second_lease.release()
    with pytest.raises(Cancelled):
        second_lease.answer_by_twin()
    assert office.get(second).state == "queued"
    assert second.folder in office.folders()


def test_a_success_said_again_because_the_answer_was_lost_is_one_success(office: Office):
    job = office.submit()
    lease = office.claim()
    result = bytes(QUOTA_BYTES // 2 + 1)  # twice would be over the quota
    office.succeed(lease, result)
    done, used = office.get(job), office.used_bytes()
    lease.succeed(f"result-{lease.job.token}", fingerprint=job.fingerprint or "", slices=4)
    assert office.get(job) == done
    assert office.used_bytes() == used


def test_a_dead_gateways_jobs_wait_again_and_nothing_else_of_it_is_left(office: Office):
    job, receiving = office.submit(), office.enter(EMERGENCY, size=70)
    office.upload(receiving, b"a part of it")
    office.claim().report("infer", 2, 4)
    workspace = office.storage.data.workspace(office.leases.gateway)
    heir = office.beside()
    assert take_over(office, heir)
    back = office.get(job)
    assert (back.state, back.stage, back.slices_done, back.crashes) == ("queued", None, 0, 1)
    assert office.folders() == {job.folder}
    assert not workspace.exists()
    assert not workspace.parent.exists()
    assert heir.leases.beats() == {}
    with pytest.raises(DatabaseUnavailable):
        office.store.accept(receiving, EMERGENCY, "f" * 64, MODEL)
    with pytest.raises(UnknownJob):
        office.store.get(receiving)


def test_a_gateway_that_spoke_meanwhile_is_left_alone(office: Office):
    job = office.submit()
    lease = office.claim()
    heir = office.beside()
    heard = heir.leases.beats()[office.leases.gateway]
    office.leases.beat()
    assert not heir.leases.take_over(office.leases.gateway, heard)
    assert office.get(job).state == "running"
    lease.report("infer", 1, 4)


def test_only_one_takes_over(office: Office):
    one, other = office.beside(), office.beside()
    heard = one.leases.beats()[office.leases.gateway]
    assert one.leases.take_over(office.leases.gateway, heard)
    assert not other.leases.take_over(office.leases.gateway, heard)


def test_who_was_taken_for_dead_joins_again_under_another_name(office: Office):
    before = office.leases.gateway
    heir = office.beside()
    take_over(office, heir)
    heir.submit()
    with pytest.raises(DatabaseUnavailable):
        office.leases.claim()
    office.leases.beat()
    assert office.leases.gateway != before
    assert heir.leases.beats() == {office.leases.gateway: 0}
    office.claim()


def test_every_beat_can_be_told_from_the_one_before(office: Office):
    other = office.beside()
    heard = [other.leases.beats()]
    for _ in range(2):
        office.leases.beat()
        heard.append(other.leases.beats())
    assert [beats[office.leases.gateway] for beats in heard] == [0, 1, 2]


def test_a_study_that_kills_its_gateway_again_and_again_is_tried_no_more(office: Office):
    job = office.submit()
    for run in range(1, MOST_CRASHES + 1):
        victim = office.beside()
        lease = victim.claim()
        assert lease.job.crashes == run
        kept = office.folder(job).result(f"result-{lease.job.token}")
        kept.mkdir()
        take_over(victim, office)
    letter = office.get(job)
    assert (letter.state, letter.errors, letter.attempts) == ("dead", 0, MOST_CRASHES)
    assert letter.problem is not None
    assert (letter.problem["type"], letter.problem["status"]) == ("urn:sigap:problem:crashed", 500)
    assert not kept.exists()
    assert len(office.folder(job).files()[0]) == 1
    assert office.store.retry(job.id).crashes == 0
    assert office.claim().job.id == job.id


def test_crashes_and_errors_are_counted_apart(office: Office):
    job = office.submit()
    for _ in range(2):
        office.claim().postpone({}, is_counted=True)
        office.clock.now += 30
    for _ in range(MOST_CRASHES - 1):
        victim = office.beside()
        victim.claim()
        take_over(victim, office)
    waiting = office.get(job)
    assert (waiting.state, waiting.errors, waiting.crashes) == ("queued", 2, MOST_CRASHES - 1)


def test_an_orderly_end_counts_as_nothing(office: Office):
    job = office.submit()
    for _ in range(MOST_CRASHES + 1):
        leaver = office.beside()
        leaver.claim()
        receiving = leaver.enter()
        leaver.upload(receiving, b"a part of it")
        workspace = leaver.storage.data.workspace(leaver.leases.gateway)
        leaver.leases.leave()
        assert not workspace.exists()
        assert office.leases.beats() == {}
        assert office.folders() == {job.folder}
    back = office.get(job)
    assert (back.state, back.crashes, back.errors, back.problem) == ("queued", 0, 0, None)


def test_a_gateway_takes_only_its_own_along(office: Office):
    job = office.submit()
    lease = office.claim()
    leaver = office.beside()
    leaver.leases.leave()
    lease.report("infer", 1, 4)
    assert office.get(job).state == "running"
