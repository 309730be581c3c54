"""POST /segment/{task}/dicomweb: studies out of a PACS that behaves or does not, and results back into a real one."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from fastapi import FastAPI

import toy
from faulty_pacs import FaultyPacs, faulty_pacs
from phantoms.dicom import Identity, write_report, write_series
from serving import files_left, forget_all, is_idle, serving, wait_until
from sigap.api.app import create_app
from sigap.engines.torchscript import TorchScriptEngine
from sigap.settings import Settings

STUDY = Identity()
Json = dict[str, Any]


def scene(lesions: int = 1) -> np.ndarray[Any, np.dtype[np.int16]]:
    """Air around a body with a bright blob in it."""
    voxels = np.full((6, 24, 24), toy.AIR_HU, np.int16)
    voxels[1:-1, 4:20, 4:20] = toy.ORGAN_HU
    voxels[2:4, 8:12, 8 : 8 + 4 * lesions] = toy.LESION_HU
    return voxels


@dataclass(frozen=True)
class Served:
    app: FastAPI
    client: httpx.Client
    pacs: FaultyPacs

    def post(self, *, query: str = "", headers: dict[str, str] | None = None, **body: Any) -> httpx.Response:
        asked = {"source": "archive", "study_uid": STUDY.study, **body}
        return self.client.post(f"/segment/toy/dicomweb{query}", json=asked, headers=headers)


@pytest.fixture(scope="module")
def engine(toy_repository: Path) -> Iterator[TorchScriptEngine]:
    engine = TorchScriptEngine.load(toy_repository)
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def shared(
    toy_repository: Path, tmp_path_factory: pytest.TempPathFactory, engine: TorchScriptEngine
) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("pacs")
    with faulty_pacs(write_series(folder / "series", scene(), identity=STUDY)) as pacs:
        (folder / "pacs.toml").write_text(
            f'[sources.archive]\nurl = "{pacs.url}"\ntimeout_s = 0.5\n[sources.patient]\nurl = "{pacs.url}"\n'
        )
        settings = Settings(
            data=folder / "data", models=toy_repository, pacs=folder / "pacs.toml", request_timeout_s=2, max_upload_mb=1
        )
        app = create_app(settings, engine)
        with serving(app) as client:
            yield Served(app, client, pacs)


@pytest.fixture
def served(shared: Served) -> Iterator[Served]:
    files = list(shared.pacs.files)
    yield shared
    shared.pacs.gate.set()
    shared.pacs.gate = threading.Event()
    shared.pacs.fault, shared.pacs.files = "", files
    forget_all(shared.app)


def refusal(response: httpx.Response) -> tuple[int, str]:
    problem = response.json()
    assert response.headers["content-type"] == "application/problem+json"
    assert "127.0.0.1" not in response.text
    assert "PHANTOM" not in response.text
    return response.status_code, problem["type"].removeprefix("urn:sigap:problem:")


@pytest.mark.parametrize("series", [None, STUDY.series])
def test_a_study_of_the_pacs_is_answered_as_an_upload_is(served: Served, tmp_path: Path, series: str | None) -> None:
    response = served.post(series_uid=series, headers={"Cache-Control": "no-cache"})
    assert response.status_code == 200, response.text
    report = response.json()
    assert report["input"]["study_uid"] == STUDY.study
    assert report["input"]["series_uid"] == STUDY.series
    assert [lesion["label"] for lesion in report["lesions"]] == ["blob"]
    files = [("files", ("x", content)) for _, content in served.pacs.files]
    uploaded = served.client.post("/segment/toy", files=files)
    assert uploaded.json()["input"]["sha256"] == report["input"]["sha256"]
    (latest, _) = served.client.get("/jobs").json()["jobs"]
    assert latest["reused"]


def test_a_job_is_made_once_the_study_is_here_whole(served: Served) -> None:
    response = served.post(headers={"Prefer": "respond-async"})
    assert response.status_code == 202
    job = response.json()
    assert job["deliveries"] == []
    wait_until(lambda: served.client.get(job["links"]["self"]).json()["state"] == "succeeded")
    mask = served.client.get(job["links"]["result"], params={"format": "nifti"})
    assert mask.headers["content-type"] == "application/x-nifti"


@pytest.mark.parametrize(
    ("fault", "slug"),
    [
        ("401", "pacs-forbidden"),
        ("500", "pacs-unavailable"),
        ("html", "pacs-not-dicomweb"),
        ("hangs", "pacs-unavailable"),
        ("slow", "pacs-unavailable"),
        ("cut", "pacs-incomplete"),
        ("no closing boundary", "pacs-incomplete"),
        ("one image less", "pacs-incomplete"),
    ],
)
@pytest.mark.parametrize("prefer", ["respond-async", "wait=10"])
def test_a_pacs_that_misbehaves_is_a_clear_problem_and_no_job(
    served: Served, fault: str, slug: str, prefer: str
) -> None:
    served.pacs.fault = fault
    response = served.post(headers={"Prefer": prefer})
    assert refusal(response) == (503, slug)
    assert int(response.headers["retry-after"]) > 0
    assert served.client.get("/jobs").json()["jobs"] == []
    assert files_left(served.app) == []


def test_what_a_client_gets_wrong(served: Served) -> None:
    assert refusal(served.post(source="nowhere")) == (422, "unknown-source")
    assert refusal(served.post(source=served.pacs.url)) == (422, "unknown-source")
    assert refusal(served.post(store_to="nowhere")) == (422, "unknown-destination")
    assert refusal(served.post(study_uid="1.2.3")) == (422, "unknown-study")
    assert refusal(served.post(study_uid="../../etc")) == (422, "bad-parameter")
    assert refusal(served.post(series_uid="1.2.3")) == (422, "unknown-study")
    assert refusal(served.post(url="http://127.0.0.1")) == (422, "bad-parameter")
    assert refusal(served.post(query="?series_uid=1.2")) == (422, "bad-parameter")
    assert refusal(served.client.post("/segment/none/dicomweb", json={})) == (404, "unknown-task")
    place = "/segment/toy/dicomweb"
    broken = served.client.post(place, content=b"{", headers={"content-type": "application/json"})
    assert refusal(broken) == (422, "bad-parameter")
    assert refusal(served.client.post(place, data={"source": "archive"})) == (415, "not-json")
    big = {"source": "a" * 100_000, "study_uid": "1.2"}
    assert refusal(served.client.post(place, json=big)) == (413, "upload-too-large")
    assert refusal(served.client.get(place)) == (405, "method-not-allowed")


def test_several_series_are_listed_and_other_objects_are_no_ct(served: Served, tmp_path: Path) -> None:
    second = STUDY.another_series()
    with faulty_pacs(write_series(tmp_path, scene(), identity=second)) as other:
        served.pacs.files += other.files
    response = served.post()
    assert refusal(response) == (422, "geometry-refused")
    (reason,) = response.json()["geometry"]["reasons"]
    assert reason["code"] == "several_series"
    assert [series["series_uid"] for series in reason["series"]] == [STUDY.series, second.series]
    assert served.post(series_uid=second.series).json()["input"]["series_uid"] == second.series
    with faulty_pacs([write_report(tmp_path / "report.dcm", identity=STUDY)]) as other:
        served.pacs.files = other.files
    assert served.post().json()["geometry"]["reasons"][0]["code"] == "not_ct"


def test_a_series_that_is_too_large_is_refused(served: Served, tmp_path: Path) -> None:
    large = np.zeros((3, 512, 512), np.int16)
    with faulty_pacs(write_series(tmp_path, large, identity=STUDY)) as other:
        served.pacs.files = other.files
    assert refusal(served.post()) == (413, "upload-too-large")


def test_a_pull_that_takes_longer_than_a_request_may_is_over(served: Served) -> None:
    served.pacs.fault = "slow"
    # A source without a timeout of its own: the request's counts.
    assert refusal(served.post(source="patient")) == (504, "deadline-exceeded")
    assert files_left(served.app) == []


def test_a_client_that_hangs_up_while_its_study_is_pulled_leaves_nothing(served: Served) -> None:
    served.pacs.fault = "slow"
    with httpx.Client(base_url=served.client.base_url, timeout=0.3) as client, pytest.raises(httpx.ReadTimeout):
        client.post("/segment/toy/dicomweb", json={"source": "patient", "study_uid": STUDY.study})
    wait_until(lambda: is_idle(served.app) and not files_left(served.app))
    assert served.client.get("/jobs").json()["jobs"] == []


def test_metrics_count_it_as_a_request(served: Served) -> None:
    served.post()
    metrics = served.client.get("/metrics").text
    assert 'sigap_requests_total{format="json",status="200",task="toy"}' in metrics
    assert 'sigap_deliveries{state="failed"} 0.0' in metrics
