"""What a request costs beside its call of the pipeline: the way through upload, queue, disk and database."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from numpy.typing import NDArray

from crashing import Part, Shades
from serving import serving
from sigap import pipeline
from sigap.api.app import create_app
from sigap.core.contract import Model
from sigap.core.result import Result
from sigap.settings import Settings

_ROUNDS = 5
_PATIENCE_S = 120.0
# All but the first and the last step end at a named point; `pipeline` is the end of its call.
_STEPS = ("entered", "stored", "accepted", "claimed", "pipeline", "kept", "succeeded", "answering", "answered")
# Without what any server has that keeps what it was sent: HTTP, hashing, syncing.
_OWN = ("accepted", "claimed", "pipeline", "kept", "succeeded", "answering")


@dataclass(frozen=True)
class Cost:
    """One request; in ms.

    Attributes:
        beside_ms: of the whole request, without its call of the pipeline (which reads the files itself): receiving,
            hashing and syncing the upload, the queue, keeping the result, the answer.
        steps_ms: what led up to each named point, in their order.
    """

    beside_ms: float
    steps_ms: dict[str, float]

    @property
    def own_ms(self) -> float:
        """The job's own part: from the upload that is safe on disk to the answer before its transfer."""
        return sum(self.steps_ms[name] for name in _OWN)


def cost(task: str, path: Path) -> Cost:
    """The least of several requests. The engine is a fake without torch, since only the rest counts here."""
    with tempfile.TemporaryDirectory(prefix="sigap-bench-") as folder:
        watch = _Watch()
        part = Part(str(Path(folder) / "data"))
        app = create_app(Settings(data=Path(part.data)), Blank(part), run=watch.run, passed=watch.passed)
        with serving(app) as client:
            client.timeout = httpx.Timeout(_PATIENCE_S)
            costs = [_request(client, task, path, watch) for _ in range(_ROUNDS)]
    return min(costs, key=lambda cost: cost.beside_ms)


class Blank(Shades):
    """Finds nothing: what brightness alone would find in a real CT takes long to measure."""

    def infer(self, model: Model, slices: NDArray[np.uint8]) -> NDArray[np.uint8]:
        rows, columns = slices.shape[2:]
        return np.zeros((len(slices), len(model.contract.labels), rows, columns), np.uint8)


class _Watch:
    """Notes when each named point was passed for the last time, and how long the pipeline ran."""

    def __init__(self) -> None:
        self.points: dict[str, float] = {}
        self.ran_s = 0.0

    def passed(self, point: str) -> None:
        self.points[point] = time.perf_counter()

    def run(self, *args: Any, **kwargs: Any) -> Result:
        started = time.perf_counter()
        try:
            return pipeline.run(*args, **kwargs)
        finally:
            self.passed("pipeline")
            self.ran_s = time.perf_counter() - started


def _request(client: httpx.Client, task: str, path: Path, watch: _Watch) -> Cost:
    watch.points.clear()
    started = time.perf_counter()
    with path.open("rb") as file:
        upload = {"files": (path.name, file)}
        # Without it the answer of the round before would come back.
        answer = client.post(f"/segment/{task}", files=upload, headers={"Cache-Control": "no-cache"})
    ended = time.perf_counter()
    answer.raise_for_status()
    times = [started, *(watch.points[name] for name in _STEPS[:-1]), ended]
    steps = {name: (then - before) * 1000 for name, (before, then) in zip(_STEPS, pairwise(times), strict=True)}
    steps["pipeline"] -= watch.ran_s * 1000
    return Cost((ended - started - watch.ran_s) * 1000, steps)
