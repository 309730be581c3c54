"""The event loop on which everything that speaks to Triton runs, in a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

_Answer = TypeVar("_Answer")


class LoopThread:
    """An event loop for callers in other threads."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._loop.set_exception_handler(_on_error)
        self._thread = threading.Thread(target=self._loop.run_forever, name="sigap-triton", daemon=True)
        self._thread.start()

    def submit(self, work: Coroutine[Any, Any, _Answer]) -> Future[_Answer]:
        """Begin to run a coroutine on the loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def stop(self) -> None:
        """Cancel whatever still runs and end the thread."""
        if not self._thread.is_alive():
            return
        self.submit(_cancel_others()).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


async def _cancel_others() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


def _on_error(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Not of gRPC's poller: it wakes each loop of a process, and all but one find nothing to read (grpc#25364)."""
    if not isinstance(context.get("exception"), BlockingIOError):
        loop.default_exception_handler(context)
