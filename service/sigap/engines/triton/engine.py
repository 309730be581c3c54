"""The engine over any number of Triton servers."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Coroutine, Generator, Iterable, Sequence
from concurrent.futures import CancelledError, Future, wait
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from sigap.core.contract import Model
from sigap.core.errors import DeadlineExceeded, EngineUnavailable, UnknownTask
from sigap.engines.engine import Engine
from sigap.engines.triton.loop import LoopThread
from sigap.engines.triton.server import TritonServer
from sigap.engines.triton.servers import TritonServers

# What one volume may have under way: answers that wait for a paused caller lie in memory.
_IN_FLIGHT_BYTES = 64 << 20
_CHECK_EVERY_S = 0.25

Probabilities = NDArray[np.uint8]
_Answer = TypeVar("_Answer")


class TritonEngine(Engine):
    """Asks Triton servers; what tasks there are, they say.

    It is made at once, whether or not a server is there, and goes on looking for all of them.

    Args:
        addresses: host:port of each server's gRPC service.
        timeout_s: how long one volume's inference may take, time in which its caller is busy left out.
    """

    name = "triton"

    def __init__(self, addresses: Sequence[str], *, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._is_open = True
        self._closing = threading.Lock()
        self._loop = LoopThread()
        self._servers = self._loop.submit(TritonServers.start(addresses)).result()

    def wait_until_known(self, timeout_s: float) -> bool:
        """Wait for the first answer of any server; whether there was one."""
        return self._servers.is_known.wait(timeout_s)

    def models(self) -> tuple[Model, ...]:
        return self._servers.models()

    def model(self, task: str) -> Model:
        models = self.models()
        for model in models:
            if model.name == task:
                return model
        if not models:
            # Not yet reached, or started without models and told later which to load.
            raise EngineUnavailable("The inference server has not been reached yet, or has no model. Try again later.")
        raise UnknownTask(f"There is no such task. There are: {', '.join(model.name for model in models)}.")

    def is_ready(self, task: str | None = None) -> bool:
        return self._is_open and self._servers.is_ready(task)

    def infer(self, model: Model, slices: NDArray[np.uint8]) -> Probabilities:
        step = model.max_batch_size
        parts = [slices[first : first + step] for first in range(0, len(slices), step)]
        return np.concatenate(list(self.infer_all(model, parts, check=lambda: None)))

    def infer_all(
        self, model: Model, batches: Iterable[NDArray[np.uint8]], *, check: Callable[[], None]
    ) -> Generator[Probabilities, None, None]:
        budget, used = _Budget(self._timeout_s), set[TritonServer]()
        waiting, calls, depth = iter(batches), deque[Future[Probabilities]](), 1
        try:
            while True:
                while len(calls) < depth and (batch := next(waiting, None)) is not None:
                    depth = min(self._servers.depth(model), max(1, _IN_FLIGHT_BYTES // batch.nbytes))
                    work = self._servers.infer(model, batch, timeout_s=budget.left_s(), used=used)
                    calls.append(self._submit(work))
                if not calls:
                    break
                yield budget.wait(calls.popleft(), check)
            budget.wait(self._submit(self._servers.confirm(model, used)), check)
        finally:
            for call in calls:
                call.cancel()

    def _submit(self, work: Coroutine[Any, Any, _Answer]) -> Future[_Answer]:
        with self._closing:
            if self._is_open:
                return self._loop.submit(work)
        work.close()
        raise EngineUnavailable("The engine has been closed. Try again in a moment.")

    def close(self) -> None:
        with self._closing:
            if self._is_open:
                self._is_open = False
                self._loop.submit(self._servers.stop()).result()
                self._loop.stop()


class _Budget:
    """What is left of the time for one volume; only waiting is counted."""

    def __init__(self, seconds: float) -> None:
        self._left_s = seconds

    def left_s(self) -> float:
        """Raise `DeadlineExceeded` when nothing is."""
        if self._left_s <= 0:
            raise DeadlineExceeded("The inference servers took longer than a request may.")
        return self._left_s

    def wait(self, call: Future[_Answer], check: Callable[[], None]) -> _Answer:
        """Wait for an answer and look up every now and then."""
        try:
            while True:
                started = time.monotonic()
                is_done = wait([call], timeout=_CHECK_EVERY_S).done
                self._left_s -= time.monotonic() - started
                if is_done:
                    return call.result()
                check()
        except CancelledError as error:
            raise EngineUnavailable("The engine has been closed. Try again in a moment.") from error
        finally:
            call.cancel()
