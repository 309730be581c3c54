"""Jobs as clients see them (CONTRACT, section 6): on a real server, with a toy model and its engine held at will."""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import nibabel
import numpy as np
import pytest
from fastapi import FastAPI
from PIL import Image

import toy
from held_engine import HeldEngine
from phantoms.dicom import write_series
from phantoms.nifti import nifti_bytes
from phantoms.zips import zipped
from postgres import Postgres
from serving import files_left, forget_all, is_idle, serving, wait_until
from sigap.api import jobs as jobs_api
from sigap.api.app import create_app
from sigap.api.gateway import Gateway
from sigap.encoders.formats import FORMATS
from sigap.engines.torchscript import TorchScriptEngine
from sigap.jobs import lease
from sigap.settings import Settings

ASYNC = {"Prefer": "respond-async"}
KEYS = {
    "schema": str,
    "id": str,
    "task": str,
    "state": str,
    "stage": (str, type(None)),
    "slices_done": int,
    "slices_total": int,
    "queue_position": (int, type(None)),
    "priority": str,
    "attempts": int,
    "reused": bool,
    "created_at": str,
    "started_at": (str, type(None)),
    "finished_at": (str, type(None)),
    "problem": (dict, type(None)),
    "deliveries": list,
    "links": dict,
}
Json = dict[str, Any]


def study(slices: int = 6, side: int = 12) -> bytes:
    """Air around a body; its number of slices makes it another study. Slanted, so that geometry can go wrong."""
    voxels = np.full((slices, side, side), toy.AIR_HU, np.int16)
    voxels[1:-1, 2:10, 2:10] = toy.ORGAN_HU
    voxels[2, 4:6, 4:6] = toy.LESION_HU
    affine = np.array([[-0.8, 0, 0, 10], [0, -0.8, 0.3, -20], [0, 0.1, 2.5, 30], [0, 0, 0, 1]])
    return nifti_bytes(voxels.transpose(2, 1, 0), affine)


def flat_study() -> bytes:
    """One whose affine is singular: refused."""
    return nifti_bytes(np.zeros((8, 8, 4), np.int16), np.diag([1.0, 1.0, 0.0, 1.0]))


@dataclass(frozen=True)
class Served:
    app: FastAPI
    client: httpx.Client
    engine: HeldEngine

    def post(self, content: bytes, query: str = "", **headers: str) -> httpx.Response:
        return self.client.post(f"/segment/toy{query}", files={"files": ("a", content)}, headers=headers)

    def accept(self, content: bytes, query: str = "", **headers: str) -> Json:
        response = self.post(content, query, **ASYNC, **headers)
        assert response.status_code == 202, response.text
        job: Json = response.json()
        assert response.headers["location"] == job["links"]["self"]
        assert response.headers["preference-applied"] == "respond-async"
        return job

    def job(self, job: Json) -> Json:
        current: Json = self.client.get(job["links"]["self"]).json()
        return current

    def becomes(self, job: Json, state: str) -> Json:
        wait_until(lambda: self.job(job)["state"] == state)
        return self.job(job)

    def listed(self, query: str = "") -> list[Json]:
        jobs: list[Json] = self.client.get(f"/jobs{query}").json()["jobs"]
        return jobs

    def events(self, job: Json) -> list[Json]:
        """Everything that is told of a job, to its end."""
        text = self.client.get(job["links"]["events"]).text
        blocks = [block.splitlines() for block in text.split("\n\n") if block not in ("", ":")]
        assert all(lines[0] == "event: job" and len(lines) == 2 for lines in blocks)
        return [json.loads(lines[1].removeprefix("data: ")) for lines in blocks]


Start = Callable[..., Served]


@pytest.fixture
def start(toy_repository: Path, tmp_path: Path) -> Iterator[Start]:
    """Starts servers on one data folder; all are stopped at the end."""
    with ExitStack() as stack:

        def start(on: ExitStack = stack, grace_s: int | None = None, **settings: Any) -> Served:
            engine = HeldEngine(TorchScriptEngine.load(toy_repository))
            stack.callback(engine.close)
            app = create_app(Settings(data=tmp_path, models=toy_repository, **settings), engine)
            client = on.enter_context(serving(app, grace_s=grace_s))
            return Served(app, client, engine)

        yield start


