"""Shared memory between the Triton engine and a server on its host: used, given back, cleaned up after the dead."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from serving import wait_until
from sigap.engines.triton import TritonEngine
from sigap.engines.triton import servers as servers_module
from sigap.engines.triton import shared_memory as memory_module
from sigap.engines.triton.shared_memory import PREFIX, SharedSlots
from triton_server import House, servers

SHM = Path("/dev/shm")
SLICES = np.random.default_rng(3).integers(0, 40, (4, 1, 24, 32), dtype=np.uint8)
ANSWER = np.concatenate([SLICES, 255 - SLICES], axis=1)
# A gateway that is killed while the server knows its memory.
VICTIM = """
import sys, time, numpy as np
import structlog
from sigap.engines.triton import TritonEngine
structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
engine = TritonEngine([sys.argv[1]], timeout_s=60)
assert engine.wait_until_known(60)
engine.infer(engine.model("slow"), np.zeros((4, 1, 24, 32), np.uint8))
print("has answered", flush=True)
time.sleep(600)
"""


# A gateway that was killed on this machine before is none of these tests' business.
_LEFT_BY_OTHERS = {path.name for path in SHM.glob(f"{PREFIX}*")}


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Iterator[None]:
    yield
    assert not regions()


def regions() -> set[str]:
    """Those of this process, and those of nobody: other programs of this machine may have some too."""
    found = set()
    for path in SHM.glob(f"{PREFIX}*"):
        with path.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                if not any(held.resolve() == path for held in Path("/proc/self/fd").iterdir() if held.is_symlink()):
                    continue
            found.add(path.name)
    return found - _LEFT_BY_OTHERS


def known_to(house: House) -> list[str]:
    """Names of the regions that the server has mapped."""
    status = httpx.get(f"{house.process.http}/v2/systemsharedmemory/status").raise_for_status().json()
    return [region["name"] for region in status]


def slots(engine: TritonEngine) -> SharedSlots:
    (server,) = servers(engine)
    return server.slots


def test_slices_and_answers_lie_in_memory_that_both_sides_see(triton: House, slow: str) -> None:
    with triton.engine() as engine:
        assert slots(engine).is_on
        for _ in range(3):
            assert np.array_equal(engine.infer(engine.model(slow), SLICES), ANSWER)
        # One for the probe of the memory, one for that of the models: the same place each time, open to nobody else.
        names = regions()
        assert len(names) == 2
        assert names <= set(known_to(triton))
        assert {(SHM / name).stat().st_mode & 0o777 for name in names} == {0o600}
    assert not names & set(known_to(triton))


def test_answers_do_not_share_a_place(triton: House, slow: str) -> None:
    with triton.engine() as engine:
        model = engine.model(slow)
        found = list(engine.infer_all(model, [SLICES, SLICES + 1, SLICES + 2, SLICES + 3], check=lambda: None))
        for step, answer in enumerate(found):
            assert np.array_equal(answer[:, 0], SLICES[:, 0] + step)


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EACCES])
def test_without_room_slices_are_sent(triton: House, slow: str, monkeypatch: pytest.MonkeyPatch, error: int) -> None:
    def refuse(*_: int) -> None:
        raise OSError(error, os.strerror(error))

    with triton.engine() as engine:
        # Room for the probe, and none for a batch.
        monkeypatch.setattr(memory_module.os, "posix_fallocate", refuse)
        large = np.tile(SLICES, (1, 1, 20, 20))
        assert np.array_equal(engine.infer(engine.model(slow), large)[:, :1], large)
        assert not slots(engine).is_on
    with triton.engine() as engine:
        assert not slots(engine).is_on
        assert np.array_equal(engine.infer(engine.model(slow), SLICES), ANSWER)


def test_a_slot_that_a_given_up_call_may_still_write_to_is_not_used_again(triton: House, slow: str) -> None:
    with triton.engine() as engine:
        model = engine.model(slow)
        batches = iter([np.full_like(SLICES, 255)] * 4)
        coming = engine.infer_all(model, batches, check=lambda: None)
        next(coming)
        coming.close()
        wait_until(lambda: servers(engine)[0].in_flight == 0)
        assert np.array_equal(engine.infer(model, SLICES), ANSWER)
        assert slots(engine).is_on


def test_a_call_that_is_given_up_while_the_server_maps_its_place_leaves_none_there(
    triton: House, slow: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with triton.engine() as engine:
        client, is_mapped = slots(engine)._client, threading.Event()
        register = client.register_system_shared_memory

        async def map_and_stay_silent(*args: Any, **more: Any) -> None:
            await register(*args, **more)
            is_mapped.set()
            await asyncio.sleep(3600)

        def check() -> None:
            if is_mapped.is_set():
                raise KeyError("cancelled")

        monkeypatch.setattr(client, "register_system_shared_memory", map_and_stay_silent)
        before = set(known_to(triton))
        with pytest.raises(KeyError, match="cancelled"):
            list(engine.infer_all(engine.model(slow), [np.tile(SLICES, (1, 1, 20, 20))], check=check))
        assert set(known_to(triton)) > before
        monkeypatch.setattr(memory_module, "_ABANDONED_S", 0.2)
        monkeypatch.setattr(servers_module, "_LOOK_EVERY_S", 0.1)
        wait_until(lambda: set(known_to(triton)) <= before)


def test_what_is_not_used_for_a_while_is_given_back(triton: House, slow: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers_module, "_LOOK_EVERY_S", 0.1)
    with triton.engine() as engine:
        engine.infer(engine.model(slow), SLICES)
        monkeypatch.setattr(memory_module, "_IDLE_S", 0.3)
        wait_until(lambda: not slots(engine)._free)
        assert slots(engine).is_on
        assert np.array_equal(engine.infer(engine.model(slow), SLICES), ANSWER)


def test_what_a_killed_gateway_left_is_removed_by_the_next(
    triton: House, slow: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    victim = subprocess.Popen([sys.executable, "-c", VICTIM, triton.process.address], stdout=subprocess.PIPE, text=True)
    assert victim.stdout is not None
    with victim, triton.engine() as beside:
        assert victim.stdout.readline() == "has answered\n"
        victim.send_signal(signal.SIGKILL)
        victim.wait()
        left = regions() - {slot.name for slot in slots(beside)._free}
        assert left
        assert left <= set(known_to(triton))
        monkeypatch.setattr(memory_module, "_ABANDONED_S", 0.2)
        monkeypatch.setattr(servers_module, "_LOOK_EVERY_S", 0.1)
        with triton.engine():
            wait_until(lambda: not left & regions())
            wait_until(lambda: not left & set(known_to(triton)))
        # Of one that lives nothing was taken.
        assert np.array_equal(beside.infer(beside.model(slow), SLICES), ANSWER)
        assert slots(beside).is_on


def test_a_server_that_was_started_anew_unnoticed_is_asked_without_it(
    own_triton: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(servers_module, "_PATIENCE_S", 60.0)
    with own_triton.engine() as engine:
        model = engine.model("slow")
        assert np.array_equal(engine.infer(model, SLICES), ANSWER)
        monkeypatch.setattr(servers_module, "_LOOK_EVERY_S", 3600.0)
        wait_until(lambda: not servers(engine)[0]._looking.locked())
        own_triton.process.kill()
        own_triton.start()
        assert np.array_equal(engine.infer(model, SLICES), ANSWER)
        wait_until(lambda: slots(engine).is_on)
        assert np.array_equal(engine.infer(model, SLICES), ANSWER)
