"""The same study twice: one result for both, one job for a repeated request."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import text, update

from office import BATCH, EMERGENCY, MODEL, ROUTINE, Office
from sigap.core.contract import Model
from sigap.core.errors import KeyReused
from sigap.core.study import DecodeOptions
from sigap.jobs.job import Order
from sigap.jobs.tables import JOBS
from sigap.pipeline import RunOptions

KEY = "Müller^Anna 2026-11-24"
KEYED = Order("toy", "routine", idempotency_key=KEY)


def test_the_same_study_is_answered_at_once_with_the_result_there_is(office: Office):
    first = office.answer()
    second = office.submit(EMERGENCY)
    assert (second.state, second.is_reused, second.result, second.folder) == (
        "succeeded",
        True,
        first.result,
        first.folder,
    )
    assert (second.slices_done, second.slices_total) == (4, 4)
    assert second.id != first.id
    assert not first.is_reused
    assert office.folders() == {first.folder}
    assert office.leases.claim() is None


def test_a_reused_result_is_reused_again(office: Office):
    first = office.answer()
    office.submit()
    office.store.erase(first.id)
    assert office.submit().is_reused


@pytest.mark.parametrize(
    ("order", "content"),
    [
        (ROUTINE, b"another study"),
        (replace(ROUTINE, options=RunOptions(DecodeOptions(pixel_spacing_mm=(1.0, 1.0)))), b"a study"),
        (replace(ROUTINE, is_fresh=True), b"a study"),
    ],
)
def test_whatever_differs_or_is_to_be_fresh_runs_anew(office: Office, order: Order, content: bytes):
    office.answer()
    job = office.submit(order, content)
    assert (job.state, job.is_reused) == ("queued", False)
    assert not office.claim().answer_by_twin()


@pytest.mark.parametrize(
    "model", [replace(MODEL, sha256="b" * 64), replace(MODEL, name="x"), replace(MODEL, version="2")]
)
def test_another_model_is_another_request(model: Model):
    assert ROUTINE.fingerprint("a" * 64, model) != ROUTINE.fingerprint("a" * 64, MODEL)


def test_priority_and_key_change_nothing_of_the_result():
    assert len({order.fingerprint("a" * 64, MODEL) for order in (ROUTINE, BATCH, EMERGENCY, KEYED)}) == 1


def test_only_results_that_are_there_are_reused(office: Office):
    cancelled = office.submit()
    office.store.cancel(cancelled.id)
    failed = office.submit()
    office.claim().fail({"detail": "why"})
    assert office.get(failed).state == "failed"
    erased = office.answer()
    office.store.erase(erased.id)
    assert office.submit().state == "queued"


def test_a_job_that_waited_beside_an_equal_one_takes_its_result(office: Office):
    first, second = office.submit(), office.submit()
    office.succeed(office.claim())
    assert office.claim().answer_by_twin()
    answered = office.get(second)
    assert (answered.state, answered.is_reused, answered.folder) == ("succeeded", True, first.folder)
    assert (answered.crashes, answered.stage) == (0, None)
    assert office.folders() == {first.folder}


def test_a_shared_result_goes_with_its_last_job(office: Office):
    first = office.answer()
    second = office.submit()
    office.store.erase(first.id)
    assert office.folders() == {first.folder}
    assert (office.folder(second).result(second.result or "") / "report.json").read_bytes() == b"a result"
    office.store.erase(second.id)
    assert office.folders() == set()
    assert office.used_bytes() == 0


def test_a_request_repeated_with_its_key_is_the_same_job(office: Office):
    first = office.send(KEYED)
    again = office.send(KEYED)
    assert not first.is_repeated
    assert again.is_repeated
    assert again.job.id == first.job.id
    assert again.job.queue_position == 1
    assert office.folders() == {first.job.folder}
    assert len(office.store.page()) == 1


def test_the_key_finds_its_job_even_where_the_study_is_to_run_anew(office: Office):
    first = office.answer(KEYED)
    assert office.submit(replace(KEYED, is_fresh=True)).id == first.id


def test_a_key_names_one_request_only(office: Office):
    first = office.send(KEYED).job
    job_id = office.enter(KEYED)
    sha256 = office.upload(job_id, b"another study")
    with pytest.raises(KeyReused):
        office.store.accept(job_id, KEYED, sha256, MODEL)
    office.store.abandon(job_id)
    assert [job.id for job in office.store.page()] == [first.id]
    assert office.folders() == {first.folder}


def test_a_key_finds_its_job_after_the_model_was_updated(office: Office):
    first = office.answer(KEYED)
    job_id = office.enter(KEYED)
    sha256 = office.upload(job_id, b"a study")
    again = office.store.accept(job_id, KEYED, sha256, replace(MODEL, version="2", sha256="b" * 64))
    assert (again.job.id, again.is_repeated) == (first.id, True)


def test_a_key_of_before_requests_were_written_down_still_names_one_request(office: Office):
    first = office.submit(KEYED)
    with office.storage.database.transaction() as connection:
        connection.execute(update(JOBS).values(request=None))
    assert office.send(KEYED).job.id == first.id
    job_id = office.enter(KEYED)
    sha256 = office.upload(job_id, b"another study")
    with pytest.raises(KeyReused):
        office.store.accept(job_id, KEYED, sha256, MODEL)


def test_a_cancelled_job_gives_its_key_up(office: Office):
    cancelled = office.submit(KEYED)
    office.store.cancel(cancelled.id)
    again = office.send(KEYED)
    assert not again.is_repeated
    assert again.job.state == "queued"
    assert office.send(KEYED).job.id == again.job.id


def test_a_failed_job_keeps_its_key_and_an_erased_one_does_not(office: Office):
    failed = office.submit(KEYED)
    office.claim().fail({"detail": "why"})
    assert office.send(KEYED).job.id == failed.id
    office.store.erase(failed.id)
    assert not office.send(KEYED).is_repeated


def test_a_key_stands_nowhere_as_it_was_sent(office: Office, tmp_path: Path):
    office.submit(KEYED)
    with office.storage.database.transaction() as connection:
        rows = [connection.execute(text(f"SELECT * FROM {name}")).all() for name in ("jobs", "folders", "gateways")]
    assert "Anna" not in repr(rows)
    files = [path for path in (tmp_path / "data").rglob("*") if path.is_file()]
    assert files
    assert not [path for path in files if b"Anna" in path.read_bytes()]
