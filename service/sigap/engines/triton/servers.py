"""All Triton servers together: who is asked, and what is done when one fails."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Sequence

import numpy as np
import structlog
from numpy.typing import NDArray

from sigap.core.contract import Model
from sigap.core.errors import EngineUnavailable, ModelReplaced
from sigap.engines.triton.failures import CallFailed, ServerBusy
from sigap.engines.triton.server import TritonServer

_LOOK_EVERY_S, _LOOK_FOR_LOST_EVERY_S = 2.0, 0.5
# A server that is started anew is waited for; then the job is put back and tried again by its queue.
_PATIENCE_S = 20.0
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.05, 1.0
_DEEPEST = 16
_log = structlog.stdlib.get_logger("sigap.triton")


class TritonServers:
    """Watches every server and spreads calls over those that serve what is asked for.

    Lives on the engine's event loop; `models`, `is_ready` and `depth` may be asked from any thread.

    Attributes:
        is_known: set when any server has said what it serves.
    """

    def __init__(self, addresses: Sequence[str]) -> None:
        self.is_known = threading.Event()
        self._servers = tuple(TritonServer(address) for address in addresses)
        self._wake = {server: asyncio.Event() for server in self._servers}
        self._newest: dict[str, Model] = {}
        self._different: set[tuple[str, str]] = set()
        self._turn = 0
        self._asked: dict[TritonServer, int] = dict.fromkeys(self._servers, 0)
        self._watchers = [asyncio.create_task(self._watch(server)) for server in self._servers]

    @classmethod
    async def start(cls, addresses: Sequence[str]) -> TritonServers:
        """Make it on the running loop."""
        return cls(addresses)

    async def stop(self) -> None:
        for watcher in self._watchers:
            watcher.cancel()
        await asyncio.gather(*self._watchers, return_exceptions=True)
        await asyncio.gather(*(server.close() for server in self._servers))

    def models(self) -> tuple[Model, ...]:
        """The newest version of every task, by name; a task once known stays so when its servers are away."""
        return tuple(model for _, model in sorted(self._newest.items()))

    def is_ready(self, task: str | None) -> bool:
        """Whether a task's newest version, or everything that the servers list, would be answered now."""
        if task is None:
            broken = {name for server in self._servers if not server.is_away for name in server.broken}
            return bool(self._newest) and broken <= set(self._newest) and all(map(self.is_ready, list(self._newest)))
        model = self._newest.get(task)
        return model is not None and any(server.serves(model) for server in self._servers)

    def depth(self, model: Model) -> int:
        """How many batches of one volume keep all servers busy without filling a queue."""
        depth = 0
        for server in self._servers:
            served = server.served.get((model.name, model.version))
            if served is not None and server.serves(model):
                depth += min(served.instances + 1, served.queue or _DEEPEST)
        return min(max(depth, 1), _DEEPEST)

    async def infer(
        self, model: Model, slices: NDArray[np.uint8], *, timeout_s: float, used: set[TritonServer]
    ) -> NDArray[np.uint8]:
        """One batch, by whichever server can; inference changes nothing, so it may be asked for again.

        Args:
            model: the version that must answer.
            slices: one batch.
            timeout_s: for all tries together.
            used: gets every server that was asked.

        Raises:
            SigapError: as of `Engine.infer`.
        """
        clock = asyncio.get_running_loop().time
        end, pause_s = clock() + timeout_s, _FIRST_PAUSE_S
        patience = clock() + min(_PATIENCE_S, timeout_s)
        tried, failure = set[TritonServer](), None
        while True:
            server = self._choose(model, tried)
            if server is not None:
                used.add(server)
                try:
                    return await server.infer(model, slices, timeout_s=max(end - clock(), 0.001))
                except CallFailed as error:
                    failure = error
                tried.add(server)
                self._wake[server].set()
                self._publish()
                continue
            self._check_replaced(model)
            if clock() + pause_s > patience:
                raise _unavailable(failure) from failure
            await asyncio.sleep(pause_s * random.uniform(0.5, 1))  # noqa: S311 - spreads callers in time
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
            tried.clear()

    async def confirm(self, model: Model, used: set[TritonServer]) -> None:
        """Make sure that those who answered did so with this version to the end.

        Raises:
            ModelReplaced: other bytes stand under its name by now.
        """
        changed = [server for server in used if await server.has_changed(model)]
        for server in changed:
            await server.look()
        self._publish()
        if changed:
            raise _replaced(model)

    def _choose(self, model: Model, tried: set[TritonServer]) -> TritonServer | None:
        """The one with least to do for us, of equals the one that has waited longest."""
        able = [server for server in self._servers if server not in tried and server.serves(model)]
        if not able:
            return None
        chosen = min(able, key=lambda server: (server.load(model), self._asked[server]))
        self._turn += 1
        self._asked[chosen] = self._turn
        return chosen

    def _check_replaced(self, model: Model) -> None:
        newest = self._newest.get(model.name)
        is_listed = any(server.lists(model) for server in self._servers)
        if not is_listed and newest is not None and any(server.lists(newest) for server in self._servers):
            raise _replaced(model)

    async def _watch(self, server: TritonServer) -> None:
        wake = self._wake[server]
        while True:
            wake.clear()
            try:
                await server.look()
                self._publish()
            except Exception:  # noqa: BLE001 - one of ours: the server must not be given up for it
                _log.exception("looking at a triton server")
            try:
                await asyncio.wait_for(wake.wait(), _LOOK_FOR_LOST_EVERY_S if server.is_away else _LOOK_EVERY_S)
                # Whoever woke us has just seen it fail: asked at once it would say the same.
                await asyncio.sleep(_FIRST_PAUSE_S)
            except TimeoutError:
                pass

    def _publish(self) -> None:
        """Say what the newest versions are, of the servers that are there; a task that none of them has stays known."""
        there = [served.model for server in self._servers if not server.is_away for served in server.served.values()]
        newest = dict[str, Model]()
        for model in there:
            known = newest.setdefault(model.name, model)
            if int(model.version) > int(known.version):
                newest[model.name] = model
            elif model.version == known.version and model != known:
                self._warn_of_difference(model)
        self._newest = self._newest | newest
        if any(not server.is_away for server in self._servers):
            self.is_known.set()

    def _warn_of_difference(self, model: Model) -> None:
        """Said once: the first server counts, the other one is not asked for this model."""
        if (model.name, model.version) not in self._different:
            self._different.add((model.name, model.version))
            _log.error("triton servers differ under one version", model=model.name, version=model.version)


def _replaced(model: Model) -> ModelReplaced:
    return ModelReplaced(f"Version {model.version} of the model was replaced meanwhile. Send the study again.")


def _unavailable(failure: CallFailed | None) -> EngineUnavailable:
    if isinstance(failure, ServerBusy):
        return EngineUnavailable("The inference server has more to do than it can take. Try again in a moment.")
    return EngineUnavailable("The inference server does not answer. Try again in a moment.")
