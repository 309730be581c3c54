"""Many more studies than the quota holds: what is counted, what lies on the disk, and what becomes of each study."""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from crashing import Part, Shades
from nursery import orphans, study
from serving import serving
from sigap.api.app import create_app
from sigap.api.gateway import Gateway
from sigap.settings import Settings

STUDIES = 1_000
_HELD = 300
_SENDERS = 8
_ERASED_AT_ONCE = 100
_PAUSE_S = 0.2
_PATIENCE_S = 120.0


@dataclass(frozen=True)
class Quota:
    """What was met.

    Attributes:
        quota_bytes: of all uploads and results.
        counted: the most that was counted, as a share of it.
        real: the most that lay on the disk, as a share of it.
        statuses: of all answers to uploads.
        faults: what is wrong: jobs that did not succeed, results that cannot be read, files that nobody knows.
    """

    quota_bytes: int
    counted: float
    real: float
    statuses: Counter[int]
    faults: list[str]


def crowded() -> Quota:
    """Send them all, eight at a time; who is refused for want of room erases what has ended and sends again."""
    quota_bytes = _HELD * _one_study_bytes()
    with tempfile.TemporaryDirectory(prefix="sigap-bench-") as folder:
        data = Path(folder) / "data"
        with _gateway(data, quota_bytes) as (client, scale), ThreadPoolExecutor(_SENDERS) as pool:
            clerk = _Clerk(client)
            list(pool.map(clerk.send, range(STUDIES)))
            clerk.wait()
            clerk.erase(STUDIES)
            left = client.get("/jobs?limit=1000").raise_for_status().json()["jobs"]
        faults = clerk.faults + [f"a job is {job['state']}" for job in left] + orphans(data)
    if clerk.erased != STUDIES:
        faults.append(f"{clerk.erased} succeeded")
    counted, real = scale.counted_bytes / quota_bytes, scale.real_bytes / quota_bytes
    return Quota(quota_bytes, counted, real, clerk.statuses, faults)


class _Scale:
    """Weighs at every result, before it is counted and after: the moments at which most is there."""

    def __init__(self, data: Path) -> None:
        self._jobs = data / "jobs"
        self.gateway: Gateway | None = None
        self.counted_bytes = self.real_bytes = 0

    def passed(self, point: str) -> None:
        if point in {"kept", "succeeded"} and self.gateway is not None:
            self.counted_bytes = max(self.counted_bytes, self.gateway.store.tally().used_bytes)
            self.real_bytes = max(self.real_bytes, sum(_sizes(self._jobs)))


class _Clerk:
    """Sends studies, and makes room for them."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client
        self._erasing = threading.Lock()
        self.statuses: Counter[int] = Counter()
        self.faults: list[str] = []
        self.erased = 0

    def send(self, number: int) -> None:
        """Until it is accepted. A job is not waited for: whoever waits makes no room for its result."""
        give_up = time.monotonic() + _PATIENCE_S
        files, headers = {"files": ("ct.nii.gz", study(number))}, {"Prefer": "respond-async"}
        while time.monotonic() < give_up:
            answer = self._client.post("/segment/liver", files=files, headers=headers)
            self.statuses[answer.status_code] += 1
            if answer.status_code == httpx.codes.ACCEPTED:
                return
            if answer.status_code == httpx.codes.INSUFFICIENT_STORAGE:
                self.erase(_ERASED_AT_ONCE)
            time.sleep(float(answer.headers.get("Retry-After", _PAUSE_S)))
        self.faults.append(f"study {number} never found room")

    def wait(self) -> None:
        """Until all have ended."""
        give_up = time.monotonic() + _PATIENCE_S
        while self._jobs("queued") or self._jobs("running"):
            if time.monotonic() > give_up:
                return
            self.erase(_ERASED_AT_ONCE)
            time.sleep(_PAUSE_S)

    def erase(self, most: int) -> None:
        """The oldest that have succeeded, each after its mask was read."""
        with self._erasing:
            for job in self._jobs("succeeded")[::-1][:most]:
                address = f"/jobs/{job['id']}/result"
                if self._client.get(f"{address}?format=nifti").status_code != httpx.codes.OK:
                    self.faults.append("a result cannot be read")
                self._client.delete(address).raise_for_status()
                self.erased += 1

    def _jobs(self, state: str) -> list[dict[str, Any]]:
        return list(self._client.get(f"/jobs?state={state}&limit=1000").raise_for_status().json()["jobs"])


@contextmanager
def _gateway(data: Path, quota_bytes: int) -> Iterator[tuple[httpx.Client, _Scale]]:
    """One without torch: only its bookkeeping counts here."""
    scale = _Scale(data)
    app = create_app(
        Settings(data=data, quota_gb=quota_bytes / (1 << 30)), Shades(Part(str(data))), passed=scale.passed
    )
    scale.gateway = app.state.gateway
    with serving(app) as client:
        client.timeout = httpx.Timeout(_PATIENCE_S)
        yield client, scale


def _one_study_bytes() -> int:
    with tempfile.TemporaryDirectory(prefix="sigap-bench-") as folder:
        with _gateway(Path(folder) / "data", 1 << 30) as (client, scale):
            client.post("/segment/liver", files={"files": ("ct.nii.gz", study())}).raise_for_status()
        return scale.counted_bytes


def _sizes(folder: Path) -> Iterator[int]:
    for place, _, names in os.walk(folder):
        for name in names:
            # It may be erased meanwhile.
            with suppress(FileNotFoundError):
                yield Path(place, name).stat().st_size
