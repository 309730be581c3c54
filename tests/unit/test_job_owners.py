"""Whose jobs are whose, over both databases."""

from __future__ import annotations

from dataclasses import replace

import pytest

from office import ROUTINE, Office
from sigap.core.errors import JobStateForbids, KeyReused, UnknownJob
from sigap.jobs.client import ANYBODY, Client

WARD, LAB, ADMIN = Client("ward"), Client("lab"), Client("office", sees_all=True)
OURS, THEIRS = replace(ROUTINE, owner="ward"), replace(ROUTINE, owner="lab")


def test_a_client_sees_its_own_jobs_an_admin_all_and_nobody_those_of_nobody(office: Office) -> None:
    ours, theirs, nobody_s = (
        office.submit(order, content) for order, content in ((OURS, b"1"), (THEIRS, b"2"), (ROUTINE, b"3"))
    )
    everything = [nobody_s.id, theirs.id, ours.id]
    for client, seen in ((WARD, [ours.id]), (LAB, [theirs.id]), (ADMIN, everything), (ANYBODY, everything)):
        assert [job.id for job in office.store.page(client=client)] == seen
        assert [job.id for job in office.store.page(client=client, limit=1)] == seen[:1]
        for job in (ours, theirs, nobody_s):
            if job.id in seen:
                assert office.store.get(job.id, client).owner == job.owner
            else:
                with pytest.raises(UnknownJob):
                    office.store.get(job.id, client)


def test_a_name_is_no_pattern(office: Office) -> None:
    office.submit(OURS)
    for name in ("war_", "WARD", "%", ""):
        assert office.store.page(client=Client(name)) == []


def test_another_s_job_can_be_neither_cancelled_nor_erased(office: Office) -> None:
    job = office.submit(OURS)
    with pytest.raises(UnknownJob):
        office.store.cancel(job.id, LAB)
    assert office.get(job).state == "queued"
    office.store.cancel(job.id, WARD)
    # Nor does its state tell that it is there.
    for change in (office.store.erase, office.store.cancel):
        with pytest.raises(UnknownJob):
            change(job.id, LAB)
    with pytest.raises(JobStateForbids):
        office.store.cancel(job.id, ADMIN)
    assert office.store.erase(job.id, ADMIN).id == job.id


def test_an_equal_study_s_result_is_every_owner_s_and_each_has_a_job_of_its_own(office: Office) -> None:
    ours = office.answer(OURS)
    theirs = office.submit(THEIRS)
    assert (theirs.state, theirs.is_reused, theirs.owner) == ("succeeded", True, "lab")
    assert theirs.folder == ours.folder
    office.store.erase(ours.id, WARD)
    assert office.folders() == {theirs.folder}
    office.store.erase(theirs.id, LAB)
    assert office.folders() == set()


def test_an_idempotency_key_is_its_owner_s(office: Office) -> None:
    orders = [replace(order, idempotency_key="study 1") for order in (OURS, THEIRS, ROUTINE)]
    jobs = [office.submit(order, content) for order, content in zip(orders, (b"1", b"2", b"3"), strict=True)]
    assert len({job.id for job in jobs}) == 3
    for order, content, job in zip(orders, (b"1", b"2", b"3"), jobs, strict=True):
        assert office.send(order, content).job.id == job.id
    with pytest.raises(KeyReused):
        office.send(orders[0], b"2")


def test_the_key_of_before_there_were_owners_is_still_nobody_s(office: Office) -> None:
    """As versions before have written it down: the text's own digest."""
    digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert replace(ROUTINE, idempotency_key="abc").key_digest == digest
