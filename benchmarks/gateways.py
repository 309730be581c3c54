"""A real `sigap serve` that shares its data folder and database with others, and is killed in the end."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx

from crashing import Part
from nursery import Living

_PATIENCE_S = 120.0


@contextmanager
def gateway(part: Part) -> Iterator[Living]:
    """Start it and wait until it is ready. What it logs lies beside its data folder."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {**os.environ, "SIGAP_DATA": part.data, "SIGAP_LOG_LEVEL": "warning"}
    environment |= {} if part.database_url is None else {"SIGAP_DATABASE_URL": part.database_url}
    command = [sys.executable, "-m", "sigap.cli", "serve", "--port", str(port)]
    with (
        part.beside("log").open("ab") as log,
        subprocess.Popen(command, env=environment, stderr=log) as process,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=_PATIENCE_S) as client,
    ):
        try:
            _wait(client, process)
            yield Living(part, process.pid, client, process.wait)
        finally:
            process.kill()


def _wait(client: httpx.Client, process: subprocess.Popen[bytes]) -> None:
    give_up = time.monotonic() + _PATIENCE_S
    while time.monotonic() < give_up and process.poll() is None:
        try:
            if client.get("/health/ready").status_code == httpx.codes.OK:
                return
        except httpx.TransportError:
            time.sleep(0.05)
    raise RuntimeError("the gateway did not become ready")
