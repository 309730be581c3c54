"""Entering, accepting, listing and counting jobs, over both databases."""

from __future__ import annotations

from dataclasses import replace

import pytest

from office import BATCH, EMERGENCY, MODEL, QUEUE_LENGTH, QUOTA_BYTES, ROUTINE, Office
from sigap.core.errors import DatabaseUnavailable, NeverRoom, QueueFull, StorageFull, UnknownJob
from sigap.core.study import DecodeOptions
from sigap.jobs.job import Job, Order
from sigap.pipeline import RunOptions


def numbers(jobs: list[Job]) -> list[int]:
    return [job.number for job in jobs]


def test_a_study_sent_waits_with_its_files(office: Office):
    order = Order("toy", "routine", RunOptions(DecodeOptions(pixel_spacing_mm=(0.5, 0.7))))
    job = office.submit(order, b"a scan")
    assert (job.state, job.queue_position, job.attempts) == ("queued", 1, 0)
    assert job.options == order.options
    files, _ = office.folder(job).files()
    assert [file.path.read_bytes() for file in files] == [b"a scan"]
    assert office.get(job) == job


def test_ids_are_long_and_never_alike(office: Office):
    ids = {office.enter(order) for order in (BATCH, ROUTINE, EMERGENCY) for _ in range(QUEUE_LENGTH)}
    assert len(ids) == 3 * QUEUE_LENGTH
    assert {len(job_id) for job_id in ids} == {32}


def test_nobody_sees_a_job_whose_upload_is_not_complete(office: Office):
    job_id = office.enter()
    with pytest.raises(UnknownJob):
        office.store.get(job_id)
    with pytest.raises(UnknownJob):
        office.store.cancel(job_id)
    assert office.store.page() == []
    assert sum(office.store.tally().jobs.values()) == 0
    assert office.leases.claim() is None


@pytest.mark.parametrize("order", [BATCH, ROUTINE, EMERGENCY])
def test_each_priority_has_its_own_bound(office: Office, order: Order):
    entered = [office.enter(order) for _ in range(QUEUE_LENGTH + 1)]  # and one for the gateway that runs it
    with pytest.raises(QueueFull):
        office.enter(order)
    for other in {BATCH, ROUTINE, EMERGENCY} - {order}:
        office.enter(other)
    office.store.abandon(entered[0])
    office.enter(order)


def test_running_jobs_hold_their_places_until_they_end(office: Office):
    for number in range(QUEUE_LENGTH + 1):
        office.submit(content=b"%d" % number)
    lease = office.claim()
    with pytest.raises(QueueFull):
        office.enter()
    office.succeed(lease)
    office.enter()


def test_each_gateway_adds_a_place(office: Office):
    office.beside()
    for _ in range(QUEUE_LENGTH + 2):
        office.enter()
    with pytest.raises(QueueFull):
        office.enter()


def test_a_full_queue_says_when_to_come_back_from_the_rate_that_was_measured(office: Office):
    for number, spent_s in enumerate((20, 40)):
        office.submit(content=b"%d" % number)
        lease = office.claim()
        office.clock.now += spent_s
        office.succeed(lease)
    for _ in range(QUEUE_LENGTH + 1):
        office.enter()
    with pytest.raises(QueueFull) as full:
        office.enter()
    assert full.value.retry_after_s == 30
    office.enter(EMERGENCY)  # goes first
    with pytest.raises(QueueFull) as full:
        office.enter()
    assert full.value.retry_after_s == 60
    office.beside()
    office.enter()  # its place
    with pytest.raises(QueueFull) as full:
        office.enter()
    assert full.value.retry_after_s == 30


def test_an_answer_from_an_earlier_result_says_nothing_of_the_rate(office: Office):
    office.submit()
    lease = office.claim()
    office.clock.now += 50
    office.succeed(lease)
    assert office.submit().is_reused
    for _ in range(QUEUE_LENGTH + 1):
        office.enter()
    with pytest.raises(QueueFull) as full:
        office.enter()
    assert full.value.retry_after_s == 50


