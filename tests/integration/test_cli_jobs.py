"""`sigap jobs` on a real store, while its gateway has it open: states, words, exit statuses."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest
from sqlalchemy import text
from typer.testing import CliRunner, Result

from office import BATCH, EMERGENCY, Office, opened_office
from sigap.cli import app, jobs
from sigap.core.contract import PRIORITIES
from sigap.jobs.job import STATES
from sigap.jobs.storage import storage

NOBODY = "0" * 32


@pytest.fixture(params=["SQLite", "PostgreSQL"])
def office(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Office]:
    """A gateway's store, which the settings name; on SQLite it has claimed the folder."""
    monkeypatch.setenv("SIGAP_DATA", str(tmp_path / "data"))
    url = None
    if request.param == "PostgreSQL":
        url = request.getfixturevalue("database_url")
        monkeypatch.setenv("SIGAP_DATABASE_URL", url)
    with opened_office(tmp_path / "data", url) as office:
        yield office


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A SIGAP_DATA that is not there."""
    monkeypatch.setenv("SIGAP_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


def call(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["jobs", *map(str, arguments)])


def listed(*arguments: object) -> list[Any]:
    result = call("list", "--json", *arguments)
    assert result.exit_code == 0, result.output
    found: list[Any] = json.loads(result.stdout)["jobs"]
    return found


def test_states_and_priorities_are_the_stores() -> None:
    assert get_args(jobs.State) == STATES
    assert get_args(jobs.Priority) == PRIORITIES


def test_the_newest_are_listed_first_and_can_be_chosen(office: Office) -> None:
    done, waiting, urgent = office.answer(), office.submit(BATCH, b"another"), office.submit(EMERGENCY, b"a third")
    assert [job["id"] for job in listed()] == [urgent.id, waiting.id, done.id]
    assert [job["id"] for job in listed("--state", "succeeded")] == [done.id]
    assert [job["id"] for job in listed("--priority", "batch")] == [waiting.id]
    assert listed("--task", "liver") == []
    assert listed("--limit", 1) == [office.get(urgent).as_json()]


def test_a_list_for_people_says_that_there_is_more(office: Office) -> None:
    office.answer()
    waiting = office.submit(BATCH, b"another")
    result = call("list", "--limit", 1)
    assert result.exit_code == 0
    assert waiting.id[:12] in result.stdout
    assert "place 1 in the queue" in result.stdout
    assert "there are more" in result.stderr
    assert "there are more" not in call("list", "--limit", 2).output


def test_every_owner_s_jobs_are_listed(office: Office) -> None:
    ours = office.submit(replace(BATCH, owner="ward"))
    theirs = office.submit(replace(BATCH, owner="lab"), b"another")
    assert [job["id"] for job in listed()] == [theirs.id, ours.id]
    rows = [line.split() for line in call("list").stdout.splitlines()]
    assert [row[2] for row in rows] == ["owner", "lab", "ward"]
    assert ["owner", "ward"] in [line.split() for line in call("show", ours.id).stdout.splitlines()]


def test_json_gives_the_cursor_that_http_would(office: Office) -> None:
    office.answer()
    newest = office.submit(BATCH, b"another")
    assert json.loads(call("list", "--json", "--limit", 1).stdout)["next"] == str(newest.number)
    assert json.loads(call("list", "--json", "--limit", 2).stdout)["next"] is None


def test_a_dead_letter_is_shown_with_its_problem_and_can_be_retried(office: Office) -> None:
    job = office.submit()
    problem = {"type": "urn:sigap:problem:internal", "title": "Internal", "status": 500, "detail": "It [b]broke[/b]."}
    for _ in range(3):
        office.claim().postpone(problem, is_counted=True)
        office.clock.now += 30
    shown = call("show", job.id[:8])
    assert shown.exit_code == 0, shown.output
    for part in (job.id, "dead", "Internal (500)", "It [b]broke[/b]."):
        assert part in shown.stdout
    assert json.loads(call("show", job.id, "--json").stdout) == office.get(job).as_json()
    assert call("retry", job.id[:8]).stdout == f"Queued {job.id}\n"
    assert office.get(job).state == "queued"
    again = call("retry", job.id)
    assert again.exit_code == 1
    assert "Only a dead letter can be retried" in again.stderr


def test_a_running_job_is_shown_with_its_slices(office: Office) -> None:
    job = office.submit()
    office.claim().report("infer", 3, 7)
    assert "infer 3/7" in call("show", job.id).stdout


def test_one_that_cannot_be_cancelled_does_not_keep_the_others_from_it(office: Office) -> None:
    done, one, other = office.answer(), office.submit(BATCH, b"another"), office.submit(EMERGENCY, b"a third")
    result = call("cancel", one.id[:10], done.id, NOBODY, other.id, one.id[:10])
    assert result.exit_code == 1
    assert result.stdout == f"Cancelled {one.id}\nCancelled {other.id}\n"
    assert "The job has ended: succeeded" in result.stderr
    assert "There is no such job" in result.stderr
    assert [office.get(job).state for job in (done, one, other)] == ["succeeded", "cancelled", "cancelled"]
    assert office.folders() == {done.folder}


def test_erased_jobs_are_gone_with_their_files(office: Office) -> None:
    done = office.answer()
    waiting = office.submit(BATCH, b"another")
    result = call("erase", done.id, waiting.id)
    assert result.exit_code == 1
    assert result.stdout == f"Erased {done.id}\n"
    assert "Cancel it first" in result.stderr
    assert office.folders() == {waiting.folder}


def test_old_jobs_are_erased_and_young_ones_stay(office: Office) -> None:
    # The command's own clock is the machine's.
    office.clock.now = time.time() - 7.5 * 86400
    old = office.answer()
    office.clock.now = time.time()
    young = office.answer(BATCH, b"another")
    waiting = office.submit(BATCH, b"a third")
    assert call("erase", "--older-than", "8d").stdout == "Erased 0 jobs.\n"
    assert call("erase", "--older-than", "7d").stdout == "Erased 1 job.\n"
    assert office.folders() == {young.folder, waiting.folder}
    assert call("show", old.id).exit_code == 1


def test_ids_that_begin_alike_must_be_told_apart(office: Office) -> None:
    one, other = office.submit(BATCH), office.submit(BATCH, b"another")
    ids = ["a" * 31 + "1", "a" * 31 + "2"]
    with office.storage.database.transaction() as connection:
        for job, new in zip((one, other), ids, strict=True):
            connection.execute(text("UPDATE jobs SET id = :new WHERE id = :old"), {"new": new, "old": job.id})
    result = call("cancel", "a" * 31)
    assert result.exit_code == 1
    assert "Several" in result.stderr
    assert call("cancel", ids[1]).exit_code == 0
    assert [job["state"] for job in listed()] == ["cancelled", "queued"]


@pytest.mark.parametrize(
    "arguments",
    [
        ("show", "a" * 7),
        ("cancel", "%" * 8),
        ("show", "A" * 40),
        ("erase",),
        ("erase", NOBODY, "--older-than", "7d"),
        ("erase", "--older-than", "a week"),
        ("cancel",),
        ("list", "--state", "receiving"),
        ("list", "--limit", 0),
        ("frobnicate",),
    ],
)
def test_wrong_calls_exit_with_2(data: Path, arguments: tuple[object, ...]) -> None:
    assert call(*arguments).exit_code == 2
    assert not data.exists()


def test_where_nothing_was_ever_stored_nothing_is_made(data: Path) -> None:
    result = call("list")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "No jobs yet.\n")
    assert listed() == []
    assert call("erase", "--older-than", "1s").stdout == "Erased 0 jobs.\n"
    shown = call("show", NOBODY)
    assert shown.exit_code == 1
    assert "There is no such job" in shown.stderr
    assert not data.exists()


def test_a_data_folder_that_cannot_be_looked_into_fails_in_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIGAP_DATA", str(tmp_path / ("n" * 300)))
    result = call("list")
    assert result.exit_code == 1
    assert result.stderr == "Error: The database in SIGAP_DATA cannot be read: File name too long.\n"


def test_an_empty_database_has_no_jobs_and_stays_empty(
    data: Path, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIGAP_DATABASE_URL", database_url)
    assert listed() == []
    with storage(data, database_url, quota_bytes=1).visited() as is_made:
        assert not is_made
    assert not data.exists()


@pytest.mark.parametrize(("revision", "said"), [("9999", "newer version of Sigap"), ("0000", "older version of Sigap")])
def test_the_data_of_another_version_is_left_as_it_is(
    data: Path, monkeypatch: pytest.MonkeyPatch, revision: str, said: str
) -> None:
    with opened_office(data) as office:
        job = office.submit()
        with office.storage.database.transaction() as connection:
            connection.execute(text("UPDATE alembic_version SET version_num = :new"), {"new": revision})
    if revision == "0000":
        monkeypatch.setattr("sigap.jobs.migrations._known", lambda: {"0000", "0001"})
    before = (data / "sigap.sqlite3").read_bytes()
    for arguments in (("list",), ("cancel", job.id)):
        result = call(*arguments)
        assert result.exit_code == 1
        assert said in result.stderr
    assert (data / "sigap.sqlite3").read_bytes() == before


def test_a_database_that_is_away_fails_in_a_sentence(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGAP_DATABASE_URL", "postgresql://sigap:hunter2@127.0.0.1:1/sigap")
    result = call("list")
    assert result.exit_code == 1
    assert result.stderr == "Error: The server's database cannot be reached. Try again in a moment.\n"


@pytest.mark.parametrize("command", ["list", "show", "cancel", "retry", "erase"])
def test_help_teaches_by_example(command: str) -> None:
    shown = call(command, "--help").stdout
    assert "Examples" in shown
    assert f"sigap jobs {command}" in shown
    assert "[cyan]" not in shown