@pytest.fixture(scope="module")
def shared(toy_repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    engine = HeldEngine(TorchScriptEngine.load(toy_repository))
    app = create_app(Settings(data=tmp_path_factory.mktemp("data"), models=toy_repository, queue_length=3), engine)
    with serving(app) as client:
        yield Served(app, client, engine)
    engine.close()


@pytest.fixture
def served(shared: Served) -> Iterator[Served]:
    """Whatever a test does, nothing is left of it."""
    yield shared
    shared.engine.go.set()
    shared.engine.ready = True
    forget_all(shared.app)


@pytest.fixture
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """A job that is tried again is tried at once."""
    monkeypatch.setattr(lease, "LONGEST_PAUSE_S", 0.0)


def test_a_job_from_its_acceptance_to_its_result(served: Served) -> None:
    served.engine.go.clear()
    waiting = served.accept(study(), "?priority=batch")
    running = served.becomes(waiting, "running")
    behind = served.accept(study(7))
    served.engine.go.set()
    done = served.becomes(waiting, "succeeded")
    for job in (waiting, running, behind, done):
        assert list(job) == list(KEYS)
        assert [name for name, kind in KEYS.items() if not isinstance(job[name], kind)] == []
        assert job["schema"] == "sigap.job/1"
        assert (len(job["id"]), job["task"], job["reused"], job["problem"]) == (32, "toy", False, None)
        times = [job[name] for name in ("created_at", "started_at", "finished_at") if job[name] is not None]
        parsed = [datetime.fromisoformat(time) for time in times]
        assert all(time.tzinfo is not None for time in parsed)
        assert parsed == sorted(parsed)
    here = f"/jobs/{done['id']}"
    assert done["links"] == {
        "self": here,
        "result": f"{here}/result",
        "events": f"{here}/events",
        "image": f"{here}/image",
    }
    assert (running["stage"] in ("decode", "infer"), running["attempts"], running["queue_position"]) == (True, 1, None)
    assert (behind["state"], behind["priority"], behind["queue_position"], behind["stage"]) == (
        "queued",
        "routine",
        1,
        None,
    )
    assert (done["slices_done"], done["slices_total"], done["stage"], done["priority"]) == (6, 6, None, "batch")


def test_places_in_the_queue_follow_priority_and_arrival(served: Served) -> None:
    served.engine.go.clear()
    first = served.accept(study(4), "?priority=emergency")
    served.becomes(first, "running")
    jobs = [served.accept(study(5 + n), f"?priority={name}") for n, name in enumerate(("batch", "routine", "routine"))]
    assert [served.job(job)["queue_position"] for job in jobs] == [3, 1, 2]
    served.client.delete(jobs[1]["links"]["self"])
    assert [served.job(job)["queue_position"] for job in jobs] == [2, None, 1]


def test_two_follow_a_job_to_its_end(served: Served) -> None:
    served.engine.go.clear()
    job = served.accept(study())
    with ThreadPoolExecutor(2) as followers:
        heard = [followers.submit(served.events, job) for _ in range(2)]
        changes = served.app.state.gateway.changes
        wait_until(lambda: changes.watchers(job["id"]) == 2)
        served.engine.go.set()
        for told in heard:
            states = [entry["state"] for entry in told.result()]
            assert states[-1] == "succeeded"
            assert "running" in states
            assert "succeeded" not in states[:-1]
            assert told.result()[-1] == served.job(job)
    assert [entry["state"] for entry in served.events(job)] == ["succeeded"]


def test_events_are_passed_on_at_once_and_kept_alive(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs_api, "KEEP_ALIVE_S", 0.0)
    served.engine.go.clear()
    job = served.accept(study())
    served.becomes(job, "running")
    with served.client.stream("GET", job["links"]["events"]) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        assert response.headers["x-accel-buffering"] == "no"
        lines = response.iter_lines()
        assert next(line for line in lines if line.startswith(":")) == ":"
        # HEAD does not wait for the end.
        assert served.client.head(job["links"]["events"]).status_code == 200
        served.engine.go.set()
        last = [line for line in lines if line.startswith("data: ")][-1]
    assert json.loads(last.removeprefix("data: "))["state"] == "succeeded"


def test_an_erased_job_ends_its_followers_stream(served: Served) -> None:
    served.engine.go.clear()
    job = served.accept(study())
    with served.client.stream("GET", job["links"]["events"]) as response:
        lines = response.iter_lines()
        assert next(lines) == "event: job"
        served.client.delete(job["links"]["self"])
        told = [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")]
    assert told[-1]["state"] == "cancelled"
    assert served.client.delete(job["links"]["result"]).status_code == 204
    assert served.client.get(job["links"]["events"]).status_code == 404


def series(folder: Path) -> bytes:
    """A DICOM series, of which every format can be made."""
    voxels = np.full((6, 12, 12), toy.AIR_HU, np.int16)
    voxels[1:-1, 2:10, 2:10] = toy.ORGAN_HU
    voxels[2, 4:6, 4:6] = toy.LESION_HU
    paths = write_series(folder / "series", voxels)
    return zipped({path.name: path.read_bytes() for path in paths})


def test_every_format_before_and_after_a_restart(start: Start, tmp_path: Path) -> None:
    asked = [*(name for name in FORMATS if name != "stl"), "stl&label=blob"]
    with ExitStack() as first:
        before = start(first)
        plain = {
            name: before.post(study(), f"?format={name}", **{"Cache-Control": "no-cache"}) for name in ("nifti", "png")
        }
        job = before.becomes(before.accept(series(tmp_path)), "succeeded")
        early = {name: before.client.get(f"{job['links']['result']}?format={name}") for name in asked}
        image = before.client.get(job["links"]["image"])
    after = start()
    assert after.job(job) == job
    for name in asked:
        late = after.client.get(f"{job['links']['result']}?format={name}")
        media_type = FORMATS[name.partition("&")[0]].media_type
        assert (late.status_code, late.headers["content-type"]) == (200, media_type)
        assert late.headers["content-location"] == f"{job['links']['result']}?format={name}"
        # A zip's members carry the time of its making.
        assert late.content == early[name].content or name == "zip"
    assert after.client.get(job["links"]["image"]).content == image.content
    assert {response.status_code for response in plain.values()} == {200}


def test_a_result_that_is_waited_for_is_written_while_the_study_is_at_hand(served: Served) -> None:
    served.engine.go.clear()
    job = served.accept(study())
    served.becomes(job, "running")
    address = f"{job['links']['result']}?format=nifti"
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(served.client.get, address, headers={"Prefer": "foo, wait=20"})
        gateway: Gateway = served.app.state.gateway
        wait_until(lambda: bool(gateway.answers._wanted))
        served.engine.go.set()
        answer = waiting.result()
    assert answer.status_code == 200
    assert answer.content == served.client.get(address).content
    assert not gateway.answers._wanted
    assert not gateway.answers._ready


def test_who_waits_too_short_or_not_at_all_is_told_that_there_is_no_result_yet(served: Served) -> None:
    served.engine.go.clear()
    job = served.accept(study())
    for prefer in ("wait=1", "wait=x", "respond-async"):
        answer = served.client.get(job["links"]["result"], headers={"Prefer": prefer})
        assert (answer.status_code, answer.json()["state"]) in ((409, "queued"), (409, "running"))


def test_who_waits_for_a_result_does_not_hold_up_a_server_that_stops(start: Start) -> None:
    with ExitStack() as first, ThreadPoolExecutor() as pool:
        served = start(first)
        served.engine.go.clear()
        job = served.accept(study())
        served.becomes(job, "running")
        waiting = pool.submit(served.client.get, job["links"]["result"], headers={"Prefer": "wait=20"})
        gateway: Gateway = served.app.state.gateway
        wait_until(lambda: bool(gateway.changes.watchers(job["id"])))
        gateway.is_stopping.set()
        assert waiting.result().status_code == 409
        served.engine.go.set()


def test_a_result_that_is_not_there_yet_and_of_a_cancelled_job(served: Served) -> None:
    served.engine.go.clear()
    job = served.accept(study())
    served.becomes(job, "running")
    early = served.client.get(job["links"]["result"])
    assert (early.status_code, early.json()["type"], early.json()["state"]) == (
        409,
        "urn:sigap:problem:job-state",
        "running",
    )
    assert served.client.delete(job["links"]["result"]).json()["state"] == "running"
    served.client.delete(job["links"]["self"])
    for part in ("result", "image"):
        late = served.client.get(job["links"][part])
        assert (late.status_code, late.json()["state"]) == (409, "cancelled")


def test_a_refused_study_says_so_by_itself_and_its_upload_goes(served: Served) -> None:
    job = served.becomes(served.accept(flat_study()), "failed")
    response = served.client.get(job["links"]["result"])
    problem = response.json()
    assert (response.status_code, problem.pop("instance")[:9]) == (422, "urn:uuid:")
    assert problem == job["problem"]
    assert problem["type"] == "urn:sigap:problem:geometry-refused"
    assert problem["geometry"]["verdict"] == "refused"
    assert job["attempts"] == 1
    wait_until(lambda: not files_left(served.app))
    assert served.client.get(job["links"]["image"]).json()["state"] == "failed"
    assert served.post(flat_study()).status_code == 422


def test_cancelling_what_waits_and_what_runs(served: Served) -> None:
    batches, slices = served.engine.batches, 4000
    served.engine.go.clear()
    running, waiting = served.accept(study(slices)), served.accept(study(7))
    wait_until(lambda: served.engine.batches == batches + 1)
    for job in (running, waiting):
        answer = served.client.delete(job["links"]["self"])
        assert (answer.status_code, answer.json()["state"]) == (200, "cancelled")
        assert answer.json() == served.job(job)
        again = served.client.delete(job["links"]["self"])
        assert (again.status_code, again.json()["state"]) == (409, "cancelled")
    # One batch is still at work, which keeps no place.
    assert not is_idle(served.app)
    served.engine.go.set()
    wait_until(lambda: is_idle(served.app))
    assert served.engine.batches - batches < slices / 4
    assert files_left(served.app) == []


def test_a_plain_post_whose_job_somebody_cancels_is_told(served: Served) -> None:
    served.engine.go.clear()
    with ThreadPoolExecutor(1) as clients:
        waiting = clients.submit(served.post, study())
        wait_until(lambda: len(served.listed()) == 1)
        served.client.delete(served.listed()[0]["links"]["self"])
        assert (waiting.result().status_code, waiting.result().json()["state"]) == (409, "cancelled")


def test_erasing_takes_everything(served: Served) -> None:
    job = served.becomes(served.accept(study()), "succeeded")
    assert files_left(served.app) != []
    assert served.client.delete(job["links"]["self"]).status_code == 409
    erased = served.client.delete(job["links"]["result"])
    assert (erased.status_code, erased.content) == (204, b"")
    assert files_left(served.app) == []
    for method, name in (
        ("GET", "self"),
        ("GET", "result"),
        ("GET", "image"),
        ("DELETE", "result"),
        ("DELETE", "self"),
    ):
        gone = served.client.request(method, job["links"][name])
        assert (gone.status_code, gone.json()["type"]) == (404, "urn:sigap:problem:unknown-job")
    assert served.listed() == []


def test_lists_are_filtered_and_paged(served: Served) -> None:
    for number in range(5):
        served.becomes(
            served.accept(study(4 + number), f"?priority={'batch' if number % 2 else 'routine'}"), "succeeded"
        )
    failed = served.becomes(served.accept(flat_study()), "failed")
    everything = served.listed()
    assert everything[0] == failed
    assert [job["slices_total"] for job in everything[1:]] == [8, 7, 6, 5, 4]
    assert served.listed("?state=failed") == [failed]
    assert [job["slices_total"] for job in served.listed("?priority=batch")] == [7, 5]
    assert (served.listed("?task=other"), len(served.listed("?task=toy&state=succeeded&priority=routine"))) == ([], 3)
    paged, query = [], "?limit=4"
    while query:
        page = served.client.get(f"/jobs{query}").json()
        assert list(page) == ["jobs", "next"]
        paged.append(page["jobs"])
        query = f"?limit=4&cursor={page['next']}" if page["next"] else ""
    assert [len(page) for page in paged] == [4, 2]
    assert paged[0] + paged[1] == everything
    # A last page that is full says so.
    assert served.client.get("/jobs?limit=6").json()["next"] is None


def test_the_same_study_is_answered_at_once(served: Served, tmp_path: Path) -> None:
    voxels = np.full((4, 12, 12), toy.ORGAN_HU, np.int16)
    paths = write_series(tmp_path / "series", voxels, spacing_mm=(2.0, 1.0, 1.0))
    files = [("files", (path.name, path.read_bytes())) for path in paths]
    first = served.client.post("/segment/toy", files=files)
    batches = served.engine.batches
    renamed = [("files", (f"other{number}", part[1])) for number, (_, part) in enumerate(reversed(files))]
    again = served.client.post("/segment/toy?format=nifti&priority=emergency", files=renamed)
    assert (first.status_code, again.status_code, served.engine.batches) == (200, 200, batches)
    reused, original = served.listed()
    assert (reused["reused"], reused["state"], reused["attempts"], original["reused"]) == (True, "succeeded", 0, False)
    assert served.client.get(reused["links"]["result"]).content == first.content
    fresh = served.client.post("/segment/toy", files=files, headers={"Cache-Control": "max-age=0, no-cache"})
    assert (fresh.status_code, served.engine.batches > batches, served.listed()[0]["reused"]) == (200, True, False)
    # What two jobs share stays until both are gone.
    assert served.client.delete(original["links"]["result"]).status_code == 204
    assert served.client.get(f"{reused['links']['result']}?format=coco").status_code == 200


def test_a_key_names_one_request(served: Served) -> None:
    served.engine.go.clear()
    with ThreadPoolExecutor(3) as clients:
        key = {"Idempotency-Key": "one"}
        waiting = [clients.submit(served.post, study(), **key) for _ in range(3)]
        wait_until(
            lambda: served.app.state.gateway.changes.watchers(served.listed()[0]["id"] if served.listed() else "") == 3
        )
        assert len(served.listed()) == 1
        served.engine.go.set()
        answers = [answer.result() for answer in waiting]
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.content for answer in answers}) == 1
    repeated = served.accept(study(), **key)
    assert [job["id"] for job in served.listed()] == [repeated["id"]]
    for other, query in ((study(9), ""), (study(), "?pixel_spacing_mm=2")):
        refused = served.post(other, query, **key)
        assert (refused.status_code, refused.json()["type"]) == (422, "urn:sigap:problem:idempotency-key-reused")
    assert len(served.listed()) == 1


