"""Running jobs: who has which, and what becomes of them when their gateway dies.

A gateway that claims a job gets a token with it. Every change of hands changes the token, and whatever a gateway writes
about a job is written only while its token is the job's: one that was taken for dead and comes back can overwrite
nothing. No two clocks are compared.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, delete, func, insert, or_, select, update

from sigap.jobs.job import RECEIVING
from sigap.jobs.lease import LONGEST_PAUSE_S, Lease
from sigap.jobs.problem import problem_document
from sigap.jobs.rows import QUEUED, dead, drop_result, forget_job, read_job
from sigap.jobs.storage import Storage
from sigap.jobs.tables import GATEWAYS, JOBS

MOST_CRASHES = 5
_CRASHED = problem_document(
    "crashed",
    500,
    f"The study ended the server's process {MOST_CRASHES} times while it was worked on, so it is not tried again by "
    "itself. Tell the server's administrator the job's id.",
)


class Leases:
    """One gateway's part in the store.

    Args:
        storage: its database is open.

    Attributes:
        gateway: this gateway's id; another one after it was taken for dead.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._database = storage.database
        self._clock = storage.clock
        self.gateway = secrets.token_hex(16)

    def register(self, gateway: str | None = None) -> None:
        """Join the gateways, under a new id where one is given."""
        gateway = gateway or self.gateway
        with self._database.transaction() as connection:
            connection.execute(insert(GATEWAYS).values(id=gateway, beat=0))
        self.gateway = gateway

    def beat(self) -> None:
        """Say that this gateway lives; one that was taken for dead joins again under a new id."""
        mine = GATEWAYS.c.id == self.gateway
        with self._database.transaction() as connection:
            is_alive = connection.execute(update(GATEWAYS).where(mine).values(beat=GATEWAYS.c.beat + 1)).rowcount
        if not is_alive:
            self.register(secrets.token_hex(16))

    def beats(self) -> dict[str, int]:
        """All other gateways and how often they have said that they live."""
        others = select(GATEWAYS.c.id, GATEWAYS.c.beat).where(GATEWAYS.c.id != self.gateway)
        with self._database.transaction() as connection:
            return {row.id: row.beat for row in connection.execute(others)}

    def take_over(self, gateway: str, beat: int) -> bool:
        """Give a dead gateway's jobs back to the queue, and forget what it was receiving.

        Returns:
            Whether it was still silent; a gateway that has spoken since is left alone.
        """
        with self._database.transaction() as connection:
            self._database.lock(connection)
            silent = select(GATEWAYS.c.id).where(GATEWAYS.c.id == gateway, GATEWAYS.c.beat == beat)
            if connection.execute(silent.with_for_update()).first() is None:
                return False
            dropped = _forget_received(connection, gateway)
            buried = self._requeue(connection, JOBS.c.gateway == gateway)
            connection.execute(delete(GATEWAYS).where(GATEWAYS.c.id == gateway))
        self._storage.data.remove(dropped)
        self._storage.data.remove_workspaces(gateway)
        self._clear(buried)
        return True

    def put_back(self) -> None:
        """Give back what this gateway holds without knowing it: a claim whose answer was lost, a run that broke off.

        To be called while nothing runs. Each counts as a run that ended with its process.
        """
        with self._database.transaction() as connection:
            self._database.lock(connection)
            buried = self._requeue(connection, and_(JOBS.c.gateway == self.gateway, JOBS.c.state == "running"))
        self._clear(buried)

    def _requeue(self, connection: Connection, crashed: ColumnElement[bool]) -> Sequence[Row[Any]]:
        """Back into the queue, or with too many crashes away from it; returns folder and token of the latter."""
        given_up = update(JOBS).where(crashed, JOBS.c.crashes >= MOST_CRASHES)
        buried = given_up.values(**dead(_CRASHED, self._clock())).returning(JOBS.c.folder, JOBS.c.token)
        folders = connection.execute(buried).all()
        for row in folders:
            drop_result(connection, row.folder)
        connection.execute(update(JOBS).where(crashed).values(**QUEUED))
        return folders

    def _clear(self, buried: Sequence[Row[Any]]) -> None:
        for row in buried:
            # Its last run may have ended between keeping a result and saying so.
            self._storage.data.job(row.folder).remove_results(before=row.token)

    def leave(self) -> None:
        """The orderly end: what is still held goes back, and counts as nothing."""
        mine = JOBS.c.gateway == self.gateway
        with self._database.transaction() as connection:
            self._database.lock(connection)
            dropped = _forget_received(connection, self.gateway)
            connection.execute(update(JOBS).where(mine).values(**QUEUED, crashes=JOBS.c.crashes - 1))
            connection.execute(delete(GATEWAYS).where(GATEWAYS.c.id == self.gateway))
        self._storage.data.remove(dropped)
        self._storage.data.remove_workspaces(self.gateway)

    def claim(self, *, above: int | None = None, tasks: Sequence[str] | None = None) -> Lease | None:
        """Take the next job, if there is one.

        Args:
            above: only one that goes before jobs of this rank.
            tasks: those that this gateway has, if not all; other jobs wait for a gateway that has theirs.
        """
        next_up = select(JOBS.c.number).where(self._is_due(above, tasks)).order_by(JOBS.c.rank, JOBS.c.number).limit(1)
        now = self._clock()
        taken = {
            "state": "running",
            "gateway": self.gateway,
            "token": JOBS.c.token + 1,
            "attempts": JOBS.c.attempts + 1,
            # Counted before the run: a run that ends with its process can count nothing.
            "crashes": JOBS.c.crashes + 1,
            "started_at": func.coalesce(JOBS.c.started_at, now),
            "stage": "decode",
            "slices_done": 0,
        }
        with self._database.transaction() as connection:
            number = connection.execute(next_up.with_for_update(skip_locked=True)).scalar_one_or_none()
            if number is None:
                return None
            claimed = update(JOBS).where(JOBS.c.number == number).values(**taken).returning(JOBS.c.id)
            job_id = connection.execute(claimed).scalar_one()
            job = read_job(connection, job_id)
        return Lease(self._storage, job)

    def has_waiting(self, *, above: int, tasks: Sequence[str] | None = None) -> bool:
        """Whether a job waits that goes before jobs of this rank."""
        with self._database.transaction() as connection:
            return bool(
                connection.execute(select(select(JOBS.c.id).where(self._is_due(above, tasks)).exists())).scalar_one()
            )

    def _is_due(self, above: int | None, tasks: Sequence[str] | None) -> ColumnElement[bool]:
        now = self._clock()
        # A time far ahead was written before the clock was set back.
        is_due = or_(JOBS.c.due_at <= now, JOBS.c.due_at > now + 2 * LONGEST_PAUSE_S)
        is_ours = () if tasks is None else (JOBS.c.task.in_(tasks),)
        is_before = () if above is None else (JOBS.c.rank < above,)
        return and_(JOBS.c.state == "queued", is_due, *is_before, *is_ours)


def _forget_received(connection: Connection, gateway: str) -> list[str]:
    """Forget uploads that did not come to their end; returns the folders that are to be deleted."""
    received = select(JOBS.c.id).where(JOBS.c.gateway == gateway, JOBS.c.state == RECEIVING)
    ids = connection.execute(received).scalars().all()
    return [folder for job_id in ids for folder in forget_job(connection, job_id)]
