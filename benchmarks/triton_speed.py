"""A gateway in front of a real Triton on this machine, beside the bare Triton: time, CPU, batches, bytes."""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import structlog
from numpy.typing import NDArray
from relay import relay
from server import Server, serving
from speed import decoded, upload
from studies import ROOT
from tritonclient.grpc.aio import InferenceServerClient, InferInput

import triton_wheel
from sigap.core.contract import Model
from sigap.engines.triton import TritonEngine
from sigap.engines.triton.shared_memory import SharedSlots
from sigap.imaging.batches import slice_batches
from triton_process import TritonProcess

_ROUNDS = 5
_UNDER_WAY = 2
_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Request:
    """Upload to report beside plain calls of Triton with the same slices; the least of several rounds, in s.

    Attributes:
        cpu_ms: of the gateway's process, for each slice.
        stages_s: what the report says of the whole request's stages.
    """

    whole_s: float
    bare_s: float
    cpu_ms: float
    stages_s: dict[str, float]


@dataclass(frozen=True)
class Crowd:
    """What a number of clients at once met; each sent one study after the other.

    Attributes:
        latencies_s: of every request.
        slices_a_second: of all together.
        batches: how many slices Triton ran at once, and how often.
        lost: answers that were none, or other numbers.
    """

    latencies_s: list[float]
    slices_a_second: float
    batches: dict[int, int]
    lost: int

    def percentile_s(self, percent: float) -> float:
        return float(np.percentile(self.latencies_s, percent))


@contextmanager
def house() -> Iterator[tuple[TritonProcess, Server]]:
    """Triton over the shipped models, and a gateway in front of it."""
    # What the engines of this process say of servers that come and go is no measurement.
    structlog.configure(logger_factory=structlog.stdlib.LoggerFactory())
    with tempfile.TemporaryDirectory(prefix="sigap-bench-") as folder:
        triton = TritonProcess(triton_wheel.unpacked(), ROOT / "model_repository", Path(folder) / "log")
        triton.start()
        try:
            settings = {"SIGAP_ENGINE": "triton", "SIGAP_TRITON_URL": triton.address, "SIGAP_QUEUE_LENGTH": "32"}
            with serving(**settings) as gateway:
                yield triton, gateway
        finally:
            triton.stop()


def request(triton: TritonProcess, gateway: Server, task: str, path: Path) -> Request:
    """Both take turns, so that both meet the same machine."""
    model, batches = _slices(triton, task, path)
    count = sum(map(len, batches))
    whole, bare, cpu, stages = [], [], [], []
    for _ in range(_ROUNDS):
        before, started = _cpu_s(gateway.pid), time.perf_counter()
        report = upload(gateway.address, task, path).raise_for_status().json()
        whole.append(time.perf_counter() - started)
        cpu.append((_cpu_s(gateway.pid) - before) * 1000 / count)
        stages.append({name: spent / 1000 for name, spent in report["timings_ms"].items() if name != "total"})
        started = time.perf_counter()
        asyncio.run(_bare(triton.address, model, batches))
        bare.append(time.perf_counter() - started)
    return Request(min(whole), min(bare), min(cpu), stages[whole.index(min(whole))])


def crowd(triton: TritonProcess, gateway: Server, clients: int, task: str, path: Path) -> Crowd:
    """So many clients at once, at least sixteen requests together."""
    alone = _numbers(upload(gateway.address, task, path))
    before, started = _batches(triton, task), time.perf_counter()

    def ask(_: int) -> tuple[float, bool]:
        began = time.perf_counter()
        answer = upload(gateway.address, task, path)
        is_right = answer.status_code == httpx.codes.OK and _numbers(answer) == alone
        return time.perf_counter() - began, is_right

    with ThreadPoolExecutor(clients) as pool:
        met = list(pool.map(ask, range(max(16, clients))))
    spent_s = time.perf_counter() - started
    after = _batches(triton, task)
    batches = {size: after[size] - before.get(size, 0) for size in after if after[size] > before.get(size, 0)}
    slices = sum(size * count for size, count in batches.items())
    return Crowd([spent for spent, _ in met], slices / spent_s, batches, sum(not is_right for _, is_right in met))