def test_what_is_announced_counts_before_it_comes(office: Office):
    # Beside each upload a tenth of it, for its result.
    office.enter(size=QUOTA_BYTES // 2)
    rest = QUOTA_BYTES * 10 // 11 - QUOTA_BYTES // 2
    with pytest.raises(StorageFull):
        office.enter(size=rest + 10)
    office.enter(size=rest)
    assert office.used_bytes() == QUOTA_BYTES // 2 + rest
    assert len(office.store.folders()) == 2


def test_a_body_that_grows_over_the_quota_is_stopped(office: Office):
    one, other = office.enter(), office.enter()
    most = QUOTA_BYTES * 10 // 11
    office.store.reserve(one, most - 100)
    office.store.reserve(one, most - 90)  # its own bytes are not counted twice
    with pytest.raises(StorageFull):
        office.store.reserve(other, QUOTA_BYTES - most + 100)
    office.store.reserve(other, 90)
    office.store.reserve(one, 10)
    office.store.reserve(other, most - 10)


def test_results_count_too_and_one_that_is_too_large_is_not_kept(office: Office):
    job = office.submit(content=bytes(1000))
    lease, upload = office.claim(), office.used_bytes()
    with pytest.raises(StorageFull):
        office.succeed(lease, bytes(QUOTA_BYTES - upload + 1))
    assert office.get(job).state == "running"
    assert office.used_bytes() == upload
    lease.release()
    office.succeed(office.claim(), bytes(QUOTA_BYTES - upload))
    assert office.used_bytes() == QUOTA_BYTES
    office.store.erase(job.id)
    assert office.used_bytes() == 0


def test_an_upload_given_up_leaves_nothing(office: Office):
    job_id = office.enter(size=100)
    office.upload(job_id, b"a part of it")
    office.store.abandon(job_id)
    assert office.folders() == set()
    assert office.used_bytes() == 0
    office.store.abandon(job_id)


def test_an_entry_that_was_forgotten_meanwhile_is_not_accepted(office: Office):
    job_id = office.enter()
    office.store.abandon(job_id)
    with pytest.raises(DatabaseUnavailable, match="Send the study again"):
        office.store.accept(job_id, ROUTINE, "f" * 64, MODEL)
    assert office.store.page() == []


def test_places_in_the_queue_follow_priority_then_arrival(office: Office):
    orders = [BATCH, ROUTINE, EMERGENCY, BATCH, EMERGENCY]
    jobs = [office.submit(order, b"%d" % number) for number, order in enumerate(orders)]
    assert [office.get(job).queue_position for job in jobs] == [4, 3, 1, 5, 2]
    office.claim()
    assert [office.get(job).queue_position for job in jobs] == [3, 2, None, 4, 1]
    assert [job.queue_position for job in office.store.page()] == [1, 4, None, 2, 3]


def test_a_page_begins_with_the_newest_and_goes_on_where_the_one_before_ended(office: Office):
    jobs = [office.submit(order, b"%d" % number) for number, order in enumerate([BATCH, ROUTINE, BATCH, EMERGENCY])]
    first = office.store.page(limit=3)
    assert numbers(first) == numbers(jobs[:0:-1])
    assert numbers(office.store.page(limit=3, before=first[-1].number)) == numbers(jobs[:1])


def test_a_page_holds_only_what_is_asked_for(office: Office):
    running, waiting = office.submit(EMERGENCY, b"1"), office.submit(BATCH, b"2")
    other = office.submit(replace(BATCH, task="other"), b"3")
    office.claim()
    assert numbers(office.store.page(states=("running",))) == [running.number]
    assert numbers(office.store.page(states=("running", "queued"))) == [other.number, waiting.number, running.number]
    assert numbers(office.store.page(task="toy")) == [waiting.number, running.number]
    assert numbers(office.store.page(priority="batch", task="toy")) == [waiting.number]
    assert office.store.page(states=("dead",)) == []


def test_a_number_is_never_given_twice(office: Office):
    first = office.answer()
    office.store.erase(first.id)
    assert office.submit().number > first.number


def test_counts_for_metrics(office: Office):
    office.submit(BATCH, b"1")
    office.clock.now += 5
    office.submit(BATCH, b"22")
    office.submit(EMERGENCY, b"333")
    office.claim()
    office.clock.now += 2
    tally = office.store.tally()
    assert {key: count for key, count in tally.jobs.items() if count} == {
        ("queued", "batch"): 2,
        ("running", "emergency"): 1,
    }
    assert tally.jobs["dead", "routine"] == 0
    assert tally.oldest_s == {"emergency": 0.0, "routine": 0.0, "batch": 7.0}
    assert tally.used_bytes == sum(office.folder(job).size() for job in office.store.page())


def test_a_clock_set_back_makes_no_age_negative_and_changes_no_order(office: Office):
    first = office.submit(content=b"1")
    office.clock.now -= 3600
    second = office.submit(content=b"2")
    assert office.store.tally().oldest_s["routine"] == 0.0
    assert [office.claim().job.id, office.claim().job.id] == [first.id, second.id]


def test_a_job_remembers_when_it_began_to_arrive_and_when_it_was_safe(office: Office):
    job_id = office.enter()
    began = office.clock.now
    office.clock.now += 90
    sha256 = office.upload(job_id, b"a large study")
    job = office.store.accept(job_id, ROUTINE, sha256, MODEL).job
    assert (job.created_at, job.queued_at) == (began, began + 90)


def test_a_doubted_job_is_wanted_again_by_whoever_waits_for_it(office: Office):
    job = office.submit()
    assert not office.store.doubt(job.id)
    assert office.get(job).is_doubted
    office.beside()
    assert office.store.doubt(job.id)
    office.store.want(job.id)
    assert not office.get(job).is_doubted


def test_the_manifest_of_an_upload_is_counted(office: Office):
    job = office.submit(content=b"0123456789")
    files = [path for path in office.folder(job).path.rglob("*") if path.is_file()]
    assert len(files) == 2
    assert office.used_bytes() == sum(path.stat().st_size for path in files) == office.folder(job).size()


def test_a_study_larger_than_all_there_is_fails_for_good(office: Office):
    office.submit(content=bytes(100))
    with pytest.raises(NeverRoom):
        office.succeed(office.claim(), bytes(QUOTA_BYTES))


def test_a_page_of_waiting_jobs_counts_the_queue_once(office: Office):
    jobs = [office.submit(order, bytes([number])) for number, order in enumerate((BATCH, ROUTINE, EMERGENCY, ROUTINE))]
    places = {job.id: job.queue_position for job in office.store.page()}
    assert [places[job.id] for job in jobs] == [4, 2, 1, 3]
    assert places == {job.id: office.get(job).queue_position for job in jobs}


def test_a_dead_letter_s_result_is_not_counted(office: Office):
    job = office.submit()
    upload = office.used_bytes()
    for _ in range(3):
        lease = office.claim()
        lease.reserve(upload, 500)
        lease.postpone({"detail": "why"}, is_counted=True)
        office.clock.now += 30
    assert office.get(job).state == "dead"
    assert office.used_bytes() == upload == office.folder(job).size()


def test_a_damaged_result_gives_its_key_up_too(office: Office):
    keyed = replace(ROUTINE, idempotency_key="mine")
    first = office.answer(keyed)
    office.store.disown(first.folder)
    assert office.submit(keyed).id != first.id
