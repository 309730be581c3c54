"""What `make triton` runs: a real Triton and a gateway in front of it, both of which end with Ctrl-C."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import numpy as np

from conftest import ROOT
from phantoms.nifti import nifti_bytes

PATIENCE_S = 120


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def test_both_are_started_and_ctrl_c_ends_both(tritonserver: Path, slow_repository: Path, tmp_path: Path) -> None:
    assert tritonserver.is_dir()
    port = free_port()
    settings = {"SIGAP_MODELS": str(slow_repository), "SIGAP_DATA": str(tmp_path), "SIGAP_PORT": str(port)}
    command = [sys.executable, str(ROOT / "docker" / "triton" / "triton_and_gateway.py")]
    # A terminal's Ctrl-C goes to the whole group.
    both = subprocess.Popen(
        command, env={**os.environ, **settings}, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        address = f"http://127.0.0.1:{port}"
        wait_until_ready(address, both)
        study = nifti_bytes(np.full((12, 10, 6), 100, np.int16))
        answer = httpx.post(f"{address}/segment/slow", files={"files": ("ct.nii", study)}, timeout=PATIENCE_S)
        assert answer.raise_for_status().json()["provenance"]["engine"] == "triton"
        servers = [pid for pid in children(both.pid) if "tritonserver" in name_of(pid)]
        assert len(servers) == 1
        os.killpg(both.pid, signal.SIGINT)
        _, said = both.communicate(timeout=PATIENCE_S)
        assert both.returncode == 0, said
        assert "Traceback" not in said
        assert not Path(f"/proc/{servers[0]}").exists()
    finally:
        if both.poll() is None:
            os.killpg(both.pid, signal.SIGTERM)
            both.communicate(timeout=PATIENCE_S)


def wait_until_ready(address: str, process: subprocess.Popen[str]) -> None:
    give_up = time.monotonic() + PATIENCE_S
    while process.poll() is None and time.monotonic() < give_up:
        try:
            if httpx.get(f"{address}/health/ready").status_code == httpx.codes.OK:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise AssertionError("it did not become ready")


def children(parent: int) -> list[int]:
    text = Path(f"/proc/{parent}/task/{parent}/children").read_text()
    return [int(pid) for pid in text.split()]


def name_of(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_bytes().decode()
