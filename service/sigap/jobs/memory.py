"""How much memory studies take together: the one that runs, the one that is paused, those whose answers are made."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Self

MEMORY_PER_VOXEL = 6
"""Peak memory of a run, in bytes: three times its voxels as int16 (docs/benchmarks.md)."""


class Memory:
    """SIGAP_MEMORY_MB, shared out.

    A study's size is known only once it is decoded. Until then its share is all that is free, and nobody else begins.
    """

    def __init__(self, capacity_bytes: int) -> None:
        self.capacity_bytes = capacity_bytes
        self._held_bytes = 0
        self._is_deciding = False
        self._first_in_line = 0
        self._changed = threading.Condition()

    def share(self, *, goes_first: bool = False) -> Share:
        """All that is free, to be settled; waits while another share is not.

        Args:
            goes_first: before others that wait, as runs do before answers.
        """
        with self._changed:
            self._first_in_line += goes_first
            self._changed.wait_for(lambda: not self._is_deciding and (goes_first or not self._first_in_line))
            self._first_in_line -= goes_first
            self._is_deciding = True
            free = max(0, self.capacity_bytes - self._held_bytes)
            self._held_bytes += free
        return Share(self, free)

    def give_back(self, count: int, *, is_settled: bool) -> None:
        with self._changed:
            self._held_bytes -= count
            if not is_settled:
                self._is_deciding = False
            self._changed.notify_all()


class Share:
    """One study's part.

    Attributes:
        bytes: what it may take.
        is_all: whether it was made from all there is: no larger one is ever to be had.
    """

    def __init__(self, memory: Memory, count: int) -> None:
        self._memory = memory
        self._is_settled = False
        self.bytes = count
        self.is_all = count >= memory.capacity_bytes

    def settle(self, count: int) -> None:
        """Keep so much of it, now that the size is known; only the first call counts."""
        if not self._is_settled:
            kept = min(count, self.bytes)
            self._memory.give_back(self.bytes - kept, is_settled=False)
            self.bytes, self._is_settled = kept, True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self.settle(0)
        self._memory.give_back(self.bytes, is_settled=True)
        self.bytes = 0
