"""Counts of the store, for metrics and for those who look after it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from sigap.core.contract import PRIORITIES
from sigap.jobs.delivery import count_deliveries
from sigap.jobs.job import RECEIVING, STATES
from sigap.jobs.tables import FOLDERS, JOBS


@dataclass(frozen=True)
class Tally:
    """What is in the store.

    Attributes:
        jobs: by state and priority, zeros included.
        oldest_s: by priority, how long the longest-waiting job has waited.
        used_bytes: of all folders.
        deliveries: by state, zeros included.
    """

    jobs: Mapping[tuple[str, str], int]
    oldest_s: Mapping[str, float]
    used_bytes: int
    deliveries: Mapping[str, int]


def count(connection: Connection, now: float) -> Tally:
    """Count everything, at a time in seconds since 1970."""
    counts = select(
        JOBS.c.state, JOBS.c.priority, func.count(), func.min(func.coalesce(JOBS.c.queued_at, JOBS.c.created_at))
    )
    grouped = counts.where(JOBS.c.state != RECEIVING).group_by(JOBS.c.state, JOBS.c.priority)
    jobs: dict[tuple[str, str], int] = {(state, priority): 0 for state in STATES for priority in PRIORITIES}
    oldest_s = dict.fromkeys(PRIORITIES, 0.0)
    for state, priority, number, since in connection.execute(grouped):
        jobs[state, priority] = number
        if state == "queued":
            oldest_s[priority] = max(0.0, now - since)
    used = connection.execute(select(func.coalesce(func.sum(FOLDERS.c.bytes), 0))).scalar_one()
    return Tally(jobs, oldest_s, int(used), count_deliveries(connection))
