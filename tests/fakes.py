"""Stand-ins at the two seams of the gateway, engine and pipeline: for unit tests and suites about HTTP alone."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from phantoms.results import liver_model, result_of, small_labelmap
from sigap.core.contract import Model
from sigap.core.errors import UnknownTask
from sigap.core.result import Result
from sigap.core.study import InputFile
from sigap.engines.engine import Engine
from sigap.pipeline import Progress

MODEL = replace(liver_model(), name="toy")


class FakeEngine(Engine):
    """Knows one model and never runs it."""

    name = "fake"

    def __init__(self, *, is_ready: bool = True) -> None:
        self.ready = is_ready

    def models(self) -> tuple[Model, ...]:
        return (MODEL,)

    def model(self, task: str) -> Model:
        if task != MODEL.name:
            raise UnknownTask("There is no such task. This server has: toy.")
        return MODEL

    def is_ready(self, task: str | None = None) -> bool:
        return self.ready

    def infer(self, model: Model, slices: NDArray[np.uint8]) -> NDArray[np.uint8]:
        raise AssertionError("the fake pipeline asks no engine")

    def close(self) -> None:
        self.ready = False


class FakePipeline:
    """Reads what was uploaded and answers with a hand-made result, or fails as told.

    Attributes:
        error: raised instead of an answer.
        gate: while it is cleared, a run reports progress again and again and does not end.
        seen: for each run the uploaded bytes by client name, and what else `pipeline.run` was called with.
        started: set when a run has begun.
    """

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.gate = threading.Event()
        self.gate.set()
        self.started = threading.Event()
        self.seen: list[dict[str, Any]] = []

    def __call__(
        self,
        files: Sequence[InputFile],
        *,
        engine: Engine,
        workspace: Path,
        progress: Callable[[Progress], None],
        **more: Any,
    ) -> Result:
        self.seen.append({"files": {file.name: file.path.read_bytes() for file in files}, "count": len(files), **more})
        (workspace / "unpacked").write_bytes(b"a voxel")
        self.started.set()
        progress(Progress("infer", 0, 4))
        while not self.gate.wait(0.01):
            progress(Progress("infer", 1, 4))
        if self.error is not None:
            raise self.error
        return replace(result_of(small_labelmap()), model=MODEL, options=more["options"].as_json())
