"""README's commands run as they stand there, against the shipped weights."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import nibabel
import numpy as np
import pydicom
import pytest

from conftest import ROOT
from phantoms.dicom import body, write_series

BLOCKS = re.findall(r"```sh\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
BIN = Path(sys.executable).parent
PATIENCE_S = 60


@pytest.fixture(scope="module")
def studies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files that README names."""
    folder = tmp_path_factory.mktemp("studies")
    voxels = body((4, 64, 64))
    nibabel.save(
        nibabel.Nifti1Image(voxels.transpose(2, 1, 0), np.diag([-1.0, -1.0, 5.0, 1.0])), folder / "head.nii.gz"
    )
    for name in ("abdomen", "head"):
        with zipfile.ZipFile(folder / f"{name}.zip", "w") as archive:
            for file in write_series(folder / "dicom" / name, voxels):
                archive.write(file, file.name)
    return folder


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server as `make run` starts it, on another port and data folder."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SIGAP_")}
    environment |= {"SIGAP_DATA": str(tmp_path_factory.mktemp("data")), "SIGAP_LOG_LEVEL": "warning"}
    command = [BIN / "sigap", "serve", "--host", "127.0.0.1", "--port", str(port)]
    process = subprocess.Popen(command, cwd=ROOT, env=environment)
    try:
        wait_until_ready(f"http://127.0.0.1:{port}", process)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        assert process.wait(PATIENCE_S) in (0, -signal.SIGTERM)


def wait_until_ready(address: str, process: subprocess.Popen[bytes]) -> None:
    give_up = time.monotonic() + PATIENCE_S
    while process.poll() is None and time.monotonic() < give_up:
        try:
            if httpx.get(f"{address}/health/ready").status_code == httpx.codes.OK:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    pytest.fail("the server did not become ready")


def run(script: str, folder: Path) -> str:
    command = ["bash", "-euo", "pipefail", "-c", script]
    # Not the data of whoever runs the tests.
    environment = {**os.environ, "XDG_DATA_HOME": str(folder / "share")}
    ended = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def lines(program: str) -> list[str]:
    return [line for block in BLOCKS for line in block.splitlines() if line.startswith(program)]


def test_the_curl_commands(studies: Path, address: str) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed (make setup-system)")
    commands = lines("curl ")
    assert len(commands) >= 6
    job_id = "ID"
    for line in commands:
        command = line.replace("curl ", "curl -sSf ", 1).replace("http://127.0.0.1:8000", address)
        printed = run(command.replace("/jobs/ID", f"/jobs/{job_id}"), studies)
        if "respond-async" in line:
            job_id = json.loads(printed)["id"]
        elif line.endswith("/jobs"):
            assert json.loads(printed)["jobs"][0]["id"] == job_id
        elif "events" in line:
            assert json.loads(printed.splitlines()[-2].removeprefix("data: "))["state"] == "succeeded"
        elif "DELETE" in line:
            assert not printed
        else:
            assert " -o " in line or json.loads(printed)["schema"] == "sigap.report/1"
    assert nibabel.load(studies / "mask.nii.gz").shape == (64, 64, 4)
    assert sorted(zipfile.ZipFile(studies / "all.zip").namelist()) == [
        *("coco.json", "hemorrhage.stl", "left-out.json", "mask.nii.gz", "overlay.png", "report.json"),
    ]
    assert pydicom.dcmread(studies / "seg.dcm").Modality == "SEG"
    assert pydicom.dcmread(studies / "sr.dcm").Modality == "SR"
    assert pydicom.dcmread(studies / "rtstruct.dcm").Modality == "RTSTRUCT"
    assert "sc-001.dcm" in zipfile.ZipFile(studies / "sc.zip").namelist()
    assert (studies / "tumour.stl").read_bytes().startswith(b"Sigap")


def test_the_command_line(studies: Path) -> None:
    commands = lines(".venv/bin/sigap ")
    assert len(commands) >= 4
    for line in commands:
        run(line.replace(".venv/bin/sigap", str(BIN / "sigap"), 1), studies)
    assert sorted(path.name for path in (studies / "results").iterdir()) == ["head", "head-2", "summary.csv"]
    assert (studies / "result" / "report.json").exists()
