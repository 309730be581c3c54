"""A gateway that is killed anywhere on a study's way: the study is answered, once, and nothing else is left of it."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from crashing import Part
from nursery import Answered, Living, Nursery, nursery, orphans, study
from serving import wait_until
from sigap.api.server import serve
from sigap.jobs.storage import storage
from sigap.jobs.store import JobStore
from sigap.settings import Settings, SettingsError

KILLED = -signal.SIGKILL
# Every named point, and how many runs the job has had when it is done.
UNKNOWN = {"entered:1": 1, "stored:1": 1}
ACCEPTED = {"accepted:1": 1}
RUNNING = {"claimed:1": 2, "decode:1": 2, "infer:2": 2, "postprocess:1": 2, "measure:1": 2, "kept:1": 2}
DONE = {"succeeded:1": 1, "answering:1": 1}


@pytest.fixture(scope="module")
def gateways() -> Iterator[Nursery]:
    with nursery() as born:
        yield born


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture(scope="module")
def undisturbed(gateways: Nursery, tmp_path_factory: pytest.TempPathFactory) -> Answered:
    with gateways.gateway(Part(str(tmp_path_factory.mktemp("undisturbed") / "data"))) as gateway:
        job_id = gateway.accept(study())
        assert gateway.end_of(job_id)["state"] == "succeeded"
        answer = gateway.answer(job_id)
    assert '"name": "tumour"' in answer.report
    return answer


def check_nothing_left(data: Path) -> None:
    wait_until(lambda: orphans(data) == [])


def told(gateway: Living, *, is_async: bool) -> str | None:
    """The id of the job that a doomed gateway has promised, if it came to that."""
    try:
        answer = gateway.post(study(), key="once", is_async=is_async)
    except httpx.TransportError:
        return None
    assert answer.status_code == 202
    return str(answer.json()["id"])


@pytest.mark.parametrize("point", [*ACCEPTED, *RUNNING, *DONE])
def test_an_accepted_study_is_answered_once(gateways: Nursery, data: Path, undisturbed: Answered, point: str) -> None:
    with gateways.gateway(Part(str(data), kill_at=point)) as doomed:
        promised = told(doomed, is_async=point != "answering:1")
        assert doomed.wait() == KILLED
    with gateways.gateway(Part(str(data))) as gateway:
        (job,) = gateway.jobs()
        assert promised in (None, job["id"])
        ended = gateway.end_of(job["id"])
        assert (ended["state"], ended["attempts"]) == ("succeeded", (ACCEPTED | RUNNING | DONE)[point])
        assert gateway.answer(job["id"]) == undisturbed
        # A client that got no answer sends the same again.
        assert gateway.accept(study(), key="once") == job["id"]
        assert len(gateway.jobs()) == 1
        check_nothing_left(data)


@pytest.mark.parametrize("point", UNKNOWN)
def test_a_study_that_was_not_accepted_leaves_nothing(
    gateways: Nursery, data: Path, undisturbed: Answered, point: str
) -> None:
    with gateways.gateway(Part(str(data), kill_at=point)) as doomed:
        assert told(doomed, is_async=True) is None
        assert doomed.wait() == KILLED
    check_a_fresh_start(gateways, data, undisturbed)


def test_a_gateway_killed_in_mid_upload_leaves_nothing(gateways: Nursery, data: Path, undisturbed: Answered) -> None:
    with gateways.gateway(Part(str(data))) as doomed:

        def body() -> Iterator[bytes]:
            yield b'--edge\r\nContent-Disposition: form-data; name="files"; filename="ct.nii.gz"\r\n\r\n'
            # More than is taken before it is written.
            yield bytes(2 << 20)
            wait_until(lambda: any(path.stat().st_size for path in data.glob("jobs/*/upload/*")))
            doomed.kill()
            yield bytes(1000)

        headers = {"Content-Type": "multipart/form-data; boundary=edge"}
        with pytest.raises(httpx.TransportError):
            doomed.client.post("/segment/liver", content=body(), headers=headers)
    assert list(data.glob("jobs/*/upload/*")) != []
    check_a_fresh_start(gateways, data, undisturbed)


def check_a_fresh_start(gateways: Nursery, data: Path, undisturbed: Answered) -> None:
    """Nothing is known of what was not accepted; sent again it is answered."""
    with gateways.gateway(Part(str(data))) as gateway:
        assert gateway.jobs() == []
        assert orphans(data) == []
        assert list((data / "jobs").iterdir()) == []
        job_id = gateway.accept(study(), key="once")
        assert gateway.end_of(job_id)["attempts"] == 1
        assert gateway.answer(job_id) == undisturbed
        check_nothing_left(data)


def test_a_study_that_kills_five_runs_waits_for_a_person(gateways: Nursery, data: Path, undisturbed: Answered) -> None:
    for point in ("claimed:1", "decode:1", "infer:3", "measure:1", "kept:1"):
        with gateways.gateway(Part(str(data), kill_at=point)) as doomed:
            if point == "claimed:1":
                told(doomed, is_async=True)
            assert doomed.wait() == KILLED
    with gateways.gateway(Part(str(data))) as gateway:
        (job,) = gateway.jobs()
        assert (job["state"], job["attempts"]) == ("dead", 5)
        assert job["problem"]["type"] == "urn:sigap:problem:crashed"
        refusal = gateway.client.get(f"/jobs/{job['id']}/result")
        assert refusal.status_code == 500
        assert refusal.json() == {**job["problem"], "instance": refusal.json()["instance"]}
        # Another study is not held up by it.
        other = gateway.accept(study(1))
        assert gateway.end_of(other)["state"] == "succeeded"
        assert gateway.job(job["id"])["state"] == "dead"
        check_nothing_left(data)

        opened = storage(data, None, quota_bytes=1)
        with closing(opened.database):
            JobStore(opened, queue_length=1).retry(job["id"])
        ended = gateway.end_of(job["id"])
        assert (ended["state"], ended["attempts"], ended["problem"]) == ("succeeded", 6, None)
        assert gateway.answer(job["id"]) == undisturbed
        check_nothing_left(data)


def test_an_orderly_stop_in_mid_run_counts_as_nothing(gateways: Nursery, data: Path, undisturbed: Answered) -> None:
    with gateways.gateway(Part(str(data), hold_at="infer:2")) as stopped:
        job_id = stopped.accept(study())
        stopped.wait_until_held()
        stopped.signal(signal.SIGTERM)
        assert stopped.wait() == 0
    assert orphans(data) == []
    assert list((data / "work").iterdir()) == []
    opened = storage(data, None, quota_bytes=1)
    with closing(opened.database):
        job = JobStore(opened, queue_length=1).get(job_id)
    assert (job.state, job.errors, job.crashes) == ("queued", 0, 0)
    with gateways.gateway(Part(str(data))) as gateway:
        assert gateway.end_of(job_id)["state"] == "succeeded"
        assert gateway.answer(job_id) == undisturbed
        check_nothing_left(data)


def test_one_data_folder_with_sqlite_serves_one_gateway(gateways: Nursery, data: Path, toy_repository: Path) -> None:
    with gateways.gateway(Part(str(data))) as gateway:
        assert gateway.jobs() == []
        with pytest.raises(SettingsError, match="in use by another gateway, and SQLite serves only one"):
            serve(Settings(data=data, models=toy_repository))
        assert gateway.end_of(gateway.accept(study()))["state"] == "succeeded"
