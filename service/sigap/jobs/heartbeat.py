"""The thread that says that this gateway lives, takes over from those that do not, and clears what is over."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

import structlog

from sigap.core.errors import SigapError
from sigap.jobs.leases import Leases
from sigap.jobs.storage import Storage
from sigap.jobs.store import JobStore

BEAT_S = 3.0
SILENCE_S = 15.0
_CLEAR_S = 60.0
_CLEARER_S = 5.0
_log = structlog.stdlib.get_logger("sigap.jobs")


class Heartbeat:
    """Beats every few seconds.

    Whether another gateway lives is judged by this one's own monotonic clock: one whose beat has not changed for
    `SILENCE_S`, while the database could be read all the time, is dead. Clocks that differ or are set change nothing.

    Args:
        leases: this gateway's.
        store: where jobs expire.
        storage: what is cleared.
        retention_s: how long results are kept.
        monotonic: seconds of a clock that nobody sets.
    """

    def __init__(
        self,
        leases: Leases,
        store: JobStore,
        storage: Storage,
        *,
        retention_s: float,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._leases = leases
        self._store = store
        self._storage = storage
        self._retention_s = retention_s
        self._monotonic = monotonic
        self._looked = monotonic()
        self._seen: dict[str, tuple[int, float]] = {}
        self._left: deque[str] = deque()
        self._is_stopping = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="sigap-heartbeat", daemon=True)
        # Its own: a gateway that deletes for a while must go on saying that it lives.
        self._clearer = threading.Thread(target=self._clear_now_and_then, name="sigap-clear", daemon=True)

    def start(self) -> None:
        """Join the gateways and begin to beat.

        Raises:
            DatabaseUnavailable: it cannot be reached.
        """
        if not self._storage.database.is_shared:
            # Nobody else can live: the data folder is claimed.
            for gateway, beat in self._leases.beats().items():
                self._leases.take_over(gateway, beat)
        self._leases.register()
        self._thread.start()
        self._clearer.start()

    def stop(self) -> None:
        """Stop beating, and leave the gateways in order."""
        self._is_stopping.set()
        self._thread.join()
        # What it leaves is nobody's, and goes at the next start: an orchestrator does not wait for a slow disk.
        self._clearer.join(_CLEARER_S)
        try:
            self._leases.leave()
        except SigapError:
            _log.warning("the database is away: other gateways find out by themselves that this one has stopped")

    def _beat(self) -> None:
        while not self._is_stopping.wait(BEAT_S):
            try:
                self._leases.beat()
                self.look_around()
                self._give_back()
            except (SigapError, OSError) as error:
                # What was not seen to be silent while the database was away is not held against anybody.
                self._seen.clear()
                _log.warning("heartbeat missed", problem=getattr(error, "slug", type(error).__name__))

    def look_around(self) -> None:
        """Take over from those that have been silent for long enough."""
        now = self._monotonic()
        if now - self._looked >= SILENCE_S:
            # It was this gateway that was frozen: it knows nothing of the others.
            self._seen.clear()
        self._looked = now
        beats = self._leases.beats()
        self._seen = {
            gateway: self._seen[gateway] if self._seen.get(gateway, (None, 0.0))[0] == beat else (beat, now)
            for gateway, beat in beats.items()
        }
        for gateway, (beat, since) in self._seen.items():
            if now - since >= SILENCE_S and self._leases.take_over(gateway, beat):
                _log.warning("took over from a silent gateway")

    def _give_back(self) -> None:
        while self._left:
            job_id = self._left.popleft()
            try:
                self._store.abandon(job_id)
            except SigapError:
                self._left.append(job_id)
                raise

    def abandon(self, job_id: str) -> None:
        """Give back an entry that could not be given back at once."""
        self._left.append(job_id)

    def _clear_now_and_then(self) -> None:
        while True:
            try:
                self.clear()
            except (SigapError, OSError) as error:
                _log.warning("clearing missed", problem=getattr(error, "slug", type(error).__name__))
            if self._is_stopping.wait(_CLEAR_S):
                return

    def clear(self) -> None:
        """Forget what has expired, and delete what nobody knows."""
        self._store.expire(self._retention_s)
        self._storage.data.sweep(lambda: {self._leases.gateway, *self._leases.beats()}, self._store.folders)
