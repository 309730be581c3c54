"""The toy's engine, which a test can hold, take away and let fail."""

from __future__ import annotations

import threading

import numpy as np
from numpy.typing import NDArray

from sigap.core.contract import Model
from sigap.core.errors import EngineUnavailable
from sigap.engines.engine import Engine
from sigap.engines.torchscript import TorchScriptEngine


class HeldEngine(Engine):
    """Waits before every batch while it is held, and counts them.

    Attributes:
        go: cleared, every batch waits.
        batches: begun so far.
        ready: what `is_ready` says.
        fails: so many of the next batches find the engine gone.
    """

    name = "held"

    def __init__(self, engine: TorchScriptEngine) -> None:
        self._engine = engine
        self.go = threading.Event()
        self.go.set()
        self.batches = 0
        self.ready = True
        self.fails = 0
        self.models, self.model, self.close = engine.models, engine.model, engine.close

    def is_ready(self, task: str | None = None) -> bool:
        return self.ready

    def infer(self, model: Model, slices: NDArray[np.uint8]) -> NDArray[np.uint8]:
        self.batches += 1
        self.go.wait(20)
        if self.fails:
            self.fails -= 1
            raise EngineUnavailable("The engine has gone. Try again in a moment.")
        return self._engine.infer(model, slices)
