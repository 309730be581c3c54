"""A real `sigap serve` in a process of its own."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import httpx

_PATIENCE_S = 120.0


@dataclass(frozen=True)
class Server:
    """Where it answers, its process, and how long it took from the start of that until it was ready."""

    address: str
    pid: int
    start_s: float


@contextmanager
def serving(**settings: str) -> Iterator[Server]:
    """Start it with SIGAP_* settings and wait until it is ready."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    with tempfile.TemporaryDirectory(prefix="sigap-bench-") as data:
        environment = {**os.environ, "SIGAP_DATA": data, "SIGAP_LOG_LEVEL": "warning", **settings}
        started = time.perf_counter()
        command = [sys.executable, "-m", "sigap.cli", "serve", "--port", str(port)]
        process = subprocess.Popen(command, env=environment)
        try:
            _wait(address, process)
            yield Server(address, process.pid, time.perf_counter() - started)
        finally:
            process.terminate()
            process.wait(_PATIENCE_S)


def _wait(address: str, process: subprocess.Popen[bytes]) -> None:
    give_up = time.monotonic() + _PATIENCE_S
    while time.monotonic() < give_up and process.poll() is None:
        try:
            if httpx.get(f"{address}/health/ready").status_code == httpx.codes.OK:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.02)
    raise RuntimeError("the server did not become ready")
