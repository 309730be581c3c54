"""Times, as ratios in one run. Of several rounds the least counts: it holds least of what others took."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from server import serving

from sigap.cli.inputs import collect
from sigap.core.study import DecodeOptions, Limits, Study
from sigap.engines.torchscript import TorchScriptEngine
from sigap.imaging.batches import slice_batches
from sigap.imaging.decode import decode

_ROUNDS = 5


@dataclass(frozen=True)
class Request:
    """Upload to report over loopback beside the bare engine on the same slices; in s.

    Attributes:
        stages_s: what the report says of the whole request's stages.
    """

    whole_s: float
    bare_s: float
    stages_s: dict[str, float]


def request(engine: TorchScriptEngine, task: str, path: Path, address: str) -> Request:
    """Both take turns, so that both meet the same machine."""
    model = engine.model(task)
    batches = [batch for _, batch in slice_batches(decoded(path).volume, model.contract, model.max_batch_size)]
    whole, bare, stages = [], [], []
    for _ in range(_ROUNDS):
        started = time.perf_counter()
        report = upload(address, task, path).raise_for_status().json()
        whole.append(time.perf_counter() - started)
        stages.append({name: spent / 1000 for name, spent in report["timings_ms"].items() if name != "total"})
        bare.append(seconds(lambda: [engine.infer(model, batch) for batch in batches]))
    return Request(min(whole), min(bare), stages[whole.index(min(whole))])


def decoding(path: Path) -> float:
    """Seconds from files to a volume."""
    return min(seconds(lambda: decoded(path)) for _ in range(_ROUNDS))


def starting() -> float:
    """Seconds from the start of the process until it is ready, all models warm."""
    times = []
    for _ in range(3):
        with serving() as server:
            times.append(server.start_s)
    return min(times)


def upload(address: str, task: str, path: Path) -> httpx.Response:
    """One plain POST, answered by a new run: without the header the same study would get the kept result."""
    with path.open("rb") as file:
        return httpx.post(
            f"{address}/segment/{task}",
            files={"files": (path.name, file)},
            headers={"Cache-Control": "no-cache"},
            timeout=600,
        )


def decoded(path: Path) -> Study:
    """A study from one file."""
    with tempfile.TemporaryDirectory() as folder:
        return decode(collect(path), workspace=Path(folder), options=DecodeOptions(), limits=Limits())


def seconds(work: Callable[[], Any]) -> float:
    """How long it takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
