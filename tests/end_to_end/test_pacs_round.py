"""As a hospital has it: a scanner sends, Sigap answers, and the PACS has the result beside the images."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from pydicom import dcmread

import dcmtk
import dicom_programs
import toy
from conftest import ROOT
from orthanc import PASSWORD, TITLE, USER, Orthanc, free_ports
from phantoms.dicom import Identity, write_series
from serving import serving
from sigap.api.app import create_app
from sigap.encoders.formats import FORMATS
from sigap.engines.torchscript import TorchScriptEngine
from sigap.settings import Settings

# A process of its own starts in the middle of it.
PATIENCE_S = 60.0
SENT = [name for name in ("seg", "sr", "sc") if name in FORMATS]


@dataclass(frozen=True)
class Hospital:
    """Orthanc, a gateway and the file that names both.

    Attributes:
        client: of the gateway.
        listens_on: the receiver's port.
        file: the PACS file.
    """

    orthanc: Orthanc
    client: httpx.Client
    listens_on: int
    file: Path

    @contextmanager
    def receiver(self) -> Iterator[subprocess.Popen[bytes]]:
        """`sigap listen`, a process of its own."""
        data = self.file.parent / "received-by"
        environment = {**os.environ, "SIGAP_PACS": str(self.file), "SIGAP_DATA": str(data)}
        command = [sys.executable, "-m", "sigap.cli", "listen"]
        with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE) as process:
            try:
                assert process.stderr is not None
                assert b"listening" in process.stderr.readline()
                yield process
            finally:
                process.kill()

    def until_delivered(self, count: int) -> list[dict[str, Any]]:
        """Until so many jobs have their results delivered; the jobs."""

        def delivered() -> list[dict[str, Any]]:
            jobs = self.client.get("/jobs").json()["jobs"]
            return [job for job in jobs if [one["state"] for one in job["deliveries"]] == ["delivered"]]

        give_up = time.monotonic() + PATIENCE_S
        while len(delivered()) != count:
            assert time.monotonic() < give_up, self.client.get("/jobs").json()
            time.sleep(0.05)
        return delivered()


@pytest.fixture(scope="module")
def engine(toy_repository: Path) -> Iterator[TorchScriptEngine]:
    engine = TorchScriptEngine.load(toy_repository)
    yield engine
    engine.close()


@pytest.fixture
def hospital(orthanc: Orthanc, engine: TorchScriptEngine, toy_repository: Path, tmp_path: Path) -> Iterator[Hospital]:
    (port, gateway_port) = free_ports(2)
    (tmp_path / "password").write_text(PASSWORD)
    file = tmp_path / "pacs.toml"
    text = f"""
        [sources.archive]
        url = "{orthanc.dicomweb}"
        username = "{USER}"
        password_file = "password"

        [peers.workstation]
        ae_title = "{TITLE}"
        host = "127.0.0.1"
        port = {orthanc.port}

        [listener]
        port = {port}
        complete = "association"
        gateway = "GATEWAY"

        [[rules]]
        task = "toy"
        series = {{ kernel = ["FC13"] }}
        send_to = ["workstation"]
        """
    file.write_text(text.replace("GATEWAY", f"http://127.0.0.1:{gateway_port}"))
    app = create_app(Settings(data=tmp_path / "data", models=toy_repository, pacs=file), engine)
    with serving(app) as client:
        yield Hospital(orthanc, client, port, file)


def study(folder: Path, identity: Identity, name: str = "Sukarno^Budi") -> list[Path]:
    voxels = np.full((6, 24, 24), toy.AIR_HU, np.int16)
    voxels[1:-1, 4:20, 4:20] = toy.ORGAN_HU
    voxels[2:4, 8:12, 8:12] = toy.LESION_HU
    who = {"PatientName": name, "PatientID": "MRN-4711", "PatientSex": "F", "AccessionNumber": "A1"}
    more = {"StudyID": "1", "ReferringPhysicianName": "", "SeriesNumber": "2", "Laterality": ""}
    return write_series(folder, voxels, identity=identity, tags={**who, **more})


def results(orthanc: Orthanc, identity: Identity) -> list[dict[str, Any]]:
    """Series of the study that no scanner has sent, in Orthanc's words."""
    (found,) = orthanc.find("Study", StudyInstanceUID=identity.study)
    assert found["PatientMainDicomTags"]["PatientID"] == "MRN-4711"
    assert found["PatientMainDicomTags"]["PatientName"] == "Sukarno^Budi"
    series = orthanc.find("Series", StudyInstanceUID=identity.study)
    return [one for one in series if one["MainDicomTags"]["SeriesInstanceUID"] != identity.series]


