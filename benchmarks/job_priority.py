"""How long an emergency takes beside a standing load of batch studies, against an idle server."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import httpx
import numpy as np
from server import serving

_IDLE_ROUNDS, _ROUNDS, _WAITING = 3, 10, 2
_PATIENCE_S = 600.0
_LOOK_AGAIN_S = 0.2
# Each emergency comes somewhere else in the run of the batch study.
_LATER_S = 0.4


@dataclass(frozen=True)
class Priority:
    """In s, and as ratios to the idle time.

    Attributes:
        idle_s: the emergency alone, the median of several, half of them before the load and half after it.
        p95: of all ratios.
        most: of all ratios.
        batches: studies of the load that ended meanwhile.
    """

    idle_s: float
    p95: float
    most: float
    batches: int


def emergencies(urgent: Path, routine: Path) -> Priority:
    """A real server with the shipped models: heads as emergencies, livers as the load."""
    with serving() as server, httpx.Client(base_url=server.address, timeout=_PATIENCE_S) as client:
        idle = [_emergency(client, urgent) for _ in range(_IDLE_ROUNDS)]
        is_over = threading.Event()
        load = threading.Thread(target=_keep_waiting, args=(server.address, routine, is_over))
        load.start()
        try:
            beside = [_beside_load(client, urgent, number) for number in range(_ROUNDS)]
        finally:
            is_over.set()
            load.join()
        batches = _count(client, "succeeded", "liver")
        for job in _jobs(client, "queued", "liver") + _jobs(client, "running", "liver"):
            client.delete(f"/jobs/{job['id']}")
        idle += [_emergency(client, urgent) for _ in range(_IDLE_ROUNDS)]
    ratios = np.array(beside) / median(idle)
    return Priority(median(idle), float(np.percentile(ratios, 95)), float(ratios.max()), batches)


def _beside_load(client: httpx.Client, urgent: Path, number: int) -> float:
    give_up = time.monotonic() + _PATIENCE_S
    while not (_count(client, "running", "liver") and _count(client, "queued", "liver") >= _WAITING):
        if time.monotonic() > give_up:
            raise TimeoutError("there is no load")
        time.sleep(_LOOK_AGAIN_S)
    time.sleep(_LATER_S * number)
    return _emergency(client, urgent)


def _emergency(client: httpx.Client, urgent: Path) -> float:
    started = time.perf_counter()
    _post(client, "hemorrhage", urgent, {}).raise_for_status().json()
    return time.perf_counter() - started


def _keep_waiting(address: str, routine: Path, is_over: threading.Event) -> None:
    with httpx.Client(base_url=address, timeout=_PATIENCE_S) as client:
        while not is_over.wait(_LOOK_AGAIN_S):
            if _count(client, "queued", "liver") < _WAITING:
                _post(client, "liver?priority=batch", routine, {"Prefer": "respond-async"}).raise_for_status()


def _post(client: httpx.Client, address: str, path: Path, headers: dict[str, str]) -> httpx.Response:
    # Without no-cache the answer of the round before would come back.
    headers = {"Cache-Control": "no-cache", **headers}
    with path.open("rb") as file:
        return client.post(f"/segment/{address}", files={"files": (path.name, file)}, headers=headers)


def _count(client: httpx.Client, state: str, task: str) -> int:
    return len(_jobs(client, state, task))


def _jobs(client: httpx.Client, state: str, task: str) -> list[dict[str, Any]]:
    answer = client.get("/jobs", params={"state": state, "task": task, "limit": 1000})
    return list(answer.raise_for_status().json()["jobs"])