def test_hanging_up_cancels_unless_somebody_may_still_want_it(served: Served) -> None:
    served.engine.go.clear()
    address = served.client.base_url.join("/segment/toy")

    def hang_up(content: bytes, headers: dict[str, str]) -> None:
        with httpx.Client(timeout=httpx.Timeout(20, read=0.5)) as client, pytest.raises(httpx.ReadTimeout):
            client.post(address, files={"files": ("a", content)}, headers=headers)

    hang_up(study(4), {})
    wait_until(lambda: [job["state"] for job in served.listed()] == ["cancelled"])
    hang_up(study(5), {"Idempotency-Key": "mine"})
    (kept,) = served.listed("?state=running") + served.listed("?state=queued")
    served.engine.go.set()
    assert served.becomes(kept, "succeeded")["slices_total"] == 5


def test_with_the_engine_away_only_those_who_wait_are_let_in(served: Served) -> None:
    served.engine.ready = False
    refused = served.post(study())
    assert (refused.status_code, refused.json()["type"]) == (503, "urn:sigap:problem:engine-unavailable")
    assert int(refused.headers["retry-after"]) > 0
    assert served.listed() == []
    job = served.accept(study())
    assert served.job(job)["state"] == "queued"
    served.engine.ready = True
    assert served.becomes(job, "succeeded")["attempts"] == 1


