"""Places in the queue: how many of one priority may wait, and when one may be free."""

from __future__ import annotations

import math
from statistics import median

from sqlalchemy import Connection, func, select

from sigap.core.errors import QueueFull
from sigap.jobs.job import ACTIVE, Order
from sigap.jobs.tables import GATEWAYS, JOBS

# A guess until a job has ended, and how many of the latest are asked.
_FIRST_GUESS_S = 10.0
_LATEST = 20


def check_place(connection: Connection, order: Order, queue_length: int) -> None:
    """Raise `QueueFull` where as many of this priority wait as may, beside one that each gateway runs."""
    taken = connection.execute(
        select(func.count()).where(JOBS.c.priority == order.priority, JOBS.c.state.in_(ACTIVE))
    ).scalar_one()
    gateways = max(1, connection.execute(select(func.count()).select_from(GATEWAYS)).scalar_one())
    if taken >= queue_length + gateways:
        raise QueueFull(
            f"As many {order.priority} studies are waiting as this server takes. "
            "Try again after the time in Retry-After.",
            retry_after_s=_retry_after_s(connection, order, gateways),
        )


def _retry_after_s(connection: Connection, order: Order, gateways: int) -> int:
    """When a place may be free: the work that comes first, at the rate of the latest jobs."""
    latest = (
        select((JOBS.c.finished_at - JOBS.c.started_at).label("spent_s"))
        .where(JOBS.c.state == "succeeded", ~JOBS.c.is_reused)
        .order_by(JOBS.c.number.desc())
        .limit(_LATEST)
    )
    spent = connection.execute(latest).scalars().all()
    ahead = connection.execute(
        select(func.count()).where(JOBS.c.rank < order.rank, JOBS.c.state.in_(ACTIVE))
    ).scalar_one()
    # Of the middle one: a job that waited a night for its retry says nothing about the others.
    spent_s = max(0.0, median(spent)) if spent else _FIRST_GUESS_S
    return max(1, math.ceil(spent_s * (ahead + 1) / gateways))
