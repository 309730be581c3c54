"""The job store as those see it who bring studies and ask for them: everything but running them (`leases`)."""

from __future__ import annotations

import math
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from sqlalchemy import Connection, and_, func, insert, select, update

from sigap.core.contract import PRIORITIES
from sigap.core.errors import DatabaseUnavailable, JobStateForbids, KeyReused, QueueFull
from sigap.jobs.job import ENDED, RECEIVING, STATES, Job, Order
from sigap.jobs.rows import (
    answered_by,
    check_quota,
    drop_unused,
    end_job,
    find_twin,
    forget_job,
    read_job,
    visible_jobs,
    with_position,
)
from sigap.jobs.storage import Storage
from sigap.jobs.tables import FOLDERS, GATEWAYS, JOBS

_ACTIVE = (RECEIVING, "queued", "running")
# A guess until a job has ended, and how many of the latest are asked.
_FIRST_GUESS_S = 10.0
_LATEST = 20
_PORTION = 100


@dataclass(frozen=True)
class Accepted:
    """What became of an upload.

    Attributes:
        job: the one that answers it.
        is_repeated: an earlier request with the same Idempotency-Key made the job; the upload is not needed.
    """

    job: Job
    is_repeated: bool = False


class JobStore:
    """Safe to use from several threads, processes and machines.

    Args:
        storage: its database is open, its folder prepared.
        queue_length: jobs of one priority that may wait or be uploaded, beside those that run.
    """

    def __init__(self, storage: Storage, *, queue_length: int) -> None:
        self._database = storage.database
        self._data = storage.data
        self._quota_bytes = storage.quota_bytes
        self._clock = storage.clock
        self._queue_length = queue_length

    def enter(self, order: Order, *, gateway: str, size: int = 0) -> str:
        """Take a place in the queue and room on the disk, before the first byte is read.

        Args:
            order: what is asked for.
            gateway: who receives it; if that one dies, so does the entry.
            size: bytes that the client has announced.

        Returns:
            The new job's id; its folder has the same.

        Raises:
            QueueFull: as many of this priority wait as may.
            StorageFull: the announced bytes go over the quota.
        """
        job_id = secrets.token_hex(16)
        with self._database.transaction() as connection:
            self._database.lock(connection)
            self._check_place(connection, order)
            check_quota(connection, size, self._quota_bytes)
            connection.execute(insert(FOLDERS).values(id=job_id, bytes=size))
            connection.execute(insert(JOBS).values(**_new_row(job_id, order, gateway, self._clock())))
        return job_id

    def reserve(self, folder: str, size: int) -> None:
        """Say how many bytes a folder takes or is about to take.

        Raises:
            StorageFull: they go over the quota.
        """
        with self._database.transaction() as connection:
            self._database.lock(connection)
            check_quota(connection, size, self._quota_bytes, beside=folder)
            connection.execute(update(FOLDERS).where(FOLDERS.c.id == folder).values(bytes=size))

    def accept(self, job_id: str, order: Order, fingerprint: str) -> Accepted:
        """Put a job whose upload is complete and safe into the queue, or answer it with what is known already.

        Raises:
            KeyReused: the order's Idempotency-Key belongs to another request.
            DatabaseUnavailable: the entry has gone, because this gateway was taken for dead meanwhile.
        """
        with self._database.transaction() as connection:
            self._database.lock(connection)
            if repeated := self._repeated(connection, order, fingerprint):
                accepted, dropped = Accepted(repeated, is_repeated=True), forget_job(connection, job_id)
            else:
                accepted, dropped = self._queue(connection, job_id, order, fingerprint)
        self._data.remove(dropped)
        return accepted

    def abandon(self, job_id: str) -> None:
        """Give back an entry whose upload failed."""
        with self._database.transaction() as connection:
            dropped = forget_job(connection, job_id)
        self._data.remove(dropped)

    def get(self, job_id: str) -> Job:
        """One job, with its place in the queue.

        Raises:
            UnknownJob: there is none, or it was erased.
        """
        with self._database.transaction() as connection:
            return read_job(connection, job_id)

    def ids(self, beginning: str, limit: int = 2) -> list[str]:
        """Ids of jobs that begin so, at most `limit`."""
        wanted = select(JOBS.c.id).where(JOBS.c.state != RECEIVING, JOBS.c.id.startswith(beginning, autoescape=True))
        with self._database.transaction() as connection:
            return list(connection.execute(wanted.limit(limit)).scalars())

    def page(
        self,
        *,
        states: Sequence[str] = (),
        task: str | None = None,
        priority: str | None = None,
        limit: int = 100,
        before: int | None = None,
    ) -> list[Job]:
        """The newest jobs first, at most `limit`, of those that arrived before number `before`."""
        wanted = visible_jobs().order_by(JOBS.c.number.desc()).limit(limit)
        for column, value in ((JOBS.c.task, task), (JOBS.c.priority, priority)):
            wanted = wanted if value is None else wanted.where(column == value)
        if states:
            wanted = wanted.where(JOBS.c.state.in_(states))
        if before is not None:
            wanted = wanted.where(JOBS.c.number < before)
        with self._database.transaction() as connection:
            rows = connection.execute(wanted).mappings().all()
            return [with_position(connection, row) for row in rows]

    def cancel(self, job_id: str) -> Job:
        """End a job that has not ended; who runs it finds out at its next step.

        Raises:
            UnknownJob: there is none.
            JobStateForbids: it has ended.
        """
        with self._database.transaction() as connection:
            self._database.lock(connection)
            job = read_job(connection, job_id)
            if job.has_ended:
                raise JobStateForbids(
                    f"The job has ended: {job.state}. Only a waiting or running job can be cancelled.", state=job.state
                )
            dropped = end_job(connection, job, "cancelled", self._clock())
            ended = read_job(connection, job_id)
        self._data.remove(dropped)
        return ended

    def retry(self, job_id: str) -> Job:
        """Put a dead letter back into the queue with a clean record.

        Raises:
            UnknownJob: there is none.
            JobStateForbids: it is no dead letter.
        """
        clean = {"errors": 0, "crashes": 0, "due_at": 0.0, "finished_at": None, "problem": None}
        with self._database.transaction() as connection:
            self._database.lock(connection)
            job = read_job(connection, job_id)
            if job.state != "dead":
                raise JobStateForbids(f"The job is {job.state}. Only a dead letter can be retried.", state=job.state)
            connection.execute(update(JOBS).where(JOBS.c.id == job_id).values(state="queued", **clean))
            return read_job(connection, job_id)

    def disown(self, folder: str | None) -> None:
        """Let no later request be answered with a folder's result: it is damaged."""
        with self._database.transaction() as connection:
            connection.execute(update(JOBS).where(JOBS.c.folder == folder).values(fingerprint=None))

    def erase(self, job_id: str) -> None:
        """Forget an ended job.

        Raises:
            UnknownJob: there is none.
            JobStateForbids: it has not ended.
        """
        with self._database.transaction() as connection:
            self._database.lock(connection)
            job = read_job(connection, job_id)
            if not job.has_ended:
                raise JobStateForbids(f"The job is {job.state}. Cancel it first, or wait for its end.", state=job.state)
            dropped = forget_job(connection, job_id)
        self._data.remove(dropped)

    def expire(self, older_than_s: float) -> int:
        """Forget the jobs that ended so long ago, some at a time; returns how many."""
        old = and_(JOBS.c.state.in_(ENDED), JOBS.c.finished_at < self._clock() - older_than_s)
        count = 0
        while True:
            # Nobody else can write meanwhile, so not all of a night's at once.
            with self._database.transaction() as connection:
                self._database.lock(connection)
                ids = connection.execute(select(JOBS.c.id).where(old).limit(_PORTION)).scalars().all()
                dropped = [folder for job_id in ids for folder in forget_job(connection, job_id)]
            self._data.remove(dropped)
            count += len(ids)
            if len(ids) < _PORTION:
                return count

    def folders(self) -> dict[str, str | None]:
        """All folders that must be there, each with the subfolder of its result."""
        with self._database.transaction() as connection:
            return {row.id: row.result for row in connection.execute(select(FOLDERS.c.id, FOLDERS.c.result))}

    def tally(self) -> Tally:
        """Counts for metrics."""
        counts = select(JOBS.c.state, JOBS.c.priority, func.count(), func.min(JOBS.c.created_at))
        grouped = counts.where(JOBS.c.state != RECEIVING).group_by(JOBS.c.state, JOBS.c.priority)
        with self._database.transaction() as connection:
            rows = connection.execute(grouped).all()
            used = connection.execute(select(func.coalesce(func.sum(FOLDERS.c.bytes), 0))).scalar_one()
        now = self._clock()
        jobs: dict[tuple[str, str], int] = {(state, priority): 0 for state in STATES for priority in PRIORITIES}
        oldest_s = dict.fromkeys(PRIORITIES, 0.0)
        for state, priority, count, created_at in rows:
            jobs[state, priority] = count
            if state == "queued":
                oldest_s[priority] = max(0.0, now - created_at)
        return Tally(jobs, oldest_s, int(used))

    def _queue(self, connection: Connection, job_id: str, order: Order, fingerprint: str) -> tuple[Accepted, list[str]]:
        twin = None if order.is_fresh else find_twin(connection, fingerprint)
        changes: dict[str, Any] = {"state": "queued", "gateway": None, "fingerprint": fingerprint}
        changes["idempotency_key"] = order.key_digest
        if twin is not None:
            changes |= answered_by(twin, self._clock())
        entry = and_(JOBS.c.id == job_id, JOBS.c.state == RECEIVING)
        if connection.execute(update(JOBS).where(entry).values(**changes)).rowcount == 0:
            raise DatabaseUnavailable("The upload was interrupted on the server. Send the study again.")
        dropped = [] if twin is None else drop_unused(connection, job_id)
        return Accepted(read_job(connection, job_id)), dropped

    def _check_place(self, connection: Connection, order: Order) -> None:
        taken = connection.execute(
            select(func.count()).where(JOBS.c.priority == order.priority, JOBS.c.state.in_(_ACTIVE))
        ).scalar_one()
        gateways = connection.execute(select(func.count()).select_from(GATEWAYS)).scalar_one()
        if taken >= self._queue_length + max(1, gateways):
            raise QueueFull(
                f"As many {order.priority} studies are waiting as this server takes. "
                "Try again after the time in Retry-After.",
                retry_after_s=_retry_after_s(connection, order, max(1, gateways)),
            )

    def _repeated(self, connection: Connection, order: Order, fingerprint: str) -> Job | None:
        """The job of an earlier request with the same Idempotency-Key; one that was cancelled gives the key up."""
        if order.key_digest is None:
            return None
        owner = visible_jobs().where(JOBS.c.idempotency_key == order.key_digest)
        row = connection.execute(owner).mappings().one_or_none()
        if row is None:
            return None
        if row["fingerprint"] != fingerprint:
            raise KeyReused(
                "This Idempotency-Key was used for another study, task or option. Give each request a key of its own."
            )
        if row["state"] == "cancelled":
            connection.execute(update(JOBS).where(JOBS.c.id == row["id"]).values(idempotency_key=None))
            return None
        return with_position(connection, row)


