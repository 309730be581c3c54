"""Sending results: who has which, and what becomes of a try.

A gateway that claims a delivery gets a token with it, and writes about it only while the token is the delivery's. One
that dies has its deliveries taken by whoever comes next: the same objects are sent again under the same UIDs, which is
once in effect.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import and_, or_, select, update

from sigap.core.errors import JobStateForbids
from sigap.jobs.delivery import Delivery
from sigap.jobs.job import Job
from sigap.jobs.rows import read_job
from sigap.jobs.storage import Storage
from sigap.jobs.tables import DELIVERIES, GATEWAYS, JOBS

MOST_REFUSALS = 3
LONGEST_PAUSE_S = 300.0


class Deliveries:
    """One gateway's part in them.

    Args:
        storage: its database is open.
    """

    def __init__(self, storage: Storage) -> None:
        self._database = storage.database
        self._clock = storage.clock

    def claim(self, gateway: str) -> tuple[Delivery, Job] | None:
        """Take the next delivery that is due, with the job whose result it is, if there is one."""
        now = self._clock()
        living = select(GATEWAYS.c.id)
        is_free = or_(DELIVERIES.c.gateway.is_(None), DELIVERIES.c.gateway.not_in(living))
        # A time far ahead was written before the clock was set back.
        is_due = or_(DELIVERIES.c.due_at <= now, DELIVERIES.c.due_at > now + 2 * LONGEST_PAUSE_S)
        next_up = (
            select(DELIVERIES.c.number)
            .join(JOBS, JOBS.c.id == DELIVERIES.c.job)
            .where(DELIVERIES.c.state == "waiting", JOBS.c.state == "succeeded", is_free, is_due)
            .order_by(DELIVERIES.c.due_at, DELIVERIES.c.number)
            .limit(1)
            .with_for_update(skip_locked=True, of=DELIVERIES)
        )
        taken = {"gateway": gateway, "token": DELIVERIES.c.token + 1, "attempts": DELIVERIES.c.attempts + 1}
        with self._database.transaction() as connection:
            number = connection.execute(next_up).scalar_one_or_none()
            if number is None:
                return None
            claimed = update(DELIVERIES).where(DELIVERIES.c.number == number).values(**taken).returning(DELIVERIES)
            delivery = Delivery.of(connection.execute(claimed).mappings().one())
            return delivery, read_job(connection, delivery.job)

    def succeed(self, delivery: Delivery) -> None:
        """The destination has taken everything."""
        self._end(delivery, state="delivered", delivered_at=self._clock(), problem=None)

    def postpone(self, delivery: Delivery, problem: Mapping[str, Any], *, is_counted: bool) -> bool:
        """Try again later; a refusal that is counted gives it up the third time.

        Returns:
            Whether it is given up.
        """
        refusals = delivery.refusals + is_counted
        if refusals >= MOST_REFUSALS:
            self.fail(delivery, problem)
            return True
        pause_s = min(LONGEST_PAUSE_S, 2.0 ** min(delivery.attempts, 10))
        self._end(delivery, refusals=refusals, problem=problem, due_at=self._clock() + pause_s)
        return False

    def fail(self, delivery: Delivery, problem: Mapping[str, Any]) -> None:
        """Give it up: it waits for a person."""
        self._end(delivery, state="failed", problem=problem)

    def release(self, delivery: Delivery) -> None:
        """Put it back as if it had not been begun: an orderly stop."""
        self._end(delivery, attempts=DELIVERIES.c.attempts - 1)

    def retry(self, job_id: str) -> int:
        """Try again what was given up of a job's, or waits for its next try, at once; returns how many.

        Raises:
            UnknownJob: there is none.
            JobStateForbids: nothing of it waits.
        """
        again = {"state": "waiting", "refusals": 0, "due_at": 0.0}
        wanted = and_(DELIVERIES.c.job == job_id, DELIVERIES.c.state != "delivered")
        with self._database.transaction() as connection:
            job = read_job(connection, job_id)
            count = connection.execute(update(DELIVERIES).where(wanted).values(**again)).rowcount
        if not count:
            raise JobStateForbids("Nothing of this job's result waits to be delivered.", state=job.state)
        return count

    def undelivered(self, limit: int) -> list[Delivery]:
        """What waits or was given up, of jobs that have a result; the oldest first, at most `limit`."""
        wanted = (
            select(DELIVERIES)
            .join(JOBS, JOBS.c.id == DELIVERIES.c.job)
            .where(DELIVERIES.c.state != "delivered", JOBS.c.state == "succeeded")
            .order_by(DELIVERIES.c.number)
            .limit(limit)
        )
        with self._database.transaction() as connection:
            return [Delivery.of(row) for row in connection.execute(wanted).mappings()]

    def _end(self, delivery: Delivery, **values: Any) -> None:
        """Write down what a try came to; nothing, where it has changed hands or its job was erased."""
        mine = and_(DELIVERIES.c.number == delivery.number, DELIVERIES.c.token == delivery.token)
        with self._database.transaction() as connection:
            connection.execute(update(DELIVERIES).where(mine).values(gateway=None, **values))
