"""One suite over every route and every error: the status, the problem, and nothing that must not be told."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import numpy as np
import pytest
from fastapi import FastAPI

from fakes import FakeEngine, FakePipeline
from phantoms.nifti import nifti_bytes
from serving import files_left, forget_all, is_idle, serving, wait_until
from sigap.api.app import create_app
from sigap.core import errors
from sigap.core.verdict import GeometryVerdict, Reason, Severity
from sigap.jobs import lease
from sigap.jobs.job import Order, new_id
from sigap.settings import Settings

NIFTI = {"files": ("study.nii", nifti_bytes(np.zeros((4, 4, 4), np.int16), np.eye(4)))}
STUDY = {"files": ("study.nii.gz", b"bytes")}
OTHER = {"files": ("study.nii.gz", b"other bytes")}
FORM = {"content-type": "multipart/form-data; boundary=x"}
SECRET = "/home/secret/PATIENT^NAME"


@dataclass(frozen=True)
class Served:
    """A gateway with a fake pipeline."""

    app: FastAPI
    client: httpx.Client
    engine: FakeEngine
    pipeline: FakePipeline


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    engine, pipeline = FakeEngine(), FakePipeline()
    settings = Settings(data=tmp_path_factory.mktemp("data"), max_upload_mb=1, queue_length=1)
    app = create_app(settings, engine, run=pipeline)
    with pytest.MonkeyPatch.context() as patch, serving(app) as client:
        # Three tries of a failing study, and no pause between them.
        patch.setattr(lease, "LONGEST_PAUSE_S", 0.0)
        yield Served(app, client, engine, pipeline)


@pytest.fixture
def served(shared: Served) -> Iterator[Served]:
    yield shared
    shared.engine.ready, shared.pipeline.error = True, None
    shared.pipeline.gate.set()
    forget_all(shared.app)


def assert_problem(response: httpx.Response, status: int, slug: str) -> dict[str, Any]:
    problem: dict[str, Any] = response.json()
    assert (response.status_code, problem["type"]) == (status, f"urn:sigap:problem:{slug}")
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["cache-control"] == "no-store"
    assert problem["status"] == status
    assert problem["title"]
    assert problem["detail"].endswith((".", "zip", "))."))
    assert problem["instance"] == f"urn:uuid:{UUID(response.headers['x-request-id'])}"
    return problem


JOB_ROUTES = [
    ("GET", ""),
    ("DELETE", ""),
    ("GET", "/result"),
    ("DELETE", "/result"),
    ("GET", "/image"),
    ("GET", "/events"),
]

# What is wrong with the request itself: all of it known before the pipeline runs.
REQUESTS: list[tuple[str, dict[str, Any], int, str]] = [
    ("POST /segment/nope", {"files": STUDY}, 404, "unknown-task"),
    ("POST /segment/..%2Fetc", {"files": STUDY}, 404, "not-found"),
    ("POST /segment/toy?format=bmp", {"files": STUDY}, 406, "not-acceptable"),
    ("POST /segment/toy", {"files": STUDY, "headers": {"accept": "text/html"}}, 406, "not-acceptable"),
    ("POST /segment/toy?colour=red", {"files": STUDY}, 422, "bad-parameter"),
    ("POST /segment/toy?label=blob", {"files": STUDY}, 422, "bad-parameter"),
    ("POST /segment/toy?format=stl&label=spleen", {"files": STUDY}, 422, "bad-parameter"),
    ("POST /segment/toy?format=stl", {"files": STUDY}, 422, "bad-parameter"),
    ("POST /segment/toy?priority=now", {"files": STUDY}, 422, "bad-parameter"),
    ("POST /segment/toy?priority=batch&priority=routine", {"files": STUDY}, 422, "bad-parameter"),
    ("POST /segment/toy?pixel_spacing_mm=0", {"files": STUDY}, 422, "bad-parameter"),
    ("POST /segment/toy?pixel_spacing_mm=1,2,3", {"files": STUDY}, 422, "bad-parameter"),
    ("POST /segment/toy?pixel_spacing_mm=nan", {"files": STUDY}, 422, "bad-parameter"),
    ("POST /segment/toy?pixel_spacing_mm=", {"files": STUDY}, 422, "bad-parameter"),
    ("POST /segment/toy?slice_thickness_mm=inf", {"files": STUDY}, 422, "bad-parameter"),
    ("POST /segment/toy?slice_thickness_mm=-1", {"files": STUDY}, 422, "bad-parameter"),
    ("POST /segment/toy?series_uid=abc", {"files": STUDY}, 422, "bad-parameter"),
    ("POST /segment/toy?acquisition=", {"files": STUDY}, 422, "bad-parameter"),
    ("POST /segment/toy", {}, 422, "no-file"),
    ("POST /segment/toy", {"data": {"a": "b"}}, 422, "no-file"),
    ("POST /segment/toy", {"files": {"file": ("a", b"x")}}, 422, "no-file"),
    ("POST /segment/toy", {"content": b"--x--\r\n", "headers": FORM}, 422, "no-file"),
    ("POST /segment/toy", {"content": b"", "headers": FORM}, 422, "no-file"),
    ("POST /segment/toy", {"content": b"--x\r\n", "headers": FORM}, 400, "malformed-multipart"),
    ("POST /segment/toy", {"content": b"nothing", "headers": FORM}, 400, "malformed-multipart"),
    (
        "POST /segment/toy",
        {"content": b"x", "headers": {"content-type": "multipart/form-data"}},
        400,
        "malformed-multipart",
    ),
    ("POST /segment/toy", {"json": {}}, 415, "not-multipart"),
    ("POST /segment/toy", {"files": {"files": ("a", bytes(2 << 20))}}, 413, "upload-too-large"),
    ("GET /segment/toy", {}, 405, "method-not-allowed"),
    ("PUT /segment/toy", {"files": STUDY}, 405, "method-not-allowed"),
    ("POST /models", {"files": STUDY}, 405, "method-not-allowed"),
    ("DELETE /health/ready", {}, 405, "method-not-allowed"),
    ("GET /models/", {}, 404, "not-found"),
    ("POST /segment/toy", {"files": STUDY, "headers": {"Idempotency-Key": ""}}, 422, "bad-parameter"),
    ("POST /segment/toy", {"files": STUDY, "headers": {"Idempotency-Key": "k" * 256}}, 422, "bad-parameter"),
    ("POST /segment/nope", {"files": STUDY, "headers": {"Prefer": "respond-async"}}, 404, "unknown-task"),
    ("GET /jobs/", {}, 404, "not-found"),
    ("POST /jobs", {}, 405, "method-not-allowed"),
    ("GET /jobs?state=lost", {}, 422, "bad-parameter"),
    ("GET /jobs?state=receiving", {}, 422, "bad-parameter"),
    ("GET /jobs?state=", {}, 422, "bad-parameter"),
    ("GET /jobs?state=dead&state=failed", {}, 422, "bad-parameter"),
    ("GET /jobs?priority=now", {}, 422, "bad-parameter"),
    ("GET /jobs?task=%00", {}, 422, "bad-parameter"),
    ("GET /jobs?limit=0", {}, 422, "bad-parameter"),
    ("GET /jobs?limit=1001", {}, 422, "bad-parameter"),
    ("GET /jobs?cursor=abc", {}, 422, "bad-parameter"),
    ("GET /jobs?cursor=-1", {}, 422, "bad-parameter"),
    ("GET /jobs?page=2", {}, 422, "bad-parameter"),
    *[
        (f"{method} /jobs/{job_id}{part}", {}, 404, "unknown-job")
        for method, part in JOB_ROUTES
        for job_id in ("0" * 32, "x" * 500, "%00", "'; DROP TABLE jobs; --")
    ],
    (f"GET /jobs/{'0' * 32}/result?format=bmp", {}, 406, "not-acceptable"),
    (f"GET /jobs/{'0' * 32}/result?colour=red", {}, 422, "bad-parameter"),
    ("GET /docs/index.html", {}, 404, "not-found"),
    ("GET /docs/..%2f..%2f__init__.py", {}, 404, "not-found"),
]


@pytest.mark.parametrize(("line", "request_", "status", "slug"), REQUESTS)
def test_a_wrong_request(served: Served, line: str, request_: dict[str, Any], status: int, slug: str) -> None:
    runs = len(served.pipeline.seen)
    method, _, path = line.partition(" ")
    assert_problem(served.client.request(method, path, **request_), status, slug)
    assert len(served.pipeline.seen) == runs


VERDICT = GeometryVerdict((Reason("mixed_size", Severity.REFUSED, "Two sizes.", {"sizes": [[5, 5], [6, 6]]}),))

# What may go wrong while a study is worked on.
ERRORS: list[tuple[Exception, int, str]] = [
    (errors.UnsupportedFormat("Not a format we read."), 415, "unsupported-format"),
    (errors.TooLarge("Too many pixels.", slug="too-many-pixels"), 413, "too-many-pixels"),
    (errors.UnreadableInput("The file is empty.", slug="empty"), 422, "empty"),
    (errors.BadParameter("No such series."), 422, "bad-parameter"),
    (errors.GeometryRefused(VERDICT), 422, "geometry-refused"),
    (MemoryError(SECRET), 413, "too-large"),
    (errors.ModelError(SECRET), 500, "internal"),
    (errors.SigapError(SECRET), 500, "internal"),
    (ValueError(SECRET), 500, "internal"),
    (FileNotFoundError(2, "No such file", SECRET), 500, "internal"),
    (RecursionError(SECRET), 500, "internal"),
]


@pytest.mark.parametrize(("error", "status", "slug"), ERRORS, ids=lambda value: type(value).__name__)
def test_an_error_of_the_pipeline(served: Served, error: Exception, status: int, slug: str) -> None:
    served.pipeline.error = error
    response = served.client.post("/segment/toy", files=STUDY)
    problem = assert_problem(response, status, slug)
    assert "secret" not in response.text
    assert "Traceback" not in response.text
    assert (problem.get("geometry") == VERDICT.as_json()) == isinstance(error, errors.GeometryRefused)
    (job,) = served.client.get("/jobs").json()["jobs"]
    # What another try might change is tried three times; then the study waits for a person.
    is_tried_again = status == 500
    assert (job["state"], job["attempts"]) == (("dead", 3) if is_tried_again else ("failed", 1))
    assert job["problem"] == {name: value for name, value in problem.items() if name != "instance"}
    assert_problem(served.client.get(job["links"]["result"]), status, slug)
    # The upload of a refused study goes at once.
    wait_until(lambda: bool(files_left(served.app)) == is_tried_again)


def test_every_error_class_is_in_the_suite() -> None:
    def below(kind: type[errors.SigapError]) -> set[type]:
        return {kind} | {deeper for child in kind.__subclasses__() for deeper in below(child)}

    ours = {kind for kind in below(errors.SigapError) if kind.__module__ == errors.__name__}
    # Not raised by a study's work; their problems are tested here by their slugs, or with jobs (test_jobs_api).
    elsewhere = {
        errors.InputError,
        errors.UnknownTask,
        errors.EngineMissing,
        errors.EngineUnavailable,
        errors.ModelReplaced,
        errors.QueueFull,
        errors.StorageFull,
        errors.NeverRoom,
        # Of an answer, not of the work: test_dicom_answers.
        errors.FormatNotForInput,
        # Of the PACS: test_dicomweb_api.
        errors.PacsUnavailable,
        errors.PacsRefused,
        errors.DatabaseUnavailable,
        errors.DatabaseTooNew,
        errors.UnknownJob,
        errors.KeptUnreadable,
        errors.JobStateForbids,
        errors.KeyReused,
        errors.DeadlineExceeded,
        errors.Cancelled,
    }
    assert ours - elsewhere == {type(error) for error, _, _ in ERRORS if isinstance(error, errors.SigapError)}


def test_an_engine_that_is_away_refuses_before_the_upload(served: Served) -> None:
    served.engine.ready = False
    for response in (served.client.post("/segment/toy", files=STUDY), served.client.get("/health/ready")):
        assert_problem(response, 503, "engine-unavailable")
        assert int(response.headers["retry-after"]) > 0
    assert served.client.get("/health/live").status_code == 200


def test_a_full_queue_refuses_at_once_and_no_other_priority(served: Served) -> None:
    gateway = served.app.state.gateway
    places = [new_id() for _ in range(2)]
    for place in places:
        gateway.store.enter(place, Order("toy", "routine"), gateway=gateway.leases.gateway)
    response = served.client.post("/segment/toy", files=STUDY)
    assert_problem(response, 503, "queue-full")
    assert int(response.headers["retry-after"]) > 0
    assert served.client.post("/segment/toy?priority=emergency", files=STUDY).status_code == 200
    for place in places:
        gateway.store.abandon(place)
    assert served.client.post("/segment/toy", files=STUDY).status_code == 200


def test_a_request_that_takes_too_long_names_its_job_which_goes_on(tmp_path: Path) -> None:
    pipeline = FakePipeline()
    pipeline.gate.clear()
    app = create_app(Settings(data=tmp_path, request_timeout_s=0.2), FakeEngine(), run=pipeline)
    with serving(app) as client:
        response = client.post("/segment/toy", files=STUDY)
        assert_problem(response, 504, "deadline-exceeded")
        assert client.get(response.headers["location"]).json()["state"] in ("queued", "running")
        pipeline.gate.set()
        wait_until(lambda: is_idle(app))
        assert client.get(f"{response.headers['location']}/result").json()["schema"] == "sigap.report/1"


def test_a_server_that_is_stopped_tells_who_still_waits(tmp_path: Path) -> None:
    pipeline = FakePipeline()
    pipeline.gate.clear()
    app = create_app(Settings(data=tmp_path), FakeEngine(), run=pipeline)
    with ThreadPoolExecutor(1) as clients:
        with serving(app, grace_s=0) as client:
            address = str(client.base_url.join("/segment/toy"))
            waiting = clients.submit(httpx.post, address, files=STUDY, timeout=20)
            assert pipeline.started.wait(20)
        assert_problem(waiting.result(), 503, "stopping")


def test_an_upload_over_the_quota(tmp_path: Path) -> None:
    app = create_app(Settings(data=tmp_path, quota_gb=1e-5), FakeEngine(), run=FakePipeline())
    with serving(app) as client:
        assert_problem(client.post("/segment/toy", files={"files": ("a", bytes(20_000))}), 507, "storage-full")
        wait_until(lambda: not files_left(app))
        assert client.get("/jobs").json()["jobs"] == []
        assert client.post("/segment/toy", files={"files": ("a", bytes(200))}).status_code == 200


def paths(app: FastAPI) -> list[tuple[str, set[str]]]:
    """Every route and its methods."""
    described = app.openapi()["paths"]
    routes = [(path, {method.upper() for method in methods}) for path, methods in described.items()]
    return [*routes, *[(path, {"GET"}) for path in ("/", "/docs", "/openapi.json", "/docs/swagger-ui.css")]]


def address(path: str, job: str) -> str:
    return path.replace("{task}", "toy").replace("{job_id}", job)


def test_methods_are_refused_and_options_answered_alike_on_every_route(served: Served) -> None:
    job = served.client.post("/segment/toy", files=NIFTI).headers["content-location"].split("/")[2]
    for path, methods in paths(served.app):
        here = address(path, job)
        assert_problem(served.client.patch(here), 405, "method-not-allowed")
        allowed = served.client.options(here)
        assert (allowed.status_code, allowed.content) == (204, b"")
        readable = {"HEAD"} if "GET" in methods else set()
        assert set(allowed.headers["allow"].split(", ")) == methods | readable | {"OPTIONS"}
        head = served.client.head(here)
        assert head.content == b""
        assert head.status_code == (200 if readable else 405)
        # Nobody knows how long a stream of events will be.
        assert path.endswith("/events") or int(head.headers["content-length"]) > 0


def test_every_answer_has_an_id_and_is_kept_by_nobody(served: Served) -> None:
    for path, methods in paths(served.app):
        for method in methods:
            job = served.client.post("/segment/toy", files=NIFTI).headers["content-location"].split("/")[2]
            body = {} if method != "POST" else {"json": {"key": "any"}} if path == "/session" else {"files": STUDY}
            response = served.client.request(method, address(path, job), **body)
            # A form is no JSON.
            assert response.status_code in (200, 204, 409) or (response.status_code, path[-9:]) == (415, "/dicomweb")
            UUID(response.headers["x-request-id"])
            assert response.headers["x-content-type-options"] == "nosniff"
            kept = {"/": "no-cache", "/page/{name}": "no-cache"}.get(path, "no-store")
            assert response.headers["cache-control"] == ("max-age=3600" if "swagger" in path else kept), path


def test_a_client_s_own_request_id_is_not_taken_over(served: Served) -> None:
    response = served.client.get("/version", headers={"X-Request-ID": "Doe^John"})
    assert "Doe" not in str(response.headers)


@pytest.mark.parametrize(
    ("name", "media_type", "magic"),
    [
        ("json", "application/json", b"{"),
        ("nifti", "application/x-nifti", b"\x1f\x8b"),
        ("png", "image/png", b"\x89PNG"),
        ("coco", "application/vnd.sigap.coco+json", b"{"),
        ("zip", "application/zip", b"PK"),
    ],
)
def test_every_format_comes_with_its_type_and_a_name_of_ours(
    served: Served, name: str, media_type: str, magic: bytes
) -> None:
    for response in (
        served.client.post(f"/segment/toy?format={name}", files=STUDY),
        served.client.post("/segment/toy", files=OTHER, headers={"accept": f"text/html;q=0.9, {media_type}"}),
    ):
        assert response.status_code == 200
        assert response.headers["content-type"] == media_type
        assert response.content.startswith(magic)
        assert len(response.content) == int(response.headers["content-length"])
        assert re.fullmatch(r'attachment; filename="[a-z.]+"', response.headers["content-disposition"])


def test_the_report_says_what_was_asked_for_and_how_long_it_took(served: Served) -> None:
    query = "series_uid=1.2.3&acquisition=2&pixel_spacing_mm=0.5,0.7&slice_thickness_mm=3&priority=emergency"
    report = served.client.post(f"/segment/toy?{query}", files=STUDY).json()
    assert report["provenance"]["options"] == {
        "series_uid": "1.2.3",
        "acquisition": "2",
        "pixel_spacing_mm": [0.5, 0.7],
        "slice_thickness_mm": 3.0,
    }
    assert report["timings_ms"]["encode"] >= 0
    assert report["timings_ms"]["total"] >= report["timings_ms"]["infer"]


def test_one_spacing_means_both_directions(served: Served) -> None:
    report = served.client.post("/segment/toy?pixel_spacing_mm=0.5", files=STUDY).json()
    assert report["provenance"]["options"] == {"pixel_spacing_mm": [0.5, 0.5]}


def test_the_models_are_told_with_all_that_a_client_needs(served: Served) -> None:
    (model,) = served.client.get("/models").json()["models"]
    assert model["name"] == "toy"
    assert [(label["value"], label["name"], label["parent"]) for label in model["labels"]] == [
        (1, "liver", None),
        (2, "tumour", "liver"),
    ]
    assert model["labels"][1]["code"] == {
        "scheme": "SCT",
        "category": "49755003",
        "type": "108369006",
        "region": "10200004",
    }
    assert model["labels"][0]["thresholds"] == [0.3, 0.5, 0.7]
    assert model["window"] == {"level_hu": 100, "width_hu": 300}
    assert model["priority"] == "routine"
    assert model["model_card"]["text"] is None


def test_the_metrics_count_what_happened(tmp_path: Path) -> None:
    app = create_app(Settings(data=tmp_path), FakeEngine(), run=FakePipeline())
    with serving(app) as client:
        client.post("/segment/toy", files=STUDY)
        client.post("/segment/toy?format=png", files=OTHER)
        client.post("/segment/toy", files=STUDY)
        client.post(f"/segment/{'x' * 50}", files=STUDY)
        lines = client.get("/metrics").text.splitlines()
    for line in (
        'sigap_requests_total{format="json",status="200",task="toy"} 2.0',
        'sigap_requests_total{format="png",status="200",task="toy"} 1.0',
        'sigap_requests_total{format="unknown",status="404",task="unknown"} 1.0',
        'sigap_stage_seconds_count{stage="infer",task="toy"} 2.0',
        'sigap_stage_seconds_count{stage="encode",task="toy"} 2.0',
        'sigap_slices_total{task="toy"} 8.0',
        'sigap_geometry_verdicts_total{task="toy",verdict="ok"} 2.0',
        'sigap_findings_total{detected="true",task="toy"} 2.0',
        'sigap_job_runs_total{outcome="succeeded",task="toy"} 2.0',
        'sigap_job_wait_seconds_count{priority="routine",task="toy"} 2.0',
        'sigap_jobs{priority="routine",state="succeeded"} 3.0',
        'sigap_jobs{priority="batch",state="dead"} 0.0',
        'sigap_oldest_job_seconds{priority="emergency"} 0.0',
        f'sigap_model_info{{sha256="{"a" * 64}",task="toy",version="1"}} 1.0',
    ):
        assert line in lines


def test_problems_are_json_that_every_parser_reads(served: Served) -> None:
    text = served.client.get("/nope").text
    assert json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
