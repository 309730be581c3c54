"""`make compose-test`: the containers for real, from nothing to killed ones. `make test` leaves them out."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

import dcmtk
from conftest import ROOT
from deployed import end_of
from phantoms.dicom import write_series
from phantoms.nifti import gzipped, nifti_bytes
from phantoms.patients import Patient, bleeding_head
from stack import Stack

SLICES = 64
PATIENCE_S = 240.0
WAITING, ASYNC = 2, 2


def long_study(seed: int) -> bytes:
    """A head that keeps the models busy for some seconds, each seed another one."""
    patient: Patient = bleeding_head(seed)
    voxels = np.tile(patient.voxels_hu, (SLICES // len(patient.voxels_hu), 1, 1))
    slices_mm, rows_mm, columns_mm = patient.spacing_mm
    affine = np.diag([-columns_mm, -rows_mm, slices_mm, 1.0])
    return gzipped(nifti_bytes(np.ascontiguousarray(voxels.transpose(2, 1, 0)), affine))


def numbers(report: dict[str, Any]) -> dict[str, Any]:
    """What must come out the same, whatever was killed on the way."""
    return {part: report[part] for part in ("model", "input", "geometry", "warnings", "labels", "lesions", "measures")}


def test_the_smoke_tests_pass_through_tls(stack: Stack, tmp_path: Path) -> None:
    assert stack.address.key is not None
    key_file = tmp_path / "key"
    key_file.write_text(stack.address.key)
    environment = os.environ | {
        "SIGAP_URL": stack.address.url,
        "SIGAP_KEY_FILE": str(key_file),
        "SIGAP_CA": str(stack.address.authority),
    }
    command = [sys.executable, "-m", "pytest", "tests/smoke", "-q", "-p", "no_skips"]
    environment |= {"PYTHONPATH": str(ROOT / "tests")}
    ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr + stack.logs()


def test_init_makes_the_keys_once(stack: Stack) -> None:
    again = stack.run("run", "--rm", "--no-deps", "init")
    assert "The key" not in again
    assert (
        stack.run("run", "--rm", "--no-deps", "init", "cat", "/secrets/first-key/key").split()[-1] == stack.address.key
    )


@pytest.mark.parametrize(
    ("command", "is_done"),
    [
        (["python", "-c", "import os; assert os.getuid() == 10001"], True),
        (["python", "-c", "import tritonclient.grpc"], True),
        (["python", "-c", "import torch"], False),
        (["touch", "/opt/sigap/x"], False),
        (["touch", "/data/.here"], True),
        (["cat", "/secrets/first-key/key"], False),
        (["grep", "-q", "password", "/proc/self/environ"], False),
        # No route to anywhere but its own networks.
        (["grep", "-qP", r"^\S+\t00000000\t", "/proc/net/route"], False),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, list) else "",
)
def test_the_gateway_is_shut_in(stack: Stack, command: list[str], is_done: bool) -> None:
    ended = stack.inside("gateway", *command)
    assert (ended.returncode == 0) is is_done, ended.stdout + ended.stderr


@pytest.mark.parametrize("service", ["triton", "postgres"])
def test_what_stands_behind_the_gateway_has_no_way_out(stack: Stack, service: str) -> None:
    ended = stack.inside(service, "grep", "-cP", r"^\S+\t00000000\t", "/proc/net/route")
    assert ended.stdout.strip() == "0", ended.stderr


def test_the_proxy_answers_to_its_own_name_and_says_so_to_others(client: httpx.Client) -> None:
    answer = client.get("/health/live", headers={"Host": "another.example"})
    assert (answer.status_code, answer.headers["Content-Type"]) == (421, "application/problem+json")
    assert answer.json()["type"] == "urn:sigap:problem:wrong-name"


def test_plain_http_leads_to_the_port_that_tls_was_published_on(stack: Stack, client: httpx.Client) -> None:
    answer = httpx.get(f"http://localhost:{stack.environment['SIGAP_HTTP_PORT']}/jobs?limit=1", trust_env=False)
    assert (answer.status_code, answer.headers["Location"]) == (308, f"{stack.address.url}/jobs?limit=1")


def test_an_upload_streams_through_the_proxy(stack: Stack, client: httpx.Client) -> None:
    def body() -> Iterator[bytes]:
        yield b'--x\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\n'
        for _ in range(64):
            yield os.urandom(1 << 20)
        # The client has not ended. What it has sent must lie on the gateway's disk by now, or somebody collects it.
        give_up = time.monotonic() + 60
        while int(stack.inside("gateway", "du", "-sm", "/data/jobs").stdout.split()[0]) < 32:
            assert time.monotonic() < give_up, "the proxy holds the upload back"
        yield b"\r\n--x--\r\n"

    answer = client.post("/segment/liver", content=body(), headers={"Content-Type": "multipart/form-data; boundary=x"})
    assert answer.status_code == 415, answer.text


def test_events_arrive_while_the_job_runs(client: httpx.Client) -> None:
    accepted = client.post(
        "/segment/hemorrhage", files={"files": ("a", long_study(100))}, headers={"Prefer": "respond-async"}
    ).json()
    with client.stream("GET", f"/jobs/{accepted['id']}/events") as events:
        lines = events.iter_lines()
        first = next(json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: "))
        assert first["state"] in ("queued", "running")
        # Had the proxy collected them, the job would be over.
        assert client.get(f"/jobs/{accepted['id']}").json()["state"] in ("queued", "running")
        last = [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")][-1]
    assert last["state"] == "succeeded"


def insist(stack: Stack, study: bytes, key: str) -> tuple[dict[str, Any], int]:
    """A client that waits for its answer and, told that it failed, sends the request again: answer and failures."""
    failures, give_up = 0, time.monotonic() + PATIENCE_S
    while True:
        assert time.monotonic() < give_up, "never answered"
        try:
            with stack.address.client() as client:
                answer = client.post(
                    "/segment/hemorrhage", files={"files": ("a", study)}, headers={"Idempotency-Key": key}
                )
        except httpx.TransportError:
            failures += 1
        else:
            if answer.status_code == httpx.codes.OK:
                return answer.json(), failures
            assert answer.status_code >= 500, answer.text
            assert answer.headers["Content-Type"] == "application/problem+json"
            failures += 1
        time.sleep(0.5)


def wait_until_one_runs(client: httpx.Client, ids: list[str]) -> None:
    """Until the models are at work on one of these jobs."""
    give_up = time.monotonic() + PATIENCE_S
    while not any(client.get(f"/jobs/{job_id}").json()["slices_done"] for job_id in ids):
        assert time.monotonic() < give_up, "none of the jobs begins"
        time.sleep(0.05)


@pytest.mark.parametrize("service", ["gateway", "triton", "postgres", "proxy"])
def test_whichever_container_is_killed_no_request_is_lost(stack: Stack, client: httpx.Client, service: str) -> None:
    seed = 1000 * sum(service.encode())
    studies = [long_study(seed + number) for number in range(WAITING + ASYNC)]
    with ThreadPoolExecutor(WAITING) as pool:
        accepted = [
            client.post("/segment/hemorrhage", files={"files": ("a", study)}, headers={"Prefer": "respond-async"})
            for study in studies[WAITING:]
        ]
        assert [answer.status_code for answer in accepted] == [202] * ASYNC, accepted[0].text
        ids = [answer.json()["id"] for answer in accepted]
        waiting: list[Future[tuple[dict[str, Any], int]]] = [
            pool.submit(insist, stack, study, f"{service}-{number}") for number, study in enumerate(studies[:WAITING])
        ]
        wait_until_one_runs(client, ids)
        stack.kill(service)
        stack.bring_back(service)
        answered = [future.result() for future in waiting]
    stack.wait_until_ready()
    with stack.address.client() as again:
        ended = [end_of(again, job_id, PATIENCE_S) for job_id in ids]
        assert [job["state"] for job in ended] == ["succeeded"] * ASYNC, ended
        reports = [report for report, _ in answered]
        reports += [again.get(f"/jobs/{job_id}/result").raise_for_status().json() for job_id in ids]
        for study, report in zip(studies, reports, strict=True):
            undisturbed = again.post(
                "/segment/hemorrhage", files={"files": ("a", study)}, headers={"Cache-Control": "no-cache"}
            ).raise_for_status()
            assert numbers(report) == numbers(undisturbed.json())
        active = [again.get(f"/jobs?state={state}").json()["jobs"] for state in ("queued", "running")]
        assert active == [[], []]


def test_a_gateway_that_ends_by_itself_is_started_again(stack: Stack, client: httpx.Client) -> None:
    stack.inside("gateway", "python", "-c", "import os; os.kill(1, 15)")
    stack.wait_until_ready()


def test_dashboards_ask_triton_for_what_it_has(stack: Stack) -> None:
    stack.wait_until_ready()
    code = "import urllib.request; print(urllib.request.urlopen('http://triton:8002/metrics').read().decode())"
    page = stack.inside("gateway", "python", "-c", code).stdout
    board = (ROOT / "docker" / "grafana" / "dashboards" / "sigap.json").read_text()
    asked = {name for name in re.findall(r"\bnv_\w+", board) if not name.startswith("nv_gpu_")}
    assert asked
    assert asked <= set(re.findall(r"^# TYPE (\w+) ", page, re.MULTILINE))


def undecided(stack: Stack) -> list[str]:
    """Studies that the receiver keeps for a person."""
    asked = stack.inside("listen", "sigap", "pacs", "received", "--json")
    return [study["id"] for study in json.loads(asked.stdout)["studies"]] if asked.returncode == 0 else []


def wait_until_undecided(stack: Stack) -> list[str]:
    give_up = time.monotonic() + PATIENCE_S
    while not (found := undecided(stack)):
        assert time.monotonic() < give_up, stack.logs()
        time.sleep(1)
    return found


def send(stack: Stack, folder: Path) -> None:
    """By C-STORE, a series that no rule of docker/pacs/pacs.toml fits."""
    paths = write_series(folder, np.zeros((3, 32, 32), np.int16), tags={"BodyPartExamined": "KNEE"})
    port = stack.environment["SIGAP_DICOM_PORT"]
    sent = dcmtk.run("storescu", "-aec", "SIGAP", "127.0.0.1", port, *paths)
    assert sent.returncode == 0, sent.stdout + stack.logs()


def test_a_backup_brings_everything_back(stack: Stack, client: httpx.Client, tmp_path: Path) -> None:
    """docs/deployment.md, backup and restore."""
    study = long_study(900)
    names = ("files.tar", "authority.tar", "received.tar", "sigap.sql")
    files, authority, received, dump = (tmp_path / name for name in names)
    send(stack, tmp_path / "study")
    waiting = wait_until_undecided(stack)
    accepted = client.post("/segment/hemorrhage", files={"files": ("a", study)}, headers={"Prefer": "respond-async"})
    job_id = accepted.raise_for_status().json()["id"]
    end_of(client, job_id, PATIENCE_S)
    before = client.get(f"/jobs/{job_id}/result").raise_for_status().json()

    stack.run("stop", "gateway", "listen")
    stack.pipe("exec", "-T", "postgres", "pg_dump", "-U", "sigap", "--clean", "--if-exists", "sigap", target=dump)
    inside = ("run", "--rm", "--no-deps", "-T", "init")
    stack.pipe(*inside, "sh", "-c", "cd / && tar -cf - data audit secrets/*", target=files)
    stack.pipe("exec", "-T", "proxy", "tar", "-C", "/", "-cf", "-", "data/caddy", target=authority)
    receiver = ("run", "--rm", "--no-deps", "-T", "listen")
    stack.pipe(*receiver, "tar", "-C", "/", "-cf", "-", "data", target=received)
    stack.forget()
    stack.pipe(*inside, "tar", "-C", "/", "-xf", "-", source=files)
    stack.pipe("run", "--rm", "--no-deps", "-T", "proxy", "tar", "-C", "/", "-xf", "-", source=authority)
    stack.pipe(*receiver, "tar", "-C", "/", "-xf", "-", source=received)
    stack.run("up", "--detach", "postgres")
    give_up = time.monotonic() + PATIENCE_S
    while stack.inside("postgres", "pg_isready", "-U", "sigap", "-d", "sigap").returncode:
        assert time.monotonic() < give_up, "PostgreSQL does not start"
        time.sleep(1)
    restore = ("psql", "--quiet", "-1", "-v", "ON_ERROR_STOP=1", "-U", "sigap", "sigap")
    stack.pipe("exec", "-T", "postgres", *restore, source=dump)
    stack.run("up", "--detach")
    # With the key and the certificate's authority of before.
    stack.wait_until_ready()
    with stack.address.client() as again:
        assert again.get(f"/jobs/{job_id}/result").raise_for_status().json() == before
    assert wait_until_undecided(stack) == waiting


def test_three_gateways_share_the_work_and_prometheus_finds_them(stack: Stack) -> None:
    stack.run("up", "--detach", "--scale", "gateway=3")
    stack.wait_until_ready()
    query = "http://prometheus:9090/api/v1/query?query=count(up%7Bjob%3D%22gateway%22%7D%3D%3D1)"
    code = f"import urllib.request; print(urllib.request.urlopen('{query}').read().decode())"
    give_up = time.monotonic() + PATIENCE_S
    while True:
        asked = stack.inside("gateway", "python", "-c", code)
        found = json.loads(asked.stdout)["data"]["result"] if asked.returncode == 0 else []
        if found and found[0]["value"][1] == "3":
            break
        assert time.monotonic() < give_up, asked.stdout + asked.stderr
        time.sleep(1)
    with ThreadPoolExecutor(6) as pool:
        studies = [long_study(seed) for seed in range(500, 506)]
        answered = list(pool.map(lambda study: insist(stack, study, f"three-{hash(study)}"), studies))
    assert [failures for _, failures in answered] == [0] * 6
    assert all(report["labels"][0]["voxels"] for report, _ in answered)
