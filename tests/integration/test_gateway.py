"""The gateway with the real pipeline and a toy model, on a real server: whole studies, hang-ups, floods."""

from __future__ import annotations

import gzip
import io
import json
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import httpx
import nibabel
import numpy as np
import pytest
from fastapi import FastAPI
from numpy.typing import NDArray

import toy
from held_engine import HeldEngine
from phantoms.dicom import write_series
from phantoms.nifti import gzipped, nifti_bytes
from serving import files_left, forget_all, is_idle, serving, wait_until
from sigap.api.app import create_app
from sigap.engines.torchscript import TorchScriptEngine
from sigap.settings import Settings

BATCH = 4  # the toy's
LIMIT_MB = 8


@dataclass(frozen=True)
class Served:
    app: FastAPI
    client: httpx.Client
    engine: HeldEngine

    def jobs(self) -> list[dict[str, Any]]:
        jobs: list[dict[str, Any]] = self.client.get("/jobs").json()["jobs"]
        return jobs

    def states(self) -> list[str]:
        return [job["state"] for job in self.jobs()]

    def raw(self) -> socket.socket:
        """A connection of one's own, to be impolite on."""
        return socket.create_connection((self.client.base_url.host, self.client.base_url.port), 20)


@pytest.fixture(scope="module")
def shared(toy_repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    engine = HeldEngine(TorchScriptEngine.load(toy_repository))
    settings = Settings(
        data=tmp_path_factory.mktemp("data"), models=toy_repository, queue_length=4, max_upload_mb=LIMIT_MB
    )
    app = create_app(settings, engine)
    with serving(app) as client:
        yield Served(app, client, engine)
    engine.close()


@pytest.fixture
def served(shared: Served) -> Iterator[Served]:
    """Whatever a test does, nothing is left of it."""
    yield shared
    shared.engine.go.set()
    forget_all(shared.app)


def block(slices: int, side: int = 12) -> NDArray[np.int16]:
    """[slice, row, column]: air around a body of `slices` - 2 times 8 x 8 voxels."""
    voxels = np.full((slices, side, side), toy.AIR_HU, np.int16)
    voxels[1:-1, 2:10, 2:10] = toy.ORGAN_HU
    return voxels


def study(slices: int) -> bytes:
    """A NIfTI file of 1 mm voxels: the body is (slices - 2) x 0.064 mL."""
    return gzipped(nifti_bytes(block(slices).transpose(2, 1, 0), np.eye(4)))


def body_ml(response: httpx.Response) -> float:
    volume_ml: float = response.json()["labels"][0]["volume_ml"]
    return volume_ml


def form(content: bytes) -> tuple[bytes, bytes]:
    """The Content-Type line and the body of a form with one file."""
    head = b'--edge\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\n'
    return b"Content-Type: multipart/form-data; boundary=edge\r\n", head + content + b"\r\n--edge--\r\n"


def request_line(task: str = "toy") -> bytes:
    return f"POST /segment/{task} HTTP/1.1\r\nHost: here\r\n".encode()


def read_answer(connection: socket.socket) -> tuple[int, dict[str, Any]]:
    """Status and JSON body of an answer with a Content-Length."""
    stream = connection.makefile("rb")
    with stream:
        status = int(stream.readline().split()[1])
        length = 0
        while (line := stream.readline().strip()) != b"":
            if line.lower().startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        return status, json.loads(stream.read(length))


def test_a_nifti_file_and_its_mask_on_the_same_grid(served: Served) -> None:
    content = study(7)
    report = served.client.post("/segment/toy", files={"files": ("scan.nii.gz", content)})
    assert report.status_code == 200
    assert body_ml(report) == pytest.approx(5 * 0.064)
    mask = served.client.post("/segment/toy?format=nifti", files={"files": ("scan.nii.gz", content)})
    image = nibabel.Nifti1Image.from_bytes(gzip.decompress(mask.content))
    assert np.array_equal(image.affine, np.eye(4))
    assert np.array_equal(np.asarray(image.dataobj).transpose(2, 1, 0), block(7) == toy.ORGAN_HU)


def test_a_dicom_series_as_files_and_as_a_zip(served: Served, tmp_path: Path) -> None:
    paths = write_series(tmp_path / "series", block(6), spacing_mm=(2.0, 1.0, 1.0))
    stream = io.BytesIO()
    with ZipFile(stream, "w") as archive:
        for path in paths:
            archive.write(path, path.name)
    single = served.client.post("/segment/toy", files=[("files", (path.name, path.read_bytes())) for path in paths])
    zipped = served.client.post("/segment/toy", files={"files": ("series.zip", stream.getvalue())})
    assert body_ml(single) == body_ml(zipped) == pytest.approx(4 * 0.128)
    assert single.json()["geometry"]["verdict"] == "ok"


def test_all_formats_in_one_zip(served: Served) -> None:
    response = served.client.post("/segment/toy?format=zip", files={"files": ("a", study(5))})
    with ZipFile(io.BytesIO(response.content)) as archive:
        assert {"report.json", "mask.nii.gz", "overlay.png", "coco.json"} <= set(archive.namelist())


def test_sixteen_hundred_files_in_one_form(served: Served, tmp_path: Path) -> None:
    """A hundred slices, each sent sixteen times: the same file twice is merely ignored."""
    voxels = np.tile(block(4)[1:2], (100, 1, 1))
    paths = write_series(tmp_path / "series", voxels, spacing_mm=(0.5, 1.0, 1.0))
    files = [("files", (f"{copy}-{path.name}", path.read_bytes())) for path in paths for copy in range(16)]
    response = served.client.post("/segment/toy", files=files)
    assert response.status_code == 200, response.text
    assert body_ml(response) == pytest.approx(100 * 0.032)
    assert len(response.json()["input"]["ignored"]) == 1500


@pytest.mark.parametrize(
    ("content", "status"),
    [(b"", 422), (b"plain text, renamed", 415), (b"GIF89a" + bytes(50), 415), (study(4)[:100], 422)],
    ids=["empty", "text", "gif", "truncated"],
)
def test_bad_files_are_refused(served: Served, content: bytes, status: int) -> None:
    response = served.client.post("/segment/toy", files={"files": ("scan.nii.gz", content)})
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("declared", [True, False], ids=["declared", "chunked"])
@pytest.mark.parametrize("is_patient", [True, False], ids=["sends-all-first", "reads-early"])
def test_too_large_an_upload_is_told_so_and_not_cut_off(served: Served, declared: bool, is_patient: bool) -> None:
    kind, body = form(bytes(3 * LIMIT_MB << 20))
    with served.raw() as connection:
        if declared:
            connection.sendall(request_line() + kind + b"Content-Length: %d\r\n\r\n" % len(body))
            if is_patient:
                connection.sendall(body)
        else:
            connection.sendall(request_line() + kind + b"Transfer-Encoding: chunked\r\n\r\n")
            # Without the last, empty chunk: a client that could still send more is answered all the same.
            sent = body if is_patient else body[: (LIMIT_MB << 20) + 1]
            connection.sendall(b"%x\r\n" % len(sent) + sent + b"\r\n" + (b"0\r\n\r\n" if is_patient else b""))
        status, problem = read_answer(connection)
    assert (status, problem["type"]) == (413, "urn:sigap:problem:upload-too-large")


def test_a_client_that_asks_first_sends_nothing_for_nothing(served: Served) -> None:
    kind, _ = form(b"")
    with served.raw() as connection:
        connection.sendall(request_line() + kind + b"Content-Length: 99999999\r\nExpect: 100-continue\r\n\r\n")
        assert read_answer(connection)[0] == 413


@pytest.mark.parametrize("task", ["toy", "nope"])
def test_a_refusal_closes_a_connection_whose_body_was_not_read(served: Served, task: str) -> None:
    with served.raw() as connection:
        connection.sendall(request_line(task) + b"Content-Type: text/plain\r\nContent-Length: 9\r\n\r\n")
        assert read_answer(connection)[0] == (415 if task == "toy" else 404)
        connection.sendall(b"the rest.")
        assert connection.recv(1) == b""


def test_hanging_up_in_the_middle_of_an_upload(served: Served) -> None:
    kind, body = form(bytes(4 << 20))
    connection = served.raw()
    connection.sendall(request_line() + kind + b"Content-Length: %d\r\n\r\n" % len(body) + body[: 2 << 20])
    wait_until(lambda: any("upload/" in name for name in files_left(served.app)))
    assert not is_idle(served.app)
    connection.close()
    wait_until(lambda: is_idle(served.app) and not files_left(served.app))
    assert served.jobs() == []


def test_hanging_up_while_the_study_runs_and_while_another_waits(served: Served) -> None:
    batches_before, slices = served.engine.batches, 4000
    served.engine.go.clear()
    connections = []
    for _ in range(2):
        kind, body = form(study(slices))
        connections.append(served.raw())
        connections[-1].sendall(request_line() + kind + b"Content-Length: %d\r\n\r\n" % len(body) + body)
    wait_until(lambda: sorted(served.states()) == ["queued", "running"] and served.engine.batches - batches_before == 1)
    for connection in connections:
        connection.close()
    # Both places are free at once, though the engine is held and one batch still runs.
    wait_until(lambda: served.states() == ["cancelled", "cancelled"])
    assert not is_idle(served.app)
    served.engine.go.set()
    wait_until(lambda: is_idle(served.app))
    assert served.engine.batches - batches_before < slices / BATCH
    wait_until(lambda: not files_left(served.app))


def test_twice_what_fits_none_lost_none_wrong_the_rest_refused_at_once(served: Served) -> None:
    places, offered = 5, 10
    served.engine.go.clear()
    refused = threading.Semaphore(0)

    def post(slices: int) -> tuple[int, httpx.Response]:
        response = served.client.post("/segment/toy", files={"files": ("a", study(slices))})
        if response.status_code == 503:
            refused.release()
        return slices, response

    with ThreadPoolExecutor(offered) as clients:
        answers = [clients.submit(post, slices) for slices in range(4, 4 + offered)]
        # The engine is held: whoever is refused is refused while nobody has been answered.
        for _ in range(offered - places):
            assert refused.acquire(timeout=20)
        served.engine.go.set()
    done = [answer.result() for answer in answers]
    answered = [(slices, response) for slices, response in done if response.status_code == 200]
    turned_away = [response for _, response in done if response.status_code == 503]
    assert (len(answered), len(turned_away)) == (places, offered - places)
    for slices, response in answered:
        assert body_ml(response) == pytest.approx((slices - 2) * 0.064)
    for response in turned_away:
        assert int(response.headers["retry-after"]) >= 1
        assert response.json()["type"] == "urn:sigap:problem:queue-full"


def test_eight_at_once_each_with_its_own_answer(toy_repository: Path, tmp_path: Path) -> None:
    engine = TorchScriptEngine.load(toy_repository)
    app = create_app(Settings(data=tmp_path, models=toy_repository), engine)
    with serving(app) as client, ThreadPoolExecutor(8) as clients:

        def post(slices: int) -> tuple[int, httpx.Response]:
            return slices, client.post("/segment/toy", files={"files": ("a", study(slices))})

        for slices, response in clients.map(post, range(4, 12)):
            assert response.status_code == 200
            assert body_ml(response) == pytest.approx((slices - 2) * 0.064)
        forget_all(app)
    engine.close()


def test_the_server_answers_others_while_a_study_runs(served: Served) -> None:
    served.engine.go.clear()
    kind, body = form(study(8))
    with served.raw() as connection:
        connection.sendall(request_line() + kind + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        wait_until(lambda: 'sigap_jobs{priority="routine",state="running"} 1.0' in served.client.get("/metrics").text)
        assert served.client.get("/health/ready").status_code == 200
        served.engine.go.set()
        assert read_answer(connection)[0] == 200
