"""What the audit log says of each request, and that nothing happens unseen."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from fastapi import FastAPI

from fakes import FakeEngine, FakePipeline
from phantoms.nifti import nifti_bytes
from serving import forget_all, serving, wait_until
from sigap.access.keys import KeyFile
from sigap.api.app import create_app
from sigap.settings import Settings

STUDY = {"files": ("DOE^JOHN.nii", nifti_bytes(np.zeros((4, 4, 4), np.int16), np.eye(4)))}
UID = "1.2.826.0.1.3680043.8.498.1"


@dataclass(frozen=True)
class Watched:
    """A gateway with an audit log, and the client of a key."""

    app: FastAPI
    client: httpx.Client
    secret: str
    path: Path

    def told_of(self, act: Callable[[], object]) -> list[dict[str, Any]]:
        """The lines that something has caused."""
        before = len(self.lines())
        act()
        return self.lines()[before:]

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.path.read_text().splitlines()] if self.path.is_file() else []


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    data, path = tmp_path / "data", tmp_path / "logs" / "audit.jsonl"
    path.parent.mkdir()
    secret = KeyFile(data).add("ward")
    app = create_app(Settings(data=data, audit_file=path), FakeEngine(), run=FakePipeline())
    with serving(app) as client:
        client.headers["Authorization"] = f"Bearer {secret}"
        yield Watched(app, client, secret, path)


def brief(line: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(line[name] for name in ("key", "action", "status", "outcome"))


def test_a_study_s_whole_way_is_told_and_nothing_of_its_patient(watched: Watched) -> None:
    client = watched.client
    response = client.post(f"/segment/toy?series_uid={UID}", files=STUDY)
    job_id = response.headers["content-location"].split("/")[2]
    for method, part in (("GET", ""), ("GET", "/result"), ("GET", "/events"), ("DELETE", ""), ("DELETE", "/result")):
        client.request(method, f"/jobs/{job_id}{part}")
    client.get("/jobs?task=DOE")
    lines = watched.lines()
    assert [brief(line) for line in lines] == [
        ("ward", "POST /segment/{task}", 200, "done"),
        ("ward", "GET /jobs/{job_id}", 200, "done"),
        ("ward", "GET /jobs/{job_id}/result", 200, "done"),
        ("ward", "GET /jobs/{job_id}/events", 200, "done"),
        ("ward", "DELETE /jobs/{job_id}", 409, "failed"),
        ("ward", "DELETE /jobs/{job_id}/result", 204, "done"),
        ("ward", "GET /jobs", 200, "done"),
    ]
    assert [line["job"] for line in lines] == [job_id] * 4 + [None, job_id, None]
    assert lines[0]["request"] == response.headers["x-request-id"]
    assert list(lines[0]) == ["time", "key", "action", "job", "request", "status", "outcome"]
    text = watched.path.read_text()
    assert [secret for secret in ("DOE", UID, watched.secret, "sigap_") if secret in text] == []


def test_what_is_refused_is_told_without_what_was_shown(watched: Watched) -> None:
    def try_in_vain() -> None:
        for headers in ({}, {"Authorization": "Bearer sigap_guess"}, {"Cookie": "sigap_session=guess"}):
            httpx.get(watched.client.base_url.join("/jobs/DOE^JOHN"), headers=headers)
        httpx.get(watched.client.base_url.join("/DOE^JOHN"))
        httpx.post(watched.client.base_url.join("/session"), json={"key": "sigap_guess"})

    assert [brief(line) for line in watched.told_of(try_in_vain)] == [
        *[(None, "GET /jobs/{job_id}", 401, "denied")] * 3,
        (None, "GET (no such address)", 401, "denied"),
        (None, "POST /session", 401, "denied"),
    ]
    assert [word for word in ("guess", "DOE") if word in watched.path.read_text()] == []


def test_a_job_that_is_not_there_is_not_named(watched: Watched) -> None:
    (line,) = watched.told_of(lambda: watched.client.get("/jobs/DOE^JOHN"))
    assert (line["job"], line["status"]) == (None, 404)


def test_logging_in_and_what_the_session_does_are_the_key_s(watched: Watched) -> None:
    def browse() -> None:
        with httpx.Client(base_url=watched.client.base_url) as browser:
            browser.post("/session", json={"key": watched.secret})
            browser.get("/models")
            browser.delete("/session")

    assert [brief(line) for line in watched.told_of(browse)] == [
        ("ward", "POST /session", 204, "done"),
        ("ward", "GET /models", 200, "done"),
        ("ward", "DELETE /session", 204, "done"),
    ]


def test_what_is_open_leaves_no_line(watched: Watched) -> None:
    def look_around() -> None:
        for path in ("/", "/health/live", "/health/ready", "/docs/start.js"):
            assert httpx.get(watched.client.base_url.join(path)).status_code == 200

    assert watched.told_of(look_around) == []


def test_a_fault_of_our_own_is_told_too(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    def fault(**_: object) -> None:
        raise ValueError

    monkeypatch.setattr(watched.app.state.gateway.store, "page", fault)
    (line,) = watched.told_of(lambda: watched.client.get("/jobs"))
    assert brief(line) == ("ward", "GET /jobs", 500, "failed")


def test_nothing_is_done_that_cannot_be_told(watched: Watched) -> None:
    accepted = watched.client.post("/segment/toy", files=STUDY, headers={"Prefer": "respond-async"})
    job_address = accepted.headers["location"]
    wait_until(lambda: watched.client.get(job_address).json()["state"] == "succeeded")
    away = watched.path.parent.rename(watched.path.parent.with_name("away"))
    for method, path in (("DELETE", f"{job_address}/result"), ("GET", job_address), ("POST", "/session")):
        body = {"json": {"key": watched.secret}} if method == "POST" else {}
        response = watched.client.request(method, path, **body)
        assert (response.status_code, response.json()["type"]) == (503, "urn:sigap:problem:audit-unavailable")
        assert int(response.headers["retry-after"]) > 0
        assert "set-cookie" not in response.headers
    assert watched.client.get("/health/ready").status_code == 200
    away.rename(watched.path.parent)
    assert watched.client.get(job_address).json()["state"] == "succeeded"


def test_an_answer_that_cannot_be_told_is_withheld_and_owed(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    gateway, away = watched.app.state.gateway, watched.path.parent.with_name("away")
    page = gateway.store.page

    def page_and_lose_the_log(**more: Any) -> Any:
        watched.path.parent.rename(away)
        return page(**more)

    watched.client.get("/version")
    with monkeypatch.context() as patch:
        patch.setattr(gateway.store, "page", page_and_lose_the_log)
        response = watched.client.get("/jobs")
    assert (response.status_code, response.json()["type"]) == (503, "urn:sigap:problem:audit-unavailable")
    assert "jobs" not in response.json()
    away.rename(watched.path.parent)
    told = watched.told_of(lambda: watched.client.get("/version"))
    assert [brief(line)[1:3] for line in told] == [("GET /jobs", 200), ("GET /version", 200)]
    forget_all(watched.app)


@pytest.mark.parametrize("auth", [None, "off"])
def test_where_no_key_is_asked_for_uses_are_told_without_one(tmp_path: Path, auth: Any) -> None:
    path = tmp_path / "audit.jsonl"
    settings = Settings(data=tmp_path / "data", audit_file=path, auth=auth)
    with serving(create_app(settings, FakeEngine(), run=FakePipeline())) as client:
        client.get("/jobs")
    assert [brief(json.loads(line)) for line in path.read_text().splitlines()] == [(None, "GET /jobs", 200, "done")]