@pytest.mark.usefixtures("no_pause")
def test_an_engine_that_goes_away_in_mid_job_is_waited_for(served: Served) -> None:
    served.engine.fails = 4  # more than errors that count would be forgiven
    job = served.becomes(served.accept(study()), "succeeded")
    assert (job["attempts"], job["problem"]) == (5, None)


def test_a_full_queue_names_the_time_and_refuses_no_other_priority(served: Served) -> None:
    served.engine.go.clear()
    for number in range(4):
        served.accept(study(4 + number))
    refused = served.post(study(9), **ASYNC)
    assert (refused.status_code, refused.json()["type"]) == (503, "urn:sigap:problem:queue-full")
    assert int(refused.headers["retry-after"]) >= 1
    assert served.accept(study(9), "?priority=batch")["state"] == "queued"
    assert len(served.listed()) == 5


def test_the_scan_lies_under_its_mask(served: Served) -> None:
    job = served.becomes(served.accept(gzip.compress(study())), "succeeded")
    scan, mask = (
        nibabel.Nifti1Image.from_bytes(gzip.decompress(served.client.get(address).content))
        for address in (job["links"]["image"], f"{job['links']['result']}?format=nifti")
    )
    original = nibabel.Nifti1Image.from_bytes(study())
    assert scan.shape == mask.shape == original.shape
    assert np.allclose(scan.affine, original.affine, atol=1e-5)
    assert np.array_equal(scan.affine, mask.affine)
    assert np.array_equal(np.asarray(scan.dataobj), np.asarray(original.dataobj))


