"""One Triton server: what it serves now, whether it is there, and calls of its models."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import structlog
from numpy.typing import NDArray
from tritonclient.grpc.aio import InferenceServerClient, InferInput, InferRequestedOutput, InferResult
from tritonclient.utils import InferenceServerException

from sigap.core.contract import Model
from sigap.core.errors import ModelError
from sigap.engines.repository import model_from_config
from sigap.engines.triton.failures import (
    CallFailed,
    ModelSick,
    RegionLost,
    ServerAway,
    VersionGone,
    call_failed,
    final,
    was_answered,
)
from sigap.engines.triton.shared_memory import SharedSlots, Slot

_MESSAGE_BYTES = (1 << 31) - 1
_CHANNEL: list[tuple[str, int]] = [
    ("grpc.max_send_message_length", _MESSAGE_BYTES),
    ("grpc.max_receive_message_length", _MESSAGE_BYTES),
    # A server that comes back is found within a second, under a new address too.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1000),
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.dns_min_time_between_resolutions_ms", 1000),
    # Patients' pixels take no detour over the proxy that the environment may name.
    ("grpc.enable_http_proxy", 0),
    ("grpc.use_local_subchannel_pool", 1),
]
_ASK_S = 5.0
# A server that answers no question for so long hangs: what it was asked is asked elsewhere.
_HANGS_S = 15.0
# A probe waits behind the batches of other gateways, a first one while the model's graph is optimised.
_PROBE_S = 60.0
_PROBE_AGAIN_S = 10.0
_PROBE_SIDE = 64

Version = tuple[str, str]
_log = structlog.stdlib.get_logger("sigap.triton")


@dataclass(frozen=True)
class Served:
    """One version of a model, as one server serves it.

    Attributes:
        model: what its configuration says.
        instances: batches that it runs at the same time.
        queue: batches that may wait; 0: any number.
    """

    model: Model
    instances: int
    queue: int


class TritonServer:
    """Lives on the engine's event loop; what others read of it is replaced as a whole.

    Attributes:
        address: host:port.
        served: all versions that it lists as ready and whose configuration we can use.
        sick: those of them that do not answer.
        broken: models that it lists and of which it serves no version.
        is_away: whether it could not be reached.
        in_flight: batches that it has been asked and has not answered.
        answered: batches that it has answered.
        slots: memory that both sides see, where they run on one host.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self.served: Mapping[Version, Served] = {}
        self.sick: frozenset[Version] = frozenset()
        self.broken: frozenset[str] = frozenset()
        self.is_away = True
        self.in_flight = self.answered = 0
        self._client = InferenceServerClient(address, channel_args=_CHANNEL)
        self._faults: dict[Version, str] = {}
        self.slots = SharedSlots(self._client, address)
        self._configs: dict[Version, tuple[bytes, Served | None]] = {}
        self._proven_at: dict[Version, float] = {}
        self._heard_at = time.monotonic()
        self._lost = asyncio.Event()
        self._looking = asyncio.Lock()
        self._is_known = False

    async def close(self) -> None:
        await self.slots.close()
        await self._client.close()

    def serves(self, model: Model) -> bool:
        """Whether it would answer with exactly this version."""
        return self.lists(model) and (model.name, model.version) not in self.sick

    def lists(self, model: Model) -> bool:
        """Whether it has exactly this version, healthy or not."""
        served = self.served.get((model.name, model.version))
        return not self.is_away and served is not None and served.model == model

    def load(self, model: Model) -> float:
        """Batches that we have asked it for, for each that it runs at the same time."""
        return self.in_flight / self.served[model.name, model.version].instances

    async def look(self) -> None:
        """Ask what it serves now, and prove what has not answered for a while."""
        async with self._looking:
            await self._look()

    async def _look(self) -> None:
        try:
            listed, faults = await self._listed()
        except InferenceServerException as error:
            if call_failed(error) or time.monotonic() - self._heard_at > _HANGS_S:
                self._set_away(error.message())
            return
        self._heard_at = time.monotonic()
        await (self.slots.probe() if self.is_away or self.slots.are_lost else self.slots.tidy())
        sick = {version: why for version, served in listed.items() if (why := await self._disproof(served))}
        self.served, self.sick = listed, frozenset(sick)
        self.broken = frozenset(name for name, _ in faults) - {name for name, _ in listed}
        self._tell(faults | sick)
        self._set_there()

    async def infer(self, model: Model, slices: NDArray[np.uint8], *, timeout_s: float) -> NDArray[np.uint8]:
        """One call, over one connection.

        Raises:
            CallFailed: it may be answered by another server, or later.
            SigapError: it would fail again.
        """
        with self._counted():
            call = asyncio.ensure_future(self._call(model, slices, timeout_s))
            lost = asyncio.ensure_future(self._lost.wait())
            try:
                await asyncio.wait({call, lost}, return_when=asyncio.FIRST_COMPLETED)
                if not call.done():
                    raise ServerAway("it hangs")
                probabilities = call.result()
            except InferenceServerException as error:
                raise self._noted(error, model) or final(error, model, slices.shape) from error
            finally:
                call.cancel()
                lost.cancel()
        self.answered += 1
        self._proven_at[model.name, model.version] = self._heard_at = time.monotonic()
        return _checked(probabilities, model, slices.shape)

    async def has_changed(self, model: Model) -> bool:
        """Ask whether other bytes or another meaning stand under a version's name by now."""
        try:
            served = await self._config((model.name, model.version))
        except InferenceServerException:
            return False  # unloaded, or away, after its last answer
        except ModelError:
            return True
        return served is None or served.model != model

    async def _call(self, model: Model, slices: NDArray[np.uint8], timeout_s: float) -> NDArray[np.uint8] | None:
        answer_bytes = slices[:, 0].size * len(model.contract.labels)
        slot = await self.slots.take(slices.nbytes + answer_bytes)
        tensor, wanted = InferInput("SLICES", slices.shape, "UINT8"), InferRequestedOutput("PROBABILITIES")
        if slot is None:
            tensor.set_data_from_numpy(slices)
            answer = await self._ask(model, tensor, wanted, timeout_s)
            probabilities: NDArray[np.uint8] | None = answer.as_numpy("PROBABILITIES")
            return probabilities
        slot.write(slices)
        tensor.set_shared_memory(slot.name, slices.nbytes)
        wanted.set_shared_memory(slot.name, answer_bytes, slices.nbytes)
        with _kept(self.slots, slot):
            answer = await self._ask(model, tensor, wanted, timeout_s)
            output = answer.get_output("PROBABILITIES")
            if output is None or output.datatype != "UINT8":
                return None
            return slot.read(output.shape, slices.nbytes)

    async def _ask(
        self, model: Model, tensor: InferInput, wanted: InferRequestedOutput, timeout_s: float
    ) -> InferResult:
        return await self._client.infer(
            model.name, [tensor], model_version=model.version, outputs=[wanted], client_timeout=timeout_s
        )

    def _noted(self, error: InferenceServerException, model: Model) -> CallFailed | None:
        """Learn from a failure at once; the next look will take back what has passed."""
        failure = call_failed(error)
        if isinstance(failure, ServerAway):
            self._set_away(str(failure))
        elif isinstance(failure, RegionLost):
            self.slots.lose()
        elif isinstance(failure, ModelSick):
            version = model.name, model.version
            self._proven_at.pop(version, None)
            self.sick |= {version}
        return failure

    async def _listed(self) -> tuple[dict[Version, Served], dict[Version, str]]:
        """All versions of ours that are ready, and what is wrong with those that should be."""
        index = await self._client.get_model_repository_index(client_timeout=_ASK_S)
        listed, faults = dict[Version, Served](), dict[Version, str]()
        for entry in index.models:
            version = entry.name, entry.version
            # Without a reason it was never asked to load; one that was unloaded was meant to be.
            if entry.state == "UNAVAILABLE" and entry.reason not in {"", "unloaded"}:
                faults[version] = "Triton could not load it"
            if entry.state != "READY":
                continue
            try:
                served = await self._config(version)
            except ModelError as error:
                faults[version] = error.message
            except InferenceServerException as error:
                if not isinstance(call_failed(error), VersionGone):
                    raise
            else:
                listed |= {version: served} if served else {}
        return listed, faults

    async def _config(self, version: Version) -> Served | None:
        """A version's configuration as we read it; None: it is no model of Sigap's."""
        answer = await self._client.get_model_config(*version, client_timeout=_ASK_S)
        raw = answer.config.SerializeToString(deterministic=True)
        known = self._configs.get(version)
        if known is None or known[0] != raw:
            known = self._configs[version] = (raw, _served(answer.config, version[1]))
            self._proven_at.pop(version, None)
        return known[1]

    async def _disproof(self, served: Served) -> str | None:
        """Why a model does not answer; None: it has just now, or lately, or is busy with what it was asked."""
        version = served.model.name, served.model.version
        proven_at = self._proven_at.get(version)
        if proven_at is not None and (self.in_flight or time.monotonic() - proven_at < _PROBE_AGAIN_S):
            return None
        slices = np.zeros((1, served.model.contract.context_slices, _PROBE_SIDE, _PROBE_SIDE), np.uint8)
        try:
            # TorchScript optimises a graph in its first two runs.
            for _ in range(2 if proven_at is None else 1):
                _checked(await self._call(served.model, slices, _PROBE_S), served.model, slices.shape)
        except ModelError as error:
            return error.message
        except InferenceServerException as error:
            failure = call_failed(error)
            if isinstance(failure, RegionLost):
                self.slots.lose()
            if isinstance(failure, ModelSick):
                return "its process on the server is broken"
            return None if proven_at else f"it does not answer: {error.message()}"
        self._proven_at[version] = time.monotonic()
        return None

    def _tell(self, faults: dict[Version, str]) -> None:
        for (name, version), why in faults.items():
            if self._faults.get((name, version)) != why:
                _log.error("model cannot be used", server=self.address, model=name, version=version, why=why)
        self._faults = faults

    def _set_there(self) -> None:
        if self.is_away:
            models = [f"{name} {version}" for name, version in self.served]
            _log.info("triton server there", server=self.address, models=models)
        self.is_away, self._is_known = False, True
        self._lost.clear()

    def _set_away(self, why: str) -> None:
        if not self.is_away or not self._is_known:
            _log.warning("triton server away", server=self.address, why=why)
        self.is_away, self._is_known = True, True
        self._proven_at.clear()
        self.slots.forget()
        self._lost.set()

    @contextmanager
    def _counted(self) -> Iterator[None]:
        self.in_flight += 1
        try:
            yield
        finally:
            self.in_flight -= 1


@contextmanager
def _kept(slots: SharedSlots, slot: Slot) -> Iterator[None]:
    """Use a slot again only if the server is done with it."""
    is_done = False
    try:
        yield
        is_done = True
    except InferenceServerException as error:
        is_done = was_answered(error)
        raise
    finally:
        (slots.give_back if is_done else slots.abandon)(slot)


def _served(config: Any, version: str) -> Served | None:
    if "contract" not in config.parameters:
        return None
    instances = sum(max(1, len(group.gpus)) * max(1, group.count) for group in config.instance_group) or 1
    queue = int(config.dynamic_batching.default_queue_policy.max_queue_size)
    return Served(model_from_config(config, version), instances, queue)


def _checked(probabilities: NDArray[np.uint8] | None, model: Model, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    wanted = (shape[0], len(model.contract.labels), *shape[2:])
    if probabilities is None or probabilities.dtype != np.uint8 or probabilities.shape != wanted:
        found = None if probabilities is None else (probabilities.dtype, probabilities.shape)
        raise ModelError(f"model {model.name!r} answered {found}, not uint8 {wanted}")
    return probabilities
