"""Many requests at once: none lost, none wrong, those too many refused at once."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from server import serving
from speed import upload

TAKEN, OFFERED = 8, 16


@dataclass(frozen=True)
class Crowd:
    """What became of `OFFERED` requests to a server that takes `TAKEN`.

    Attributes:
        right: answered 200 with the same numbers as a request alone.
        refused: answered 503 with Retry-After.
        other: anything else: lost or wrong.
        slowest_refusal_s: the longest that a refused client waited.
    """

    right: int
    refused: int
    other: int
    slowest_refusal_s: float


def rush(task: str, path: Path) -> Crowd:
    """Offer them all at once."""
    # One runs, the others wait.
    with serving(SIGAP_QUEUE_LENGTH=str(TAKEN - 1)) as server:
        alone = _numbers(upload(server.address, task, path))

        def ask(_: int) -> tuple[httpx.Response, float]:
            started = time.perf_counter()
            return upload(server.address, task, path), time.perf_counter() - started

        with ThreadPoolExecutor(OFFERED) as pool:
            answers = list(pool.map(ask, range(OFFERED)))
    right = [answer for answer, _ in answers if answer.status_code == httpx.codes.OK and _numbers(answer) == alone]
    refusals = [
        waited
        for answer, waited in answers
        if answer.status_code == httpx.codes.SERVICE_UNAVAILABLE and "Retry-After" in answer.headers
    ]
    other = OFFERED - len(right) - len(refusals)
    return Crowd(len(right), len(refusals), other, max(refusals, default=0.0))


def _numbers(answer: httpx.Response) -> Any:
    report = answer.raise_for_status().json()
    return report["labels"], report["lesions"], report["measures"]
