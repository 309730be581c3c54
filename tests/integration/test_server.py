"""`serve` as a process of its own: it starts, says nothing of a patient, stops politely and leaves nothing."""

from __future__ import annotations

import json
import os
import queue
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

import toy
from phantoms.dicom import Identity, write_series
from phantoms.nifti import gzipped, nifti_bytes
from phantoms.zips import zipped
from sigap.api.server import serve
from sigap.settings import Settings, SettingsError

CODE = "from sigap.api.server import serve; from sigap.settings import read_settings; serve(read_settings())"
PATIENCE_S = 60.0


@dataclass
class Server:
    """A running server and all that it has said so far."""

    process: subprocess.Popen[str]
    lines: list[str] = field(default_factory=list)
    heard: queue.Queue[str | None] = field(default_factory=queue.Queue)
    address: str = ""

    def listen(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line)
            self.heard.put(line)
        self.heard.put(None)

    def wait_for_address(self) -> None:
        while (line := self.heard.get(timeout=PATIENCE_S)) is not None:
            if found := re.search(r"http://127\.0\.0\.1:\d+", line):
                self.address = found[0]
                return

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.lines]


@contextmanager
def started(models: Path, data: Path, **variables: str) -> Iterator[Server]:
    environment = os.environ | {"SIGAP_MODELS": str(models), "SIGAP_DATA": str(data), "SIGAP_PORT": "0"} | variables
    process = subprocess.Popen(
        [sys.executable, "-c", CODE], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    server = Server(process)
    listener = threading.Thread(target=server.listen)
    listener.start()
    try:
        server.wait_for_address()
        yield server
    finally:
        process.kill()
        process.wait(PATIENCE_S)
        listener.join(PATIENCE_S)
        for stream in (process.stdout, process.stderr):
            assert stream is not None
            stream.close()


MARKERS = {
    "name": "Zzyzx^Marker",
    "id": "MRN5550142",
    "accession": "ACC7788551",
    "birth": "19431117",
    "uid": "1.2.826.0.1.3680043.8.498.77665544332211",
    "file": "zzyzx_marker_file",
    "description": "zzyzx secret knee",
}


def marked_series(folder: Path, **tags: Any) -> dict[str, bytes]:
    """A series full of markers, by file name; `tags` break it."""
    voxels = np.full((5, 12, 12), toy.AIR_HU, np.int16)
    voxels[1:4, 2:10, 2:10] = toy.ORGAN_HU + np.arange(3)[:, None, None]
    marked = {
        "PatientName": MARKERS["name"],
        "PatientID": MARKERS["id"],
        "AccessionNumber": MARKERS["accession"],
        "PatientBirthDate": MARKERS["birth"],
        "StudyDescription": MARKERS["description"],
    }
    identity = Identity(MARKERS["uid"] + ".1", MARKERS["uid"] + ".2", MARKERS["uid"] + ".3")
    paths = write_series(folder, voxels, identity=identity, tags=marked | tags)
    return {f"{MARKERS['file']}_{number}.dcm": path.read_bytes() for number, path in enumerate(paths)}


def marked_uploads(folder: Path) -> list[dict[str, bytes]]:
    """Good studies and bad ones; what is wrong with them makes libraries complain."""
    good = marked_series(folder / "good")
    first = next(iter(good))
    nifti = nifti_bytes(np.full((8, 8, 4), 50, np.int16), fields={"descrip": MARKERS["name"].encode()})
    return [
        good,
        {f"{MARKERS['file']}.zip": zipped({f"{MARKERS['name']}/{name}": content for name, content in good.items()})},
        {name: content[: len(content) // 2] for name, content in good.items()},
        {name: content[:400] + b"\xff" * 50 + content[450:] for name, content in good.items()},
        {name: content.replace(b"11.2", b"11.x") for name, content in good.items()},
        {name: content.replace(MARKERS["birth"].encode(), b"1943XX17") for name, content in good.items()},
        marked_series(folder / "mr", Modality="MR"),
        {**good, "other.nii.gz": gzipped(nifti)},
        {f"{MARKERS['file']}.nii.gz": gzipped(nifti)},
        {f"{MARKERS['file']}.nii": nifti[:400]},
        {f"../{MARKERS['file']}": good[first] + MARKERS["name"].encode()},
        {f"{MARKERS['file']}.txt": MARKERS["name"].encode()},
        {f"{MARKERS['file']}.zip": zipped({f"../{MARKERS['file']}": b"x"})},
    ]


def test_nothing_of_a_patient_is_logged_told_or_left(toy_repository: Path, tmp_path: Path) -> None:
    statuses, data = set(), tmp_path / "data"
    with started(toy_repository, data, SIGAP_LOG_LEVEL="debug") as server:
        with httpx.Client(base_url=server.address, timeout=PATIENCE_S) as client:
            for upload in marked_uploads(tmp_path):
                for query in ("", f"?series_uid={MARKERS['uid']}.2", f"?{MARKERS['id']}={MARKERS['name']}"):
                    files = [("files", item) for item in upload.items()]
                    headers = {"X-Request-ID": MARKERS["id"], "Referer": f"http://pacs/{MARKERS['id']}"}
                    response = client.post(f"/segment/toy{query}", files=files, headers=headers)
                    statuses.add(response.status_code)
                    if response.status_code != 200:
                        assert [marker for marker in MARKERS.values() if marker in response.text] == []
            client.get(f"/{MARKERS['name']}/{MARKERS['id']}?{MARKERS['uid']}")
            client.post(f"/segment/{MARKERS['name']}")
            metrics = client.get("/metrics").text
            jobs = client.get("/jobs?limit=1000")
            names = [str(path.relative_to(data)) for path in data.rglob("*")]
            erased = [client.delete(job["links"]["result"]).status_code for job in jobs.json()["jobs"]]
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(PATIENCE_S) == 0
        assert server.process.stdout is not None
        printed = server.process.stdout.read()
    said = "".join(server.lines)
    assert {200, 415, 422} <= statuses <= {200, 413, 415, 422}
    told = said + printed + metrics + jobs.text + "".join(names)
    assert [marker for marker in MARKERS.values() if marker in told] == []
    assert len(erased) >= 2 * len(statuses)
    assert set(erased) == {204}
    assert [path for part in ("jobs", "work") for path in (data / part).iterdir()] == []
    assert data.stat().st_mode & 0o777 == 0o700
    requests = [event for event in server.events if event["event"] == "request"]
    assert len(requests) == 3 * len(marked_uploads(tmp_path / "again")) + 4 + len(erased)
    assert all(event["request_id"] and event["duration_ms"] >= 0 for event in requests)


def test_a_killed_server_s_leftovers_are_gone_and_a_second_server_stays_out(
    toy_repository: Path, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    (data / "jobs" / ("0123" * 8)).mkdir(parents=True)
    (data / "jobs" / ("0123" * 8) / "upload").write_bytes(b"a study")
    with started(toy_repository, data) as server:
        assert httpx.get(f"{server.address}/health/ready").json() == {"status": "ok"}
        assert list((data / "jobs").iterdir()) == []
        with pytest.raises(SettingsError, match="in use by another gateway"):
            serve(Settings(data=data, models=toy_repository))
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(PATIENCE_S) == 0
    assert [event for event in server.events if event["level"] == "error"] == []


def test_a_data_folder_that_cannot_be_used(toy_repository: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SettingsError, match="SIGAP_DATA cannot be used: Not a directory"):
        serve(Settings(data=tmp_path / "file" / "data", models=toy_repository))


def test_an_address_that_cannot_be_listened_on_is_found_before_the_models_are_loaded(tmp_path: Path) -> None:
    nothing = {"data": tmp_path / "data", "models": tmp_path / "no models"}
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(SettingsError, match="SIGAP_HOST and SIGAP_PORT cannot be listened on: Address already"):
            serve(Settings(port=other.getsockname()[1], **nothing))
    with pytest.raises(SettingsError, match="SIGAP_HOST and SIGAP_PORT cannot be listened on: Cannot assign"):
        serve(Settings(host="192.0.2.1", auth="off", **nothing))
    with pytest.raises(SettingsError, match="SIGAP_HOST is neither"):
        serve(Settings(host="no such.host", auth="off", **nothing))


def test_an_event_stream_does_not_hold_a_stop_up_and_the_next_server_ends_the_job(
    toy_repository: Path, tmp_path: Path
) -> None:
    voxels = np.full((400, 192, 256), toy.ORGAN_HU, np.int16)
    upload = {"files": ("a", nifti_bytes(voxels.transpose(2, 1, 0)))}
    with started(toy_repository, tmp_path) as server:
        response = httpx.post(
            f"{server.address}/segment/toy", files=upload, headers={"Prefer": "respond-async"}, timeout=PATIENCE_S
        )
        here = response.headers["location"]
        with httpx.stream("GET", f"{server.address}{here}/events", timeout=PATIENCE_S) as stream:
            lines = stream.iter_lines()
            assert next(lines) == "event: job"
            server.process.send_signal(signal.SIGTERM)
            told = [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")]
        assert server.process.wait(PATIENCE_S) == 0
    assert told[-1]["state"] in ("queued", "running")
    with started(toy_repository, tmp_path) as server:
        last = httpx.get(f"{server.address}{here}/events", timeout=PATIENCE_S).text.strip().splitlines()[-1]
        job = json.loads(last.removeprefix("data: "))
        assert (job["state"], job["slices_done"]) == ("succeeded", 400)
