"""The bounded queue: how much work may wait, in which order it is done, and when to come back."""

from __future__ import annotations

import itertools
import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from sigap.core.contract import PRIORITIES
from sigap.core.errors import Cancelled, QueueFull
from sigap.jobs.job import Findings, Job

# A guess until the first job has ended.
_FIRST_GUESS_S = 10.0
_NEWEST_WEIGHT = 0.3


class Place:
    """A place in the queue, held from before the upload until the job ends."""

    def __init__(self, queue: JobQueue) -> None:
        self._queue = queue
        self._is_held = True

    def leave(self) -> None:
        """Free it for somebody else; a second call does nothing."""
        if self._is_held:
            self._is_held = False
            self._queue.give_back()


class JobQueue:
    """Jobs that wait, by priority and then by arrival. `length` places beside the one of the job that runs."""

    def __init__(self, length: int) -> None:
        self._capacity = length + 1
        self._taken = 0
        self._waiting: dict[Job, tuple[int, int, Place]] = {}
        self._arrivals = itertools.count()
        self._running: Job | None = None
        self._is_open = True
        self._mean_s = _FIRST_GUESS_S
        self._changed = threading.Condition()

    @property
    def taken(self) -> int:
        """Places that are taken: by uploads, by jobs that wait, by the one that runs."""
        return self._taken

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    @property
    def running(self) -> int:
        return int(self._running is not None)

    @property
    def retry_after_s(self) -> int:
        """When a place may be free again: the mean time of the latest jobs."""
        return max(1, math.ceil(self._mean_s))

    def enter(self) -> Place:
        """Take a place, before the first byte of an upload is read.

        Raises:
            QueueFull: none is free.
        """
        with self._changed:
            if self._taken >= self._capacity or not self._is_open:
                raise QueueFull(
                    "As many studies are waiting as this server takes. Try again after the time in Retry-After.",
                    retry_after_s=self.retry_after_s,
                )
            self._taken += 1
        return Place(self)

    def give_back(self) -> None:
        with self._changed:
            self._taken -= 1

    def put(self, job: Job, place: Place) -> None:
        """Hand over a job whose upload is complete; from here the queue clears its folder and place."""
        with self._changed:
            rank = PRIORITIES.index(job.request.priority)
            self._waiting[job] = (rank, next(self._arrivals), place)
            self._changed.notify()

    def cancel(self, job: Job) -> None:
        """Drop a job that nobody waits for: at once if it waits, at its next step if it runs."""
        job.cancel()
        with self._changed:
            entry = self._waiting.pop(job, None)
        if entry is not None:
            job.fail(Cancelled("The request was cancelled."), Findings())
            job.folder.remove()
            entry[2].leave()
            job.end()

    @contextmanager
    def next_job(self) -> Iterator[Job | None]:
        """Wait for the next job to run; None once the queue is closed. Its place is free when the block is left."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or not self._is_open)
            job = min(self._waiting, key=lambda job: self._waiting[job][:2]) if self._is_open else None
            place = self._waiting.pop(job)[2] if job else None
            self._running = job
        try:
            yield job
        finally:
            self._running = None
            if place:
                place.leave()

    def took(self, seconds: float) -> None:
        """Learn how long a job takes, for `retry_after_s`."""
        self._mean_s += _NEWEST_WEIGHT * (seconds - self._mean_s)

    def close(self) -> None:
        """Take no more work and drop what waits; the running job is cancelled."""
        with self._changed:
            self._is_open = False
            dropped = [*self._waiting, *([self._running] if self._running else [])]
            self._changed.notify_all()
        for job in dropped:
            self.cancel(job)
