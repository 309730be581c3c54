"""Who waits for a job's next change, and the bell that wakes them."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class Changes:
    """Wakes this gateway's own waiters at once; what another gateway changes, a waiter sees when it looks again."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._bells: dict[tuple[str, asyncio.Event], asyncio.AbstractEventLoop] = {}
        self._watched: Counter[str] = Counter()

    @contextmanager
    def watching(self, job_id: str) -> Iterator[asyncio.Event]:
        """An event that is set whenever the job has changed; whoever waits clears it."""
        bell = asyncio.Event()
        with self._lock:
            self._bells[job_id, bell] = asyncio.get_running_loop()
            self._watched[job_id] += 1
        try:
            yield bell
        finally:
            with self._lock:
                del self._bells[job_id, bell]
                self._watched[job_id] -= 1
                self._watched += Counter()

    def watchers(self, job_id: str) -> int:
        """How many wait for a job."""
        return self._watched[job_id]

    def tell(self, job_id: str) -> None:
        """A job has changed; from any thread."""
        with self._lock:
            bells = [(bell, loop) for (watched, bell), loop in self._bells.items() if watched == job_id]
        for bell, loop in bells:
            # A loop that is gone has nobody left to tell.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(bell.set)
