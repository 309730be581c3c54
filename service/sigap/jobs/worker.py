"""The one thread that runs jobs, one at a time: two at once would share the same cores and need twice the memory."""

from __future__ import annotations

import threading
from collections.abc import Callable

import structlog

from sigap.core.errors import DatabaseUnavailable, StorageFull
from sigap.jobs.changes import Changes
from sigap.jobs.ended import Ended
from sigap.jobs.lease import Lease
from sigap.jobs.leases import Leases
from sigap.jobs.memory import Memory
from sigap.jobs.run import GaveWay, Means, Run

_LOOK_AGAIN_S = 0.5
_logger = structlog.stdlib.get_logger("sigap.jobs")


class Worker:
    """Takes jobs from the queue.

    A job that goes before the one that runs is run between two of its slice batches, while its volume waits. Only one
    volume waits: a job that goes before both sends the later one back to the queue.

    Args:
        leases: where jobs are claimed.
        means: what runs work with.
        memory: shared with the answers.
        changes: told when clients would see something new.
        observe: told of every run's end.
    """

    def __init__(
        self,
        leases: Leases,
        means: Means,
        *,
        memory: Memory,
        changes: Changes,
        observe: Callable[[Ended], None] = lambda _: None,
    ) -> None:
        self._leases = leases
        self._means = means
        self._memory = memory
        self._changes = changes
        self._observe = observe
        self._bell = threading.Event()
        self._thread = threading.Thread(target=self._work, name="sigap-worker", daemon=True)
        # Whether this gateway may hold a job that it does not know of.
        self._is_unsure = False

    def start(self) -> None:
        self._thread.start()

    def wake(self) -> None:
        """A job has come; without a word it would be found half a second later."""
        self._bell.set()

    def stop(self, timeout_s: float) -> None:
        """Put what runs back into the queue; one batch of the engine may have to end first."""
        self._means.is_stopping.set()
        self._bell.set()
        self._thread.join(timeout_s)

    def _work(self) -> None:
        while not self._means.is_stopping.is_set():
            self._bell.clear()
            try:
                has_run = self._do_next()
            except Exception:
                # A run has caught its own errors: this is one of ours, and the next job must not wait for ever.
                _logger.exception("worker")
                has_run, self._is_unsure = False, True
            if not has_run:
                self._bell.wait(_LOOK_AGAIN_S)

    def _do_next(self) -> bool:
        """Run one job, if there is one that can be run now.

        A function of its own, so that nothing of a job is held while the next is awaited: a failed one's traceback
        holds its volume.
        """
        if self._is_unsure and not self._put_back():
            return False
        lease = self._claim()
        return lease is not None and not self._run(lease, self._before).lacks_memory

    def _put_back(self) -> bool:
        try:
            self._leases.put_back()
        except (DatabaseUnavailable, StorageFull):
            return False
        self._is_unsure = False
        return True

    def _claim(self, *, above: int | None = None) -> Lease | None:
        tasks = self._tasks()
        if above == 0 or not tasks:
            return None
        try:
            lease = self._leases.claim(above=above, tasks=tasks)
        except (DatabaseUnavailable, StorageFull):
            # The claim may have been made, and only its answer lost.
            self._is_unsure = True
            return None
        if lease is not None:
            self._means.passed("claimed")
            self._changes.tell(lease.job.id)
        return lease

    def _tasks(self) -> list[str]:
        """Those whose model would answer now."""
        engine = self._means.engine
        return [model.name for model in engine.models() if engine.is_ready(model.name)]

    def _run(self, lease: Lease, between_batches: Callable[[int], None]) -> Run:
        rank, job_id = lease.job.rank, lease.job.id
        with self._memory.share(goes_first=True) as share:
            run = Run(
                self._means,
                lease,
                share,
                between_batches=lambda: between_batches(rank),
                changed=lambda: self._changes.tell(job_id),
            )
            ended = run.finish()
        try:
            self._observe(ended)
        except Exception:
            # A count that fails must not fail the job that is paused below.
            _logger.exception("observing a run")
        return run

    def _before(self, rank: int) -> None:
        """Run all that goes before a job of this rank, while it is paused."""
        while not self._means.is_stopping.is_set():
            lease = self._claim(above=rank)
            if lease is None:
                return
            if self._run(lease, self._give_way).lacks_memory:
                raise GaveWay

    def _give_way(self, rank: int) -> None:
        """Nothing is run before a job that runs before another: it goes back to the queue instead."""
        if rank == 0:
            return
        try:
            if self._leases.has_waiting(above=rank, tasks=self._tasks()):
                raise GaveWay
        except (DatabaseUnavailable, StorageFull):
            return