def bytes_a_pixel(triton: TritonProcess, task: str, path: Path) -> tuple[float, int]:
    """What goes to Triton and back for each pixel of a volume, everything of TCP's content counted; and K + C."""
    _, batches = _slices(triton, task, path)
    batches = batches[:4]
    with relay(triton.grpc_port) as line, _without_shared_memory(), closing(_engine(line.address)) as engine:
        model = engine.model(task)
        engine.infer(model, batches[0])
        before = line.bytes
        for batch in batches:
            engine.infer(model, batch)
        sent = line.bytes - before
    pixels = sum(batch[:, 0].size for batch in batches)
    return sent / pixels, model.contract.context_slices + len(model.contract.labels)


def hop(triton: TritonProcess, task: str) -> tuple[float, float]:
    """What one full batch of 512 x 512 takes longer than Triton computes, by shared memory and sent, in ms."""
    return _hop_ms(triton, task), _hop_ms(triton, task, is_sent=True)


def _hop_ms(triton: TritonProcess, task: str, *, is_sent: bool = False) -> float:
    with _without_shared_memory(is_so=is_sent), closing(_engine(triton.address)) as engine:
        model = engine.model(task)
        batch = np.zeros((model.max_batch_size, model.contract.context_slices, 512, 512), np.uint8)
        spent = []
        for _ in range(2 * _ROUNDS):
            computed, started = _computed_s(triton, task), time.perf_counter()
            engine.infer(model, batch)
            spent.append(time.perf_counter() - started - (_computed_s(triton, task) - computed))
    return min(spent) * 1000


def _engine(address: str) -> TritonEngine:
    engine = TritonEngine([address], timeout_s=600)
    if not engine.wait_until_known(60):
        raise RuntimeError("Triton is not there")
    return engine


@contextmanager
def _without_shared_memory(*, is_so: bool = True) -> Iterator[None]:
    probe = SharedSlots.probe

    async def nothing(_: SharedSlots) -> None:
        return

    SharedSlots.probe = nothing if is_so else probe  # type: ignore[method-assign]  # for this measurement alone
    try:
        yield
    finally:
        SharedSlots.probe = probe  # type: ignore[method-assign]  # as it was


def _slices(triton: TritonProcess, task: str, path: Path) -> tuple[Model, list[NDArray[np.uint8]]]:
    with closing(_engine(triton.address)) as engine:
        model = engine.model(task)
    volume = decoded(path).volume
    return model, [batch for _, batch in slice_batches(volume, model.contract, model.max_batch_size)]


async def _bare(address: str, model: Model, batches: list[NDArray[np.uint8]]) -> None:
    """Triton's own client, as its examples use it, with two calls under way."""
    turn = asyncio.Semaphore(_UNDER_WAY)
    async with InferenceServerClient(address) as client:

        async def ask(batch: NDArray[np.uint8]) -> None:
            async with turn:
                tensor = InferInput("SLICES", batch.shape, "UINT8")
                tensor.set_data_from_numpy(batch)
                answer = await client.infer(model.name, [tensor], model_version=model.version)
                answer.as_numpy("PROBABILITIES")

        await asyncio.gather(*map(ask, batches))


def _cpu_s(pid: int) -> float:
    """User and system time of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_A_SECOND


def _statistics(triton: TritonProcess, task: str) -> dict[str, Any]:
    answer = httpx.get(f"{triton.http}/v2/models/{task}/stats").raise_for_status()
    stats: dict[str, Any] = answer.json()["model_stats"][0]
    return stats


def _batches(triton: TritonProcess, task: str) -> dict[int, int]:
    stats = _statistics(triton, task)["batch_stats"]
    return {int(entry["batch_size"]): int(entry["compute_infer"]["count"]) for entry in stats}


def _computed_s(triton: TritonProcess, task: str) -> float:
    return float(_statistics(triton, task)["inference_stats"]["compute_infer"]["ns"]) / 1e9


def _numbers(answer: httpx.Response) -> Any:
    report = answer.raise_for_status().json()
    return report["labels"], report["lesions"], report["measures"]
