"""Several gateways on one PostgreSQL and one data folder: any answers for any job, and none stands in for the dead."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path

import httpx
import pytest
from sqlalchemy import text

from conftest import ROOT
from crashing import Part
from nursery import Answered, Living, Nursery, nursery, orphans, study
from postgres import Postgres
from serving import wait_until
from sigap.api.server import serve
from sigap.core.errors import DatabaseUnavailable
from sigap.jobs import database
from sigap.jobs.database import Database
from sigap.settings import Settings, SettingsError

AWAY = "urn:sigap:problem:database-unavailable"
Start = Callable[..., Living]


@pytest.fixture(scope="module")
def gateways() -> Iterator[Nursery]:
    with nursery() as born:
        yield born


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def start(gateways: Nursery, data: Path, database_url: str) -> Iterator[Start]:
    """Starts gateways that share everything; they are gone before the database is."""
    with ExitStack() as stack:
        yield lambda **more: stack.enter_context(gateways.gateway(Part(str(data), database_url, **more)))


@pytest.fixture(scope="module")
def undisturbed(gateways: Nursery, tmp_path_factory: pytest.TempPathFactory) -> Answered:
    with gateways.gateway(Part(str(tmp_path_factory.mktemp("undisturbed") / "data"))) as gateway:
        job_id = gateway.accept(study())
        gateway.end_of(job_id)
        return gateway.answer(job_id)


def check_nothing_left(data: Path, database_url: str) -> None:
    wait_until(lambda: orphans(data, database_url) == [])


def events(gateway: Living, job_id: str) -> list[dict[str, str]]:
    lines = gateway.client.get(f"/jobs/{job_id}/events").text.splitlines()
    return [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")]


def test_any_answers_for_any_job(start: Start, data: Path, database_url: str, undisturbed: Answered) -> None:
    start(hold_at="decode:1")
    asked, other = start(is_ready=False), start(is_ready=False)
    job_id = asked.accept(study())
    with ThreadPoolExecutor() as pool:
        following = pool.submit(events, other, job_id)
        wait_until(lambda: other.job(job_id)["state"] == "running")
        asked.go_on()
        assert following.result()[-1]["state"] == "succeeded"
    assert asked.answer(job_id) == other.answer(job_id) == undisturbed
    assert asked.jobs() == other.jobs() == [asked.job(job_id)]
    for name in ("json", "nifti", "png", "coco", "zip", "stl&label=liver"):
        answers = [gateway.client.get(f"/jobs/{job_id}/result?format={name}") for gateway in (asked, other)]
        assert [answer.status_code for answer in answers] == [200, 200], name
        assert answers[0].content == answers[1].content, name
    assert asked.client.get(f"/jobs/{job_id}/image").content == other.client.get(f"/jobs/{job_id}/image").content
    check_nothing_left(data, database_url)


def test_any_cancels_any_job(start: Start, data: Path, database_url: str) -> None:
    worker = start(hold_at="infer:2")
    other = start(is_ready=False)
    job_id = worker.accept(study())
    worker.wait_until_held()
    assert other.client.delete(f"/jobs/{job_id}").json()["state"] == "cancelled"
    assert worker.job(job_id)["state"] == "cancelled"
    worker.go_on()
    following = worker.accept(study(1))
    assert other.end_of(following)["state"] == "succeeded"
    assert [job["state"] for job in worker.jobs()] == ["succeeded", "cancelled"]
    check_nothing_left(data, database_url)


@pytest.mark.parametrize("point", ["infer:2", "kept:1"])
def test_a_dead_gateway_s_study_is_taken_over(
    start: Start, data: Path, database_url: str, undisturbed: Answered, point: str
) -> None:
    doomed = start(hold_at=point)
    job_id = doomed.accept(study())
    doomed.wait_until_held()
    other = start()
    doomed.kill()
    ended = other.end_of(job_id)
    assert (ended["state"], ended["attempts"]) == ("succeeded", 2)
    assert other.answer(job_id) == undisturbed
    check_nothing_left(data, database_url)


@pytest.mark.parametrize("point", ["infer:2", "kept:1"])
def test_a_slow_gateway_that_comes_back_cannot_overwrite(
    start: Start, data: Path, database_url: str, undisturbed: Answered, point: str
) -> None:
    slow = start(hold_at=point)
    job_id = slow.accept(study())
    slow.wait_until_held()
    other = start()
    slow.signal(signal.SIGSTOP)
    ended = other.end_of(job_id)
    assert (ended["state"], ended["attempts"]) == ("succeeded", 2)
    result = list(data.glob("jobs/*/result-*"))

    slow.go_on()
    slow.signal(signal.SIGCONT)
    # It works on, under a new name: the other one is gone, so that nobody else can have done this.
    other.signal(signal.SIGTERM)
    assert other.wait() == 0
    following = slow.accept(study(1))
    assert slow.end_of(following)["state"] == "succeeded"
    assert slow.job(job_id) == ended
    assert slow.answer(job_id) == undisturbed
    assert set(result) < set(data.glob("jobs/*/result-*"))
    check_nothing_left(data, database_url)


def test_a_gateway_frozen_within_a_transaction_holds_nobody_up(
    data: Path, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    impatient = {"options": database._PATIENCE["options"].replace("5000", "200")}
    monkeypatch.setattr(database, "_PATIENCE", database._PATIENCE | impatient)
    with closing(Database(data, database_url)) as frozen, closing(Database(data, database_url)) as other:

        def freeze() -> None:
            with frozen.transaction() as connection:
                frozen.lock(connection)
                with other.transaction() as another:
                    other.lock(another)
                connection.execute(text("SELECT 1"))

        with pytest.raises(DatabaseUnavailable):
            freeze()
        with frozen.transaction() as connection:
            frozen.lock(connection)


@pytest.mark.parametrize("is_watched", [True, False])
def test_a_client_that_hangs_up_cancels_nothing_that_another_gateway_s_client_waits_for(
    start: Start, data: Path, database_url: str, *, is_watched: bool
) -> None:
    left, other = start(hold_at="infer:2"), start(hold_at="infer:2")
    with ThreadPoolExecutor() as pool, httpx.Client(timeout=httpx.Timeout(20, read=2)) as client:
        files = {"files": ("ct.nii.gz", study())}
        hung_up = pool.submit(client.post, left.client.base_url.join("/segment/liver?priority=batch"), files=files)
        other.wait_until_held()
        (job,) = other.jobs()
        following = pool.submit(events, other, job["id"]) if is_watched else None
        with pytest.raises(httpx.ReadTimeout):
            hung_up.result()
        if following is None:
            assert left.end_of(job["id"])["state"] == "cancelled"
            other.go_on()
        else:
            # Longer than a doubt lasts.
            time.sleep(2.5)
            other.go_on()
            assert following.result()[-1]["state"] == "succeeded"
    check_nothing_left(data, database_url)


def test_an_upload_to_a_gateway_taken_for_dead_is_refused_and_leaves_nothing(
    start: Start, data: Path, database_url: str, undisturbed: Answered
) -> None:
    slow, other = start(hold_at="stored:1"), start()
    with ThreadPoolExecutor() as pool:
        posting = pool.submit(slow.post, study(), key="once")
        slow.wait_until_held()
        slow.signal(signal.SIGSTOP)
        wait_until(lambda: list((data / "jobs").iterdir()) == [])
        slow.go_on()
        slow.signal(signal.SIGCONT)
        answer = posting.result()
    assert (answer.status_code, answer.json()["type"]) == (503, AWAY)
    assert other.jobs() == []
    check_nothing_left(data, database_url)
    job_id = slow.accept(study(), key="once")
    assert other.end_of(job_id)["state"] == "succeeded"
    assert other.answer(job_id) == undisturbed


def test_a_run_outlives_its_database(
    start: Start, postgres: Postgres, data: Path, database_url: str, undisturbed: Answered
) -> None:
    gateway = start(hold_at="infer:2")
    job_id = gateway.accept(study())
    gateway.wait_until_held()
    postgres.stop()
    refused = [gateway.client.get("/jobs"), gateway.client.get(f"/jobs/{job_id}"), gateway.post(study(1))]
    assert [(answer.status_code, answer.json()["type"]) for answer in refused] == [(503, AWAY)] * 3
    gateway.go_on()
    wait_until(lambda: list(data.glob("work/*/*/result/report.json.gz")) != [])
    assert gateway.client.get("/health/live").status_code == httpx.codes.OK
    postgres.start()
    ended = gateway.end_of(job_id)
    assert (ended["state"], ended["attempts"]) == ("succeeded", 1)
    assert gateway.answer(job_id) == undisturbed
    following = gateway.accept(study(1))
    assert gateway.end_of(following)["state"] == "succeeded"
    check_nothing_left(data, database_url)


def test_no_gateway_starts_without_its_database(
    postgres: Postgres, data: Path, database_url: str, toy_repository: Path
) -> None:
    postgres.stop()
    with pytest.raises(SettingsError, match=r"SIGAP_DATABASE_URL.*: The server.s database cannot be reached"):
        serve(Settings(data=data, database_url=database_url, models=toy_repository))


def test_twenty_studies_survive_three_kills_of_everything(database_url: str) -> None:
    command = [sys.executable, str(ROOT / "benchmarks" / "chaos.py"), "--small", "--seed", "6"]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "tests"), "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(
        [*command, "--database-url", database_url], env=environment, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stdout.count("kill 3 at") == 2
    assert ended.stdout.count("20 results, 0 faults") == 2
