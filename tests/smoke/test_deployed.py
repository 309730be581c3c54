"""Does a deployed stack work? In under a minute, from outside, over its own address, certificate and key.

    SIGAP_URL=https://sigap.hospital SIGAP_KEY_FILE=key SIGAP_CA=authority.pem .venv/bin/python -m pytest tests/smoke

Without SIGAP_URL the tests start gateways of this checkout. They erase the jobs that they made.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import numpy as np
import pytest

import answers
from deployed import Address, end_of
from phantoms.dicom import write_series
from phantoms.nifti import gzipped, nifti_bytes
from phantoms.patients import Patient, abdomen_with_tumour, bleeding_head
from phantoms.pictures import encoded
from phantoms.zips import zipped
from sigap.imaging.window import window

PATIENTS = {patient.task: patient for patient in (bleeding_head(), abdomen_with_tumour())}
# Nothing is answered from what an earlier run of these tests has left.
ANEW = {"Cache-Control": "no-cache"}


def nifti(patient: Patient) -> bytes:
    slices_mm, rows_mm, columns_mm = patient.spacing_mm
    affine = np.diag([-columns_mm, -rows_mm, slices_mm, 1.0])
    return gzipped(nifti_bytes(np.ascontiguousarray(patient.voxels_hu.transpose(2, 1, 0)), affine))


def dicom(patient: Patient, folder: Path) -> bytes:
    paths = write_series(folder, patient.voxels_hu, spacing_mm=patient.spacing_mm)
    return zipped({path.name: path.read_bytes() for path in paths})


def post(client: httpx.Client, task: str, content: bytes, query: str = "", **headers: str) -> httpx.Response:
    return client.post(f"/segment/{task}{query}", files={"files": ("study", content)}, headers=ANEW | headers)


@contextmanager
def erased(client: httpx.Client, *answered: httpx.Response) -> Iterator[None]:
    """Erase the jobs behind these answers at the end, whatever comes."""
    try:
        yield
    finally:
        for answer in answered:
            place = answer.headers.get("Content-Location") or answer.headers["Location"]
            client.delete(re.sub(r"/result.*|$", "/result", place, count=1))


@pytest.fixture(scope="module", params=sorted(PATIENTS))
def finding(
    request: pytest.FixtureRequest, client: httpx.Client, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, dict[str, Any]]]:
    """A phantom sent as DICOM to be answered later: where its job is, and its report."""
    task = request.param
    answer = post(
        client, task, dicom(PATIENTS[task], tmp_path_factory.mktemp("dicom") / "study"), Prefer="respond-async"
    )
    assert answer.status_code == httpx.codes.ACCEPTED, answer.text
    place = answer.headers["Location"]
    job = end_of(client, answer.json()["id"])
    with erased(client, answer):
        assert job["state"] == "succeeded", job
        yield place, client.get(f"{place}/result").raise_for_status().json()


def test_it_lives_and_is_ready(address: Address, client: httpx.Client) -> None:
    with address.stranger() as stranger:
        for path in ("/health/live", "/health/ready"):
            assert stranger.get(path).raise_for_status().json() == {"status": "ok"}


def test_it_says_what_it_is(client: httpx.Client) -> None:
    version = client.get("/version").raise_for_status().json()
    assert version["name"] == "sigap"
    models = {model["name"]: model for model in client.get("/models").raise_for_status().json()["models"]}
    assert set(PATIENTS) <= set(models)
    assert all(re.fullmatch("[0-9a-f]{64}", model["sha256"]) for model in models.values())


@pytest.mark.parametrize("path", ["/jobs", "/models", "/version", "/metrics"])
def test_without_a_key_only_an_open_server_answers(address: Address, client: httpx.Client, path: str) -> None:
    with address.stranger() as stranger:
        answer = stranger.get(path)
    assert answer.status_code == (httpx.codes.OK if address.key is None else httpx.codes.UNAUTHORIZED)


def test_a_browser_logs_in_with_its_key(address: Address, client: httpx.Client) -> None:
    with address.stranger() as browser:
        answer = browser.post("/session", json={"key": address.key or "none is asked for"})
        assert answer.status_code == httpx.codes.NO_CONTENT
        assert browser.get("/jobs").status_code == httpx.codes.OK
        if address.key is not None:
            cookie = answer.headers["Set-Cookie"].lower()
            assert "httponly" in cookie
            # Behind a proxy the gateway itself sees plain HTTP.
            assert ("secure" in cookie) is address.url.startswith("https:")


@pytest.mark.parametrize("task", sorted(PATIENTS))
def test_a_study_is_answered_while_its_client_waits(client: httpx.Client, task: str) -> None:
    patient = PATIENTS[task]
    reported = post(client, task, nifti(patient))
    assert reported.status_code == httpx.codes.OK, reported.text
    masked = post(client, task, nifti(patient), Accept="application/x-nifti")
    with erased(client, reported, masked):
        report = reported.json()
        assert (report["schema"], report["task"]) == ("sigap.report/1", task)
        assert report["input"]["shape"] == list(patient.voxels_hu.shape)
        assert report["geometry"]["verdict"] == "ok"
        answers.check_mask(masked.content, report)
        # The phantom's own liver, its own blood: an engine that answers with anything else fails here.
        assert answers.mask(masked.content)[patient.place]
        label = report["labels"][0]
        assert label["volume_ml"] == pytest.approx(label["voxels"] * np.prod(patient.spacing_mm) / 1000, rel=1e-4)


def test_dicom_is_answered_with_the_same_numbers(client: httpx.Client, finding: tuple[str, dict[str, Any]]) -> None:
    _, report = finding
    as_nifti = post(client, report["task"], nifti(PATIENTS[report["task"]]))
    with erased(client, as_nifti):
        again = as_nifti.json()
        assert [label["voxels"] for label in again["labels"]] == [label["voxels"] for label in report["labels"]]
        assert len(again["lesions"]) == len(report["lesions"])


def test_every_format_that_it_offers_can_be_read(client: httpx.Client, finding: tuple[str, dict[str, Any]]) -> None:
    place, report = finding
    parameters = client.get("/openapi.json").raise_for_status().json()["paths"]["/segment/{task}"]["post"]["parameters"]
    offered = next(parameter["schema"]["enum"] for parameter in parameters if parameter["name"] == "format")
    assert {"json", "nifti", "png", "coco", "zip"} <= set(offered)
    for name in filter(None, offered):
        label = f"&label={report['labels'][0]['name']}" if name == "stl" else ""
        answer = client.get(f"{place}/result?format={name}{label}")
        assert answer.status_code == httpx.codes.OK, f"{name}: {answer.text}"
        answers.CHECKS[name](answer.content, report)


def test_a_picture_is_answered(client: httpx.Client) -> None:
    patient = PATIENTS["hemorrhage"]
    shades = window(patient.voxels_hu[patient.place[0]], level_hu=40, width_hu=80)
    answer = post(client, patient.task, encoded(shades, "PNG"), "?pixel_spacing_mm=0.9")
    assert answer.status_code == httpx.codes.OK, answer.text
    with erased(client, answer):
        report = answer.json()
        assert report["input"]["kind"] == "png"
        assert report["labels"][0]["area_mm2"] > 0


@pytest.mark.parametrize(
    ("task", "content", "status", "slug"),
    [
        ("liver", b"GIF89a\x01\x00\x01\x00\x00\x00\x00;", 415, "unsupported-format"),
        ("liver", b"", 422, "empty-file"),
        ("liver", nifti(PATIENTS["liver"])[:2000], 422, None),
        ("spleen", nifti(PATIENTS["liver"]), 404, "unknown-task"),
        ("liver?format=tiff", nifti(PATIENTS["liver"]), 406, "not-acceptable"),
    ],
    ids=["a GIF", "nothing", "half a file", "another task", "another format"],
)
def test_what_cannot_be_answered_is_refused_with_a_reason(
    client: httpx.Client, task: str, content: bytes, status: int, slug: str | None
) -> None:
    answer = client.post(f"/segment/{task}", files={"files": ("study", content)})
    assert (answer.status_code, answer.headers["Content-Type"]) == (status, "application/problem+json")
    problem = answer.json()
    assert problem["status"] == status
    assert problem["detail"]
    assert slug is None or problem["type"] == f"urn:sigap:problem:{slug}"


def test_a_job_can_be_followed_to_its_end_and_erased(client: httpx.Client) -> None:
    patient = abdomen_with_tumour(seed=1)
    answer = post(
        client, patient.task, nifti(patient), Prefer="respond-async", **{"Idempotency-Key": f"smoke-{uuid4()}"}
    )
    assert answer.status_code == httpx.codes.ACCEPTED, answer.text
    job = answer.json()
    with client.stream("GET", f"/jobs/{job['id']}/events") as events:
        assert events.headers["Content-Type"].startswith("text/event-stream")
        told = [json.loads(line.removeprefix("data: ")) for line in events.iter_lines() if line.startswith("data: ")]
    assert told[-1]["state"] == "succeeded"
    assert {event["id"] for event in told} == {job["id"]}
    listed = client.get("/jobs?limit=1000").raise_for_status().json()["jobs"]
    assert job["id"] in [one["id"] for one in listed]
    assert client.delete(f"/jobs/{job['id']}/result").status_code == httpx.codes.NO_CONTENT
    assert client.get(f"/jobs/{job['id']}").status_code == httpx.codes.NOT_FOUND


@pytest.mark.parametrize(
    "name",
    ["sigap_requests_total", "sigap_stage_seconds_bucket", "sigap_jobs", "sigap_model_info", "sigap_stored_bytes"],
)
def test_prometheus_finds_what_it_looks_for(client: httpx.Client, name: str) -> None:
    # Of several replicas one answers, and it may have seen no study yet: the names are there all the same.
    declared = name.removesuffix("_total").removesuffix("_bucket")
    assert re.search(rf"^# HELP {declared}(_total)? ", client.get("/metrics").raise_for_status().text, re.MULTILINE)


def test_its_pages_load_nothing_from_elsewhere(client: httpx.Client) -> None:
    for path in ("/", "/docs"):
        page = client.get(path).raise_for_status()
        assert "default-src 'none'" in page.headers["Content-Security-Policy"]
        assert not re.search(r"""(src|href)=["'](https?:)?//""", page.text)
