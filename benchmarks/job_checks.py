"""How long a run goes on without asking whether it was cancelled, or whether an emergency waits."""

from __future__ import annotations

import tempfile
import time
from collections import defaultdict
from pathlib import Path

from sigap import pipeline
from sigap.cli.inputs import collect
from sigap.engines.torchscript import TorchScriptEngine

_ROUNDS = 3


def longest_gaps(engine: TorchScriptEngine, task: str, path: Path) -> dict[str, float]:
    """For each stage the longest time between two calls of `progress`, in s; the least of several runs."""
    rounds = [_gaps(engine, task, path) for _ in range(_ROUNDS)]
    return {stage: min(gaps[stage] for gaps in rounds) for stage in rounds[0]}


def _gaps(engine: TorchScriptEngine, task: str, path: Path) -> dict[str, float]:
    calls: list[tuple[str, float]] = []
    with tempfile.TemporaryDirectory(prefix="sigap-bench-") as folder:
        pipeline.run(
            collect(path),
            task=task,
            engine=engine,
            workspace=Path(folder),
            progress=lambda progress: calls.append((progress.stage, time.perf_counter())),
        )
    # The run's end is the last that can be waited for.
    ends = [then for _, then in calls[1:]] + [time.perf_counter()]
    longest: dict[str, float] = defaultdict(float)
    for (stage, began), ended in zip(calls, ends, strict=True):
        longest[stage] = max(longest[stage], ended - began)
    return dict(longest)
