"""Which studies are still arriving."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable


class Arrivals:
    """Judges when a study is complete; of C-STORE nobody says how many images there will be.

    Args:
        quiet_s: nothing has come for so long: it is complete.
        ends_with_association: it is complete at once when an association that brought it was released in order and no
            other one that brought it is open. One that was aborted ends nothing: the rest may come again.
        monotonic: seconds of a clock that nobody sets.
    """

    def __init__(
        self, quiet_s: float, *, ends_with_association: bool, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._quiet_s = quiet_s
        self._ends_with_association = ends_with_association
        self._monotonic = monotonic
        self._lock = threading.Lock()
        # After a restart nothing is known, so everything has just come.
        self._began = monotonic()
        self._latest: dict[str, float] = {}
        self._open: dict[Hashable, set[str]] = {}
        self._ended: set[str] = set()

    def note(self, association: Hashable, study_id: str) -> None:
        """An image of a study has come."""
        with self._lock:
            self._latest[study_id] = self._monotonic()
            self._open.setdefault(association, set()).add(study_id)
            self._ended.discard(study_id)

    def end(self, association: Hashable, *, is_orderly: bool) -> None:
        """An association is over."""
        with self._lock:
            brought = self._open.pop(association, set())
            if is_orderly and self._ends_with_association:
                self._ended |= brought

    def is_complete(self, study_id: str) -> bool:
        with self._lock:
            is_open = any(study_id in brought for brought in self._open.values())
            return (study_id in self._ended and not is_open) or self._is_quiet(study_id)

    def forget(self, study_id: str) -> None:
        """Nothing is awaited any more."""
        with self._lock:
            self._latest.pop(study_id, None)
            self._ended.discard(study_id)

    def _is_quiet(self, study_id: str) -> bool:
        return self._monotonic() - self._latest.get(study_id, self._began) >= self._quiet_s
