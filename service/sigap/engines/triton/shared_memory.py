"""System shared memory between this process and a Triton server on the same host: slices and answers are not sent.

A slot is a file of /dev/shm that holds one call's slices and, behind them, its answer. Only its owner may read it, and
it is locked for as long as its process lives: whoever starts next can tell what a killed one left, and removes it.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import secrets
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import structlog
from numpy.typing import NDArray
from tritonclient.grpc.aio import InferenceServerClient
from tritonclient.utils import InferenceServerException

PREFIX = "sigap-triton-"
_PLACE = Path("/dev/shm")  # noqa: S108 - where POSIX shared memory lies on Linux
_ASK_S = 5.0
_STEP_BYTES = 1 << 20
_IDLE_S = 60.0
# A server that is still at work on an abandoned call writes into its slot, and would crash if that were unmapped.
_ABANDONED_S = 120.0
_log = structlog.stdlib.get_logger("sigap.triton")


class Slot:
    """One region, mapped here.

    Raises:
        OSError: there is no room, or no shared memory at all.
    """

    def __init__(self, size: int) -> None:
        self.name = PREFIX + secrets.token_hex(16)
        self.size = size
        self._path = _PLACE / self.name
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # A container has 64 MiB by default. Memory that is only promised would end the process when it is written.
            os.posix_fallocate(self._file, 0, size)
            self._map = mmap.mmap(self._file, size)
        except BaseException:
            self._path.unlink()
            os.close(self._file)
            raise

    def write(self, values: NDArray[np.uint8]) -> None:
        np.frombuffer(self._map, np.uint8, values.size).reshape(values.shape)[...] = values

    def read(self, shape: Sequence[int], offset: int) -> NDArray[np.uint8]:
        """A copy: the slot will be used again."""
        return np.frombuffer(self._map, np.uint8, int(np.prod(shape)), offset).reshape(tuple(shape)).copy()

    def remove(self) -> None:
        """Unlink it; the memory is free once the server has let it go too."""
        self._path.unlink(missing_ok=True)
        self._map.close()
        os.close(self._file)


class SharedSlots:
    """The slots for one server, on the engine's event loop.

    Attributes:
        is_on: whether the server sees our memory; found out anew whenever it comes back.
        are_lost: whether it did, and does not any more.
    """

    def __init__(self, client: InferenceServerClient, address: str) -> None:
        self.is_on = self.are_lost = False
        self._client = client
        self._address = address
        self._free: list[Slot] = []
        self._abandoned: dict[str, float] = {}
        self._used_at = time.monotonic()

    async def probe(self) -> None:
        """Find out whether the server sees our memory, and remove what the dead have left in it."""
        self.forget()
        try:
            slot = await self._registered(mmap.PAGESIZE)
        except (OSError, InferenceServerException) as error:
            _log.info("triton without shared memory", server=self._address, why=_words(error))
            return
        self._free.append(slot)
        self.is_on = True
        _log.info("triton with shared memory", server=self._address)
        _remove_orphans()
        await self._note_strays()

    async def take(self, size: int) -> Slot | None:
        """A slot of at least this size for one call; None: send the slices."""
        if not self.is_on:
            return None
        self._used_at = time.monotonic()
        fitting = [slot for slot in self._free if slot.size >= size]
        if fitting:
            slot = min(fitting, key=lambda slot: slot.size)
            self._free.remove(slot)
            return slot
        try:
            return await self._registered(-(-size // _STEP_BYTES) * _STEP_BYTES)
        except (OSError, InferenceServerException) as error:
            _log.warning("no shared memory for triton", server=self._address, why=_words(error))
            self.is_on = False
            return None

    def give_back(self, slot: Slot) -> None:
        """The server has answered: it does not touch the slot any more."""
        if self.is_on:
            self._free.append(slot)
        else:
            self._abandon(slot)

    def abandon(self, slot: Slot) -> None:
        """The call was given up, and the server may still write into the slot: it is not used again."""
        self._abandon(slot)

    async def tidy(self) -> None:
        """Let go what has not been used for a while."""
        if self.is_on and time.monotonic() - self._used_at > _IDLE_S:
            while self._free:
                slot = self._free.pop()
                await self._unregister(slot.name)
                slot.remove()
        for name in [name for name, since in self._abandoned.items() if time.monotonic() - since > _ABANDONED_S]:
            await self._unregister(name)
            del self._abandoned[name]

    def lose(self) -> None:
        """The server does not know a slot: it was started anew, unnoticed."""
        self.forget()
        self.are_lost = True

    def forget(self) -> None:
        """The server has gone, and with it all that it had mapped."""
        self.is_on = self.are_lost = False
        while self._free:
            self._free.pop().remove()
        self._abandoned.clear()

    async def close(self) -> None:
        self.is_on = False
        for slot in self._free:
            await self._unregister(slot.name)
        self.forget()

    def _abandon(self, slot: Slot) -> None:
        slot.remove()
        self._abandoned[slot.name] = time.monotonic()

    async def _registered(self, size: int) -> Slot:
        slot = Slot(size)
        try:
            await self._client.register_system_shared_memory(slot.name, f"/{slot.name}", size, client_timeout=_ASK_S)
        except BaseException:
            # Given up meanwhile, or the answer was lost: the server may have mapped it all the same.
            self._abandon(slot)
            raise
        return slot

    async def _unregister(self, name: str) -> None:
        # A server that has gone has let it go.
        with suppress(InferenceServerException):
            await self._client.unregister_system_shared_memory(name, client_timeout=_ASK_S)

    async def _note_strays(self) -> None:
        """Regions of gateways that have gone: the server sees the same /dev/shm as we, and there are no such files."""
        try:
            status = await self._client.get_system_shared_memory_status(client_timeout=_ASK_S)
        except InferenceServerException:
            return
        strays = [name for name in status.regions if name.startswith(PREFIX) and not (_PLACE / name).exists()]
        self._abandoned |= dict.fromkeys(strays, time.monotonic())


def _remove_orphans() -> None:
    """Files whose process has ended: nobody holds their lock. Another user's cannot be opened, and stay."""
    for path in _PLACE.glob(f"{PREFIX}*"):
        with suppress(OSError):
            file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink(missing_ok=True)
            finally:
                os.close(file)


def _words(error: Exception) -> str:
    return error.message() if isinstance(error, InferenceServerException) else str(error.strerror)  # type: ignore[attr-defined]  # an OSError else
