"""Keys over every route: what is closed without one, and whose jobs are whose (CONTRACT, sections 5 and 6)."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from fastapi import FastAPI
from starlette.routing import Mount, Route

from fakes import FakeEngine, FakePipeline
from phantoms.nifti import nifti_bytes
from serving import forget_all, serving, wait_until
from sigap.access.keys import KeyFile
from sigap.api.app import create_app
from sigap.settings import Settings

APP = create_app(Settings(data=Path("unused")), FakeEngine(), run=FakePipeline())
# CONTRACT, section 5: these and no others.
OPEN = {
    ("GET", "/"),
    ("GET", "/health/live"),
    ("GET", "/health/ready"),
    ("POST", "/session"),
    # Static files.
    ("GET", "/page/{name}"),
    ("GET", "/docs/start.js"),
    ("GET", "/docs/swagger-ui.css"),
    ("GET", "/docs/swagger-ui-bundle.js"),
    ("GET", "/docs/favicon-32x32.png"),
}
ROUTES = sorted({(method, route.path) for route in APP.state.routes for method in route.methods})
JOB_ROUTES = [(method, path) for method, path in ROUTES if "{job_id}" in path]
NOBODY = "0" * 32
STUDY = {"files": ("study.nii", nifti_bytes(np.zeros((4, 4, 4), np.int16), np.eye(4)))}
OTHER = {"files": ("study.nii", nifti_bytes(np.ones((4, 4, 4), np.int16), np.eye(4)))}


@dataclass(frozen=True)
class Locked:
    """A gateway with three keys."""

    app: FastAPI
    client: httpx.Client
    keys: KeyFile
    pipeline: FakePipeline
    ward: httpx.Client
    lab: httpx.Client
    office: httpx.Client


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Locked]:
    data, pipeline = tmp_path_factory.mktemp("data"), FakePipeline()
    keys = KeyFile(data)
    secrets = {name: keys.add(name, is_admin=name == "office") for name in ("ward", "lab", "office")}
    app = create_app(Settings(data=data), FakeEngine(), run=pipeline)
    with serving(app) as client:
        known = {
            name: httpx.Client(base_url=client.base_url, headers={"Authorization": f"Bearer {secret}"}, timeout=20)
            for name, secret in secrets.items()
        }
        yield Locked(app, client, keys, pipeline, **known)
        for one in known.values():
            one.close()


@pytest.fixture
def locked(shared: Locked) -> Iterator[Locked]:
    yield shared
    shared.pipeline.gate.set()
    forget_all(shared.app)


def address(path: str, job_id: str = NOBODY) -> str:
    return path.replace("{task}", "toy").replace("{job_id}", job_id)


def problem(response: httpx.Response) -> tuple[int, dict[str, Any]]:
    return response.status_code, {name: value for name, value in response.json().items() if name != "instance"}


def accept(client: httpx.Client, files: Any = None, **headers: str) -> str:
    response = client.post("/segment/toy", files=files or STUDY, headers={"Prefer": "respond-async", **headers})
    assert response.status_code == 202, response.text
    return str(response.json()["id"])


def succeed(client: httpx.Client, files: Any = None) -> str:
    job_id = accept(client, files)
    wait_until(lambda: client.get(f"/jobs/{job_id}").json()["state"] == "succeeded")
    return job_id


def test_no_route_is_outside_of_the_list() -> None:
    assert len(ROUTES) > len(OPEN) > 0
    assert [route for route in APP.routes if isinstance(route, (Route, Mount))] == []


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_what_the_contract_does_not_open_is_closed(locked: Locked, method: str, path: str) -> None:
    response = locked.client.request(method, address(path))
    if (method, path) in OPEN:
        assert response.status_code != 401 or path == "/session"
        return
    status, document = problem(response)
    assert (status, document["type"]) == (401, "urn:sigap:problem:unauthorized")
    assert response.headers["www-authenticate"].startswith("Bearer ")
    assert response.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("line", ["GET /nothing", "PATCH /models", "OPTIONS /jobs", "HEAD /metrics", "GET /session"])
def test_what_is_not_there_is_closed_too(locked: Locked, line: str) -> None:
    method, path = line.split()
    assert locked.client.request(method, path).status_code == 401


WRONG: dict[str, list[tuple[str, str]]] = {
    "nothing": [],
    "an empty header": [("Authorization", "")],
    "no key": [("Authorization", "Bearer")],
    "a wrong key": [("Authorization", f"Bearer sigap_{'A' * 43}")],
    "10 kB": [("Authorization", f"Bearer {'A' * 10_000}")],
    "two words": [("Authorization", "Bearer a b")],
    "Latin-1": [("Authorization", "Bearer sigap_\xe9\xe8")],
    "another scheme": [("Authorization", "Basic c2lnYXA6c2lnYXA=")],
    "a wrong cookie": [("Cookie", "sigap_session=1.2.3")],
    "an empty cookie": [("Cookie", "sigap_session=")],
    "a broken cookie": [("Cookie", "\xff=;;sigap_session")],
    "a key as a query": [("X-API-Key", "sigap_")],
}


@pytest.mark.parametrize("headers", WRONG.values(), ids=WRONG)
def test_whatever_is_wrong_the_answer_is_the_same(locked: Locked, headers: list[tuple[str, str]]) -> None:
    raw = [(name.encode(), value.encode("latin-1")) for name, value in headers]
    response = locked.client.get("/jobs", headers=raw)
    assert problem(response) == problem(locked.client.get("/jobs"))
    assert response.headers["www-authenticate"] == 'Bearer realm="sigap"'


def test_a_good_key_beside_a_wrong_one_is_none(locked: Locked) -> None:
    good = locked.ward.headers["authorization"]
    for pair in ((good, "Bearer wrong"), ("Bearer wrong", good), (good, good)):
        headers = [("Authorization", value) for value in pair]
        assert locked.client.get("/jobs", headers=headers).status_code == 401


@pytest.mark.parametrize("scheme", ["bearer", "BEARER", "Bearer  "])
def test_the_scheme_is_written_as_one_likes(locked: Locked, scheme: str) -> None:
    key = locked.ward.headers["authorization"].partition(" ")[2]
    assert locked.client.get("/jobs", headers={"Authorization": f"{scheme} {key}"}).status_code == 200


def test_a_refusal_asks_for_no_body(locked: Locked) -> None:
    """A client that waits for 100 Continue gets its 401 instead, and has sent nothing."""
    address = (locked.client.base_url.host, locked.client.base_url.port)
    with socket.create_connection(address, timeout=20) as connection:
        head = "POST /segment/toy HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\nExpect: 100-continue\r\n"
        connection.sendall(f"{head}Content-Type: multipart/form-data; boundary=x\r\n\r\n".encode())
        answer = b"".join(iter(lambda: connection.recv(4096), b""))
    assert answer.startswith(b"HTTP/1.1 401 ")
    assert b"100 Continue" not in answer
    assert locked.office.get("/jobs").json()["jobs"] == []


def test_the_failures_are_counted_by_what_was_shown(locked: Locked) -> None:
    def counts() -> dict[str, float]:
        lines = locked.office.get("/metrics").text.splitlines()
        found = [line for line in lines if line.startswith("sigap_auth_failures_total")]
        return {line.split('"')[1]: float(line.split()[-1]) for line in found}

    before = counts()
    locked.client.get("/jobs")
    locked.client.get("/jobs", headers={"Authorization": "Bearer wrong"})
    locked.client.get("/jobs", headers={"Cookie": "sigap_session=1.2.3"})
    locked.client.post("/session", json={"key": "wrong"})
    assert counts() == {kind: count + 1 for kind, count in before.items()}


def test_a_stream_of_events_ends_with_its_key_and_the_job_goes_on(locked: Locked) -> None:
    secret = locked.keys.add("guest")
    locked.pipeline.gate.clear()
    with httpx.Client(base_url=locked.client.base_url, headers={"Authorization": f"Bearer {secret}"}) as guest:
        job_id = accept(guest)
        with guest.stream("GET", f"/jobs/{job_id}/events", timeout=20) as stream:
            events = stream.iter_lines()
            assert next(events) == "event: job"
            locked.keys.revoke("guest")
            rest = "".join(events)
        assert guest.get(f"/jobs/{job_id}").status_code == 401
    locked.pipeline.gate.set()
    assert "succeeded" not in rest
    wait_until(lambda: locked.office.get(f"/jobs/{job_id}").json()["state"] == "succeeded")


@pytest.mark.parametrize(("method", "path"), JOB_ROUTES)
def test_another_s_job_is_as_if_it_never_was(locked: Locked, method: str, path: str) -> None:
    job_id = succeed(locked.ward)
    never = locked.lab.request(method, address(path))
    assert problem(locked.lab.request(method, address(path, job_id))) == problem(never)
    assert problem(never)[1]["type"] == "urn:sigap:problem:unknown-job"
    assert locked.ward.get(f"/jobs/{job_id}").json()["state"] == "succeeded"


@pytest.mark.parametrize(("method", "path"), JOB_ROUTES)
@pytest.mark.parametrize("who", ["ward", "office"])
def test_one_s_own_job_and_for_an_admin_every_job_is_there(locked: Locked, who: str, method: str, path: str) -> None:
    job_id = succeed(locked.ward)
    client: httpx.Client = getattr(locked, who)
    response = client.request(method, address(path, job_id))
    assert response.status_code in (200, 204) or problem(response)[1]["type"] == "urn:sigap:problem:job-state"


def test_a_key_lists_its_own_jobs_and_an_admin_key_all(locked: Locked) -> None:
    ours, theirs = succeed(locked.ward), succeed(locked.lab, OTHER)
    for client, seen in ((locked.ward, [ours]), (locked.lab, [theirs]), (locked.office, [theirs, ours])):
        assert [job["id"] for job in client.get("/jobs").json()["jobs"]] == seen
        page = client.get("/jobs?limit=1").json()
        assert [job["id"] for job in page["jobs"]] == seen[:1]
        assert (page["next"] is None) == (len(seen) == 1)


def test_a_waiting_job_tells_its_place_and_nobody_s_id(locked: Locked) -> None:
    locked.pipeline.gate.clear()
    accept(locked.ward)
    wait_until(lambda: locked.office.get("/jobs?state=running").json()["jobs"] != [])
    second = accept(locked.ward, OTHER)
    third = accept(locked.lab, OTHER, **{"Cache-Control": "no-cache"})
    shown = locked.lab.get(f"/jobs/{third}")
    assert shown.json()["queue_position"] == 2
    assert second not in shown.text


def test_a_result_is_reused_over_keys_and_the_job_is_the_sender_s_own(locked: Locked) -> None:
    ours = succeed(locked.ward)
    runs = len(locked.pipeline.seen)
    theirs = succeed(locked.lab)
    assert len(locked.pipeline.seen) == runs
    assert theirs != ours
    assert locked.lab.get(f"/jobs/{theirs}").json()["reused"]
    assert locked.ward.delete(f"/jobs/{ours}/result").status_code == 204
    assert locked.lab.get(f"/jobs/{theirs}/result").json()["schema"] == "sigap.report/1"


def test_an_idempotency_key_is_its_owner_s(locked: Locked) -> None:
    named = {"Idempotency-Key": "study 1"}
    ours = accept(locked.ward, STUDY, **named)
    theirs = accept(locked.lab, OTHER, **named)
    assert ours != theirs
    assert accept(locked.ward, STUDY, **named) == ours
    again = locked.ward.post("/segment/toy", files=OTHER, headers=named)
    assert problem(again)[1]["type"] == "urn:sigap:problem:idempotency-key-reused"