def assert_valid(hospital: Hospital, series: Sequence[dict[str, Any]], folder: Path) -> None:
    for one in series:
        for instance in one["Instances"]:
            path = folder / f"{instance}.dcm"
            path.write_bytes(hospital.orthanc.file(instance))
            assert dicom_programs.faults(path) == []
            assert str(dcmread(path).PatientID) == "MRN-4711"


def modalities(series: Sequence[dict[str, Any]]) -> set[str]:
    return {one["MainDicomTags"]["Modality"] for one in series}


EXPECTED = {"seg": "SEG", "sr": "SR", "sc": "OT"}


def test_a_study_in_the_pacs_gets_its_results_beside_it(hospital: Hospital, tmp_path: Path) -> None:
    identity = Identity()
    hospital.orthanc.add(*study(tmp_path / "study", identity))
    asked = {"source": "archive", "study_uid": identity.study, "store_to": "archive"}
    answer = hospital.client.post("/segment/toy/dicomweb", json=asked)
    assert answer.status_code == 200, answer.text
    hospital.until_delivered(1)
    found = results(hospital.orthanc, identity)
    assert {"SEG", "SR"} <= modalities(found)
    assert len(found) >= len(SENT)
    assert_valid(hospital, found, tmp_path)
    count = len(hospital.orthanc.find("Instance"))

    # Asked for again: the kept result, the same UIDs, nothing twice.
    assert hospital.client.post("/segment/toy/dicomweb", json=asked).status_code == 200
    jobs = hospital.until_delivered(2)
    assert [job["reused"] for job in jobs] == [True, False]
    # The series is the one that was read, though the study has others by now.
    assert len(hospital.orthanc.find("Instance")) == count


def test_a_scanner_sends_and_the_workstation_has_the_result(hospital: Hospital, tmp_path: Path) -> None:
    identity = Identity()
    sent = study(tmp_path / "study", identity)
    serve_at(hospital)
    with hospital.receiver() as process:
        target = ["--aetitle", "CT1", "--call", "SIGAP", "127.0.0.1", hospital.listens_on]
        assert dcmtk.run("dcmsend", *target, *sent).returncode == 0
        hospital.until_delivered(1)
        found = results(hospital.orthanc, identity)
        assert {"SEG", "SR"} <= modalities(found)
        assert_valid(hospital, found, tmp_path)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


def test_the_orthanc_of_the_compose_file_hands_on_what_it_gets(hospital: Hospital, tmp_path: Path) -> None:
    identity = Identity()
    sent = study(tmp_path / "study", identity)
    serve_at(hospital)
    text = hospital.file.read_text()
    hospital.file.write_text(text.replace(f"port = {hospital.listens_on}", f"port = {hospital.orthanc.reports_to}"))
    with hospital.receiver(), hospital.orthanc.script(ROOT / "docker" / "orthanc" / "forward.lua"):
        target = ["--call", TITLE, "127.0.0.1", hospital.orthanc.port]
        assert dcmtk.run("storescu", *target, *sent).returncode == 0
        hospital.until_delivered(1)
        found = results(hospital.orthanc, identity)
        assert {"SEG", "SR"} <= modalities(found)
        assert_valid(hospital, found, tmp_path)


def test_a_receiver_that_is_killed_has_lost_nothing(hospital: Hospital, tmp_path: Path) -> None:
    sent = study(tmp_path / "study", Identity())
    with hospital.receiver() as process:
        target = ["--aetitle", "CT1", "--call", "SIGAP", "127.0.0.1", hospital.listens_on]
        assert dcmtk.run("storescu", *target, *sent).returncode == 0
        process.kill()
        process.wait()
    assert hospital.client.get("/jobs").json()["jobs"] == []
    serve_at(hospital, quiet_s=0.5)
    with hospital.receiver():
        (job,) = hospital.until_delivered(1)
    report = hospital.client.get(job["links"]["result"]).json()
    assert report["input"]["shape"] == [6, 24, 24]


def serve_at(hospital: Hospital, quiet_s: float = 30) -> None:
    """Tell the receiver where the gateway is: until then it is away."""
    lines = hospital.file.read_text().splitlines()
    there = [f'gateway = "{hospital.client.base_url}"' if "gateway =" in line else line for line in lines]
    there = [f"{line}\nquiet_s = {quiet_s}" if "complete =" in line else line for line in there]
    hospital.file.write_text("\n".join(there))