@dataclass(frozen=True)
class Tally:
    """Counts for metrics.

    Attributes:
        jobs: by state and priority, zeros included.
        oldest_s: by priority, how long the longest-waiting job has waited.
        used_bytes: of all folders.
    """

    jobs: Mapping[tuple[str, str], int]
    oldest_s: Mapping[str, float]
    used_bytes: int


def _new_row(job_id: str, order: Order, gateway: str, now: float) -> dict[str, Any]:
    return {
        "id": job_id,
        "state": RECEIVING,
        "task": order.task,
        "priority": order.priority,
        "rank": order.rank,
        "options": order.options.as_json(),
        "is_fresh": order.is_fresh,
        "is_reused": False,
        "folder": job_id,
        "gateway": gateway,
        "slices_done": 0,
        "slices_total": 0,
        "token": 0,
        "attempts": 0,
        "errors": 0,
        "crashes": 0,
        "due_at": 0.0,
        "created_at": now,
    }


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
        select(func.count()).where(JOBS.c.rank < order.rank, JOBS.c.state.in_(_ACTIVE))
    ).scalar_one()
    # Of the middle one: a job that waited a night for its retry says nothing about the others.
    spent_s = max(0.0, median(spent)) if spent else _FIRST_GUESS_S
    return max(1, math.ceil(spent_s * (ahead + 1) / gateways))