def test_a_picture_stays_a_picture(served: Served, tmp_path: Path) -> None:
    shades = np.random.default_rng(1).integers(0, 255, (20, 30), np.uint8)
    Image.fromarray(shades).save(tmp_path / "a.png")
    job = served.becomes(served.accept((tmp_path / "a.png").read_bytes()), "succeeded")
    response = served.client.get(job["links"]["image"])
    (tmp_path / "b.png").write_bytes(response.content)
    assert response.headers["content-type"] == "image/png"
    assert np.array_equal(np.asarray(Image.open(tmp_path / "b.png")), shades)


@pytest.mark.parametrize(
    ("name", "encoding"), [("labelmap.gz", "nifti"), ("numbers.json.gz", "coco"), ("report.json.gz", "json")]
)
def test_a_damaged_result_answers_nobody_else(served: Served, name: str, encoding: str) -> None:
    whole = served.post(study(), f"?format={encoding}")
    (job,) = served.listed()
    (kept,) = (served.app.state.gateway.data.path / "jobs" / job["id"]).glob(f"result-*/{name}")
    content = kept.read_bytes()
    kept.write_bytes(content[: len(content) // 2])
    refused = served.client.get(f"{job['links']['result']}?format={encoding}")
    assert (refused.status_code, refused.json()["type"]) == (500, "urn:sigap:problem:kept-unreadable")
    batches = served.engine.batches
    again = served.post(study(), f"?format={encoding}")
    assert (again.status_code, served.engine.batches > batches, served.listed()[0]["reused"]) == (200, True, False)
    if encoding == "nifti":
        assert again.content == whole.content


def test_an_answer_outlives_its_job(toy_repository: Path, tmp_path: Path) -> None:
    engine = TorchScriptEngine.load(toy_repository)
    passed = threading.Event()

    def erase(point: str) -> None:
        if point == "answering":
            store = app.state.gateway.store
            for job in store.page():
                store.erase(job.id)
            passed.set()

    app = create_app(Settings(data=tmp_path, models=toy_repository), engine, passed=erase)
    with serving(app) as client:
        for name in ("json", "nifti", "png", "coco", "zip", "stl&label=body"):
            response = client.post(f"/segment/toy?format={name}", files={"files": ("a", study())})
            assert passed.is_set()
            assert len(response.content) == int(response.headers["content-length"]) > 0
            wait_until(lambda: not files_left(app))
    engine.close()


def test_a_stopped_server_s_job_is_ended_by_the_next(start: Start) -> None:
    slices = 2000
    with ThreadPoolExecutor(1) as clients:
        with ExitStack() as first:
            before = start(first, grace_s=0)
            before.engine.go.clear()
            address = before.client.base_url.join("/segment/toy")
            waiting = clients.submit(httpx.post, address, files={"files": ("a", study(slices))}, timeout=20)
            # The batch at hand ends, and the worker finds that the server stops.
            waiting.add_done_callback(lambda _: before.engine.go.set())
            wait_until(lambda: [job["state"] for job in before.listed()] == ["running"])
            (job,) = before.listed()
            stream = first.enter_context(before.client.stream("GET", job["links"]["events"]))
            assert next(stream.iter_lines()) == "event: job"
        stopped = waiting.result()
        assert (stopped.status_code, stopped.json()["type"]) == (503, "urn:sigap:problem:stopping")
        assert stopped.headers["location"] == job["links"]["self"]
    after = start()
    done = after.becomes(job, "succeeded")
    assert (done["slices_done"], done["attempts"]) == (slices, 2)
    assert after.client.get(job["links"]["result"]).json()["input"]["shape"] == [slices, 12, 12]


def test_a_database_that_is_away_is_said_to_be(start: Start, postgres: Postgres, database_url: str) -> None:
    served = start(database_url=database_url)
    job = served.becomes(served.accept(study()), "succeeded")
    assert served.client.get("/jobs/%00").status_code == 404
    postgres.stop()
    responses = [
        served.client.get("/health/ready"),
        served.client.get("/jobs"),
        served.client.get(job["links"]["result"]),
        served.client.get(job["links"]["events"]),
        served.client.delete(job["links"]["result"]),
        served.post(study(9)),
        served.post(study(9), **ASYNC),
    ]
    for response in responses:
        assert (response.status_code, response.json()["type"]) == (503, "urn:sigap:problem:database-unavailable")
        assert int(response.headers["retry-after"]) > 0
    assert served.client.get("/health/live").status_code == 200
    assert "sigap_jobs{" not in served.client.get("/metrics").text
    postgres.start()
    assert served.client.get("/health/ready").status_code == 200
    assert served.job(job) == job
    assert served.post(study(9)).status_code == 200
    forget_all(served.app)
