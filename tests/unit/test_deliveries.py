"""Deliveries in the store: one result, one destination, once; over each database."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import delete

from office import BATCH, ROUTINE, Office
from sigap.core.errors import JobStateForbids
from sigap.jobs.deliveries import LONGEST_PAUSE_S, MOST_REFUSALS, Deliveries
from sigap.jobs.delivery import Delivery
from sigap.jobs.job import Job
from sigap.jobs.tables import GATEWAYS

SENT = replace(ROUTINE, send_to=("archive", "workstation"))
PROBLEM = {"type": "urn:sigap:problem:pacs-refused", "detail": "no"}
RETENTION_S = 86_400.0


@pytest.fixture
def deliveries(office: Office) -> Deliveries:
    return Deliveries(office.storage)


def claim(office: Office, deliveries: Deliveries) -> tuple[Delivery, Job]:
    claimed = deliveries.claim(office.leases.gateway)
    assert claimed is not None, "no delivery is due"
    return claimed


def told(office: Office, job: Job) -> list[tuple[str, str, int]]:
    return [(one.destination, one.state, one.attempts) for one in office.get(job).deliveries]


def test_a_result_is_delivered_once_it_is_kept(office: Office, deliveries: Deliveries) -> None:
    job = office.submit(SENT)
    assert told(office, job) == [("archive", "waiting", 0), ("workstation", "waiting", 0)]
    assert deliveries.claim(office.leases.gateway) is None
    office.succeed(office.claim())
    for name in SENT.send_to:
        delivery, owner = claim(office, deliveries)
        assert (delivery.destination, owner.id, owner.state) == (name, job.id, "succeeded")
        deliveries.succeed(delivery)
    assert deliveries.claim(office.leases.gateway) is None
    assert told(office, job) == [("archive", "delivered", 1), ("workstation", "delivered", 1)]
    (entry, _) = office.get(job).as_json()["deliveries"]
    assert entry["delivered_at"] == "2027-01-15T08:00:00Z"
    assert office.store.tally().deliveries == {"waiting": 0, "delivered": 2, "failed": 0}


def test_two_gateways_never_send_the_same(office: Office, deliveries: Deliveries) -> None:
    office.answer(SENT)
    other = office.beside()
    numbers = [claim(gateway, deliveries)[0].number for gateway in (office, other)]
    assert len(set(numbers)) == 2
    assert deliveries.claim(other.leases.gateway) is None


def test_what_a_dead_gateway_was_sending_is_taken_over_and_it_has_no_say(
    office: Office, deliveries: Deliveries
) -> None:
    job = office.answer(replace(ROUTINE, send_to=("archive",)))
    dead = office.beside()
    before, _ = claim(dead, deliveries)
    assert deliveries.claim(office.leases.gateway) is None
    with office.storage.database.transaction() as connection:
        connection.execute(delete(GATEWAYS).where(GATEWAYS.c.id == dead.leases.gateway))
    after, _ = claim(office, deliveries)
    deliveries.fail(before, PROBLEM)
    assert told(office, job) == [("archive", "waiting", 2)]
    deliveries.succeed(after)
    assert told(office, job) == [("archive", "delivered", 2)]


def test_a_pacs_that_is_away_is_waited_for_however_long(office: Office, deliveries: Deliveries) -> None:
    job = office.answer(replace(ROUTINE, send_to=("archive",)))
    pauses = []
    for _ in range(12):
        delivery, _ = claim(office, deliveries)
        assert deliveries.postpone(delivery, PROBLEM, is_counted=False) is False
        began = office.clock.now
        while deliveries.claim(office.leases.gateway) is None:
            office.clock.now += 1 if len(pauses) < 3 else 4
        pauses.append(office.clock.now - began)
        # That was a try too: it goes back.
        deliveries.release(replace(delivery, token=delivery.token + 1))
    assert pauses[:3] == [2, 4, 8]
    assert pauses[-1] == LONGEST_PAUSE_S
    assert told(office, job) == [("archive", "waiting", 12)]


def test_a_third_refusal_gives_it_up_until_somebody_tries_again(office: Office, deliveries: Deliveries) -> None:
    job = office.answer(replace(ROUTINE, send_to=("archive",)))
    ends = []
    for _ in range(MOST_REFUSALS):
        delivery, _ = claim(office, deliveries)
        ends.append(deliveries.postpone(delivery, PROBLEM, is_counted=True))
        office.clock.now += LONGEST_PAUSE_S
    assert ends == [False, False, True]
    assert deliveries.claim(office.leases.gateway) is None
    assert [one.problem for one in deliveries.undelivered(10)] == [PROBLEM]
    assert deliveries.retry(job.id) == 1
    delivery, _ = claim(office, deliveries)
    deliveries.succeed(delivery)
    assert told(office, job) == [("archive", "delivered", 4)]
    assert office.get(job).deliveries[0].problem is None
    with pytest.raises(JobStateForbids):
        deliveries.retry(job.id)


def test_a_result_that_is_not_delivered_outlives_its_time(office: Office, deliveries: Deliveries) -> None:
    waiting = office.answer(replace(ROUTINE, send_to=("archive",)))
    office.clock.now += 2 * RETENTION_S
    assert office.store.expire(RETENTION_S) == 0
    delivery, _ = claim(office, deliveries)
    deliveries.fail(delivery, PROBLEM)
    assert office.store.expire(RETENTION_S) == 0
    deliveries.retry(waiting.id)
    deliveries.succeed(claim(office, deliveries)[0])
    assert office.store.expire(RETENTION_S) == 1
    assert office.folders() == set()


def test_a_study_that_is_refused_has_nothing_to_deliver(office: Office, deliveries: Deliveries) -> None:
    job = office.submit(SENT)
    office.claim().fail(PROBLEM)
    assert deliveries.claim(office.leases.gateway) is None
    assert deliveries.undelivered(10) == []
    office.clock.now += 2 * RETENTION_S
    assert office.store.expire(RETENTION_S) == 1
    assert office.store.ids(job.id) == []


def test_an_erased_job_takes_its_deliveries_with_it(office: Office, deliveries: Deliveries) -> None:
    job = office.answer(SENT)
    delivery, _ = claim(office, deliveries)
    office.store.erase(job.id)
    deliveries.succeed(delivery)
    assert deliveries.claim(office.leases.gateway) is None
    assert office.store.tally().deliveries == {"waiting": 0, "delivered": 0, "failed": 0}


def test_a_kept_result_is_delivered_for_whoever_asks_for_it_again(office: Office, deliveries: Deliveries) -> None:
    office.answer(BATCH)
    job = office.submit(replace(BATCH, send_to=("archive",)))
    assert job.is_reused
    assert claim(office, deliveries)[1].id == job.id


def test_a_repeated_request_adds_what_it_names_and_nothing_twice(office: Office, deliveries: Deliveries) -> None:
    keyed = replace(ROUTINE, idempotency_key="mine", send_to=("archive",))
    job = office.submit(keyed)
    again = office.send(replace(keyed, send_to=("archive", "workstation")))
    assert again.is_repeated
    assert [one.destination for one in again.job.deliveries] == ["archive", "workstation"]
    assert told(office, job) == [("archive", "waiting", 0), ("workstation", "waiting", 0)]
