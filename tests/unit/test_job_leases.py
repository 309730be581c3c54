"""Who runs which job: order, pauses between tries, and two who claim at once."""

from __future__ import annotations

import threading

from office import BATCH, EMERGENCY, ROUTINE, Office
from sigap.jobs.job import Order
from sigap.jobs.lease import Lease


def order_of(office: Office) -> list[str]:
    claimed = []
    while lease := office.leases.claim():
        claimed.append(lease.job.id)
    return claimed


def test_emergencies_go_first_and_equals_as_they_came(office: Office):
    orders: list[Order] = [BATCH, ROUTINE, EMERGENCY, BATCH, EMERGENCY]
    jobs = [office.submit(order, b"%d" % number) for number, order in enumerate(orders)]
    assert order_of(office) == [jobs[number].id for number in (2, 4, 1, 0, 3)]


def test_a_claimed_job_runs_and_says_so(office: Office):
    job = office.submit()
    office.clock.now += 5
    lease = office.claim()
    assert lease.job == office.get(job)
    assert (lease.job.state, lease.job.stage, lease.job.attempts) == ("running", "decode", 1)
    assert (lease.job.created_at, lease.job.started_at) == (office.clock.now - 5, office.clock.now)
    lease.report("infer", 3, 7)
    shown = office.get(job)
    assert (shown.stage, shown.slices_done, shown.slices_total) == ("infer", 3, 7)


def test_only_what_goes_first_may_interrupt(office: Office):
    office.submit(ROUTINE)
    routine = ROUTINE.rank
    assert not office.leases.has_waiting(above=routine)
    assert office.leases.claim(above=routine) is None
    emergency = office.submit(EMERGENCY, b"another")
    assert office.leases.has_waiting(above=routine)
    lease = office.leases.claim(above=routine)
    assert lease is not None
    assert lease.job.id == emergency.id
    assert not office.leases.has_waiting(above=routine)


def test_the_pause_before_another_try_grows_and_is_bounded(office: Office):
    job = office.submit()
    for pause_s in (1, 2, 4, 8, 16, 30, 30):
        office.claim().postpone({"detail": "the engine is away"}, is_counted=False)
        assert (office.get(job).state, office.get(job).errors) == ("queued", 0)
        office.clock.now += pause_s - 0.5
        assert office.leases.claim() is None
        assert not office.leases.has_waiting(above=BATCH.rank)
        office.clock.now += 0.5


def test_one_that_pauses_lets_others_pass(office: Office):
    office.submit(EMERGENCY)
    office.claim().postpone({}, is_counted=False)
    other = office.submit(BATCH, b"another")
    assert office.claim().job.id == other.id


def test_a_pause_written_before_the_clock_was_set_back_is_no_pause(office: Office):
    job = office.submit()
    office.claim().postpone({}, is_counted=False)
    office.clock.now -= 3600
    assert office.claim().job.id == job.id


def test_the_third_counted_error_makes_a_dead_letter(office: Office):
    job = office.submit()
    verdicts = []
    for is_counted in (True, False, True, False, True):
        verdicts.append(office.claim().postpone({"detail": "why"}, is_counted=is_counted))
        office.clock.now += 30
    assert verdicts == [False, False, False, False, True]
    letter = office.get(job)
    assert (letter.state, letter.errors, letter.crashes, letter.problem) == ("dead", 3, 0, {"detail": "why"})
    assert letter.attempts == 5


def test_a_job_put_back_is_as_if_not_begun(office: Office):
    job = office.submit()
    for _ in range(10):
        lease = office.claim()
        lease.report("infer", 2, 4)
        lease.release()
    back = office.get(job)
    assert (back.state, back.stage, back.slices_done, back.crashes, back.errors) == ("queued", None, 0, 0, 0)
    assert back.queue_position == 1


def test_two_who_claim_at_once_never_get_the_same(office: Office):
    jobs = {office.submit(content=b"%d" % number).id for number in range(3)}
    jobs |= {office.submit(EMERGENCY, b"%d" % number).id for number in range(3, 6)}
    gateways = [office, office.beside(), office.beside()]
    start = threading.Barrier(len(gateways))
    claimed: list[Lease] = []

    def claim_all(gateway: Office) -> None:
        start.wait()
        while lease := gateway.leases.claim():
            claimed.append(lease)

    threads = [threading.Thread(target=claim_all, args=(gateway,)) for gateway in gateways]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(lease.job.id for lease in claimed) == sorted(jobs)
    assert {lease.job.attempts for lease in claimed} == {1}
