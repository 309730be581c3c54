"""A deployed Sigap seen from outside: where it answers, with which key, and what it says."""

from __future__ import annotations

import os
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

PATIENCE_S = 60.0
_ENDED = ("succeeded", "failed", "cancelled", "dead")


@dataclass(frozen=True)
class Address:
    """How to reach it.

    Attributes:
        url: without a path.
        key: sent with every request; None: it needs none.
        authority: a PEM file of the authority that signed its certificate; None: one that this machine trusts.
    """

    url: str
    key: str | None = None
    authority: Path | None = None

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Address | None:
        """From SIGAP_URL, SIGAP_KEY_FILE and SIGAP_CA; None where no address is named."""
        url, key_file, authority = (environment.get(name) for name in ("SIGAP_URL", "SIGAP_KEY_FILE", "SIGAP_CA"))
        if not url:
            return None
        key = Path(key_file).read_text(encoding="ascii").strip() if key_file else None
        return cls(url.rstrip("/"), key, Path(authority) if authority else None)

    def client(self, **options: Any) -> httpx.Client:
        headers = {} if self.key is None else {"Authorization": f"Bearer {self.key}"}
        return self._client(headers, **options)

    def stranger(self) -> httpx.Client:
        """A client without a key."""
        return self._client({})

    def _client(self, headers: dict[str, str], **options: Any) -> httpx.Client:
        verify = ssl.create_default_context(cafile=self.authority)
        # Proxies of whoever runs this are not asked: they rarely lead to a hospital's own network.
        return httpx.Client(
            base_url=self.url, headers=headers, verify=verify, timeout=PATIENCE_S, trust_env=False, **options
        )


def wait_until_ready(client: httpx.Client, patience_s: float = PATIENCE_S) -> None:
    give_up = time.monotonic() + patience_s
    last = "nothing"
    while time.monotonic() < give_up:
        try:
            answer = client.get("/health/ready")
        except httpx.TransportError as error:
            last = repr(error)
        else:
            if answer.status_code == httpx.codes.OK:
                return
            last = f"{answer.status_code} {answer.text}"
        time.sleep(0.2)
    raise TimeoutError(f"{client.base_url} is not ready; the last answer was {last}")


def end_of(client: httpx.Client, job_id: str, patience_s: float = PATIENCE_S) -> dict[str, Any]:
    """Wait until a job has ended; what the service says of it then."""
    give_up = time.monotonic() + patience_s
    while (job := client.get(f"/jobs/{job_id}").raise_for_status().json())["state"] not in _ENDED:
        if time.monotonic() > give_up:
            raise TimeoutError(f"the job does not end: {job}")
        time.sleep(0.1)
    return dict(job)


@contextmanager
def started(data: Path, **settings: str) -> Iterator[Address]:
    """A gateway of this checkout on a free port of loopback, as `make run` starts it."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SIGAP_")}
    environment |= {"SIGAP_DATA": str(data), "SIGAP_LOG_LEVEL": "warning", **settings}
    port = free_port()
    command = [sys.executable, "-m", "sigap.cli", "serve", "--host", "127.0.0.1", "--port", str(port)]
    process = subprocess.Popen(command, env=environment)
    try:
        yield Address(f"http://127.0.0.1:{port}")
    finally:
        process.terminate()
        process.wait(PATIENCE_S)


def free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
