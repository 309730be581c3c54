"""The job store as those see it who bring studies and ask for them: everything but running them (`leases`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import Connection, and_, func, insert, select, update

from sigap.core.contract import Model
from sigap.core.errors import JobStateForbids
from sigap.jobs import tally
from sigap.jobs.client import ANYBODY, Client
from sigap.jobs.delivery import add_deliveries, deliveries_of
from sigap.jobs.intake import Accepted, Ask, new_row, queue, repeated
from sigap.jobs.job import ENDED, RECEIVING, Job, Order
from sigap.jobs.places import check_place
from sigap.jobs.rows import check_quota, end_job, forget_job, read_job, room_for_results, visible_jobs, with_positions
from sigap.jobs.storage import Storage
from sigap.jobs.tables import DELIVERIES, FOLDERS, GATEWAYS, JOBS

_PORTION = 100


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

    def enter(self, job_id: str, order: Order, *, gateway: str, size: int = 0) -> None:
        """Take a place in the queue and room on the disk, before the first byte is read.

        Args:
            job_id: of `new_id`. It is the caller's from the beginning: where the database's answer is lost, nobody else
                could give the entry back.
            order: what is asked for.
            gateway: who receives it; if that one dies, so does the entry.
            size: bytes that the client has announced.

        Raises:
            QueueFull: as many of this priority wait as may.
            StorageFull: the announced bytes and the results to come go over the quota.
        """
        with self._database.transaction() as connection:
            self._database.lock(connection)
            check_place(connection, order, self._queue_length)
            connection.execute(insert(FOLDERS).values(id=job_id, bytes=size))
            connection.execute(insert(JOBS).values(**new_row(job_id, order, gateway, self._clock())))
            self._check_room(connection, job_id, size)

    def reserve(self, folder: str, size: int) -> None:
        """Say how many bytes a folder takes or is about to take.

        Raises:
            StorageFull: they and the results to come go over the quota.
        """
        with self._database.transaction() as connection:
            self._database.lock(connection)
            self._check_room(connection, folder, size)
            connection.execute(update(FOLDERS).where(FOLDERS.c.id == folder).values(bytes=size))

    def accept(self, job_id: str, order: Order, sha256: str, model: Model) -> Accepted:
        """Put a job whose upload is complete and safe into the queue, or answer it with what is known already.

        Args:
            job_id: of `enter`.
            order: the same as there.
            sha256: of the upload.
            model: what the task is answered by now.

        Raises:
            KeyReused: the order's Idempotency-Key belongs to another request.
            DatabaseUnavailable: the entry has gone, because this gateway was taken for dead meanwhile.
        """
        ask = Ask(order, sha256, model)
        with self._database.transaction() as connection:
            self._database.lock(connection)
            if job := repeated(connection, ask):
                is_repeated, dropped = True, forget_job(connection, job_id)
            else:
                job, dropped = queue(connection, job_id, ask, self._clock())
                is_repeated = False
            add_deliveries(connection, job.id, order.send_to)
            accepted = Accepted(read_job(connection, job.id), is_repeated=is_repeated)
        self._data.remove(dropped)
        return accepted

    def abandon(self, job_id: str) -> None:
        """Give back an entry whose upload failed."""
        with self._database.transaction() as connection:
            dropped = forget_job(connection, job_id)
        self._data.remove(dropped)

    def get(self, job_id: str, client: Client = ANYBODY) -> Job:
        """One job, with its place in the queue.

        Raises:
            UnknownJob: there is none that this client may see, or it was erased.
        """
        with self._database.transaction() as connection:
            return read_job(connection, job_id, client)

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
        client: Client = ANYBODY,
    ) -> list[Job]:
        """The newest jobs first, at most `limit`, of those that arrived before number `before`."""
        wanted = visible_jobs(client).order_by(JOBS.c.number.desc()).limit(limit)
        for column, value in ((JOBS.c.task, task), (JOBS.c.priority, priority)):
            wanted = wanted if value is None else wanted.where(column == value)
        if states:
            wanted = wanted.where(JOBS.c.state.in_(states))
        if before is not None:
            wanted = wanted.where(JOBS.c.number < before)
        with self._database.transaction() as connection:
            rows = connection.execute(wanted).mappings().all()
            sent = deliveries_of(connection, [row["id"] for row in rows])
            return [replace(job, deliveries=sent.get(job.id, ())) for job in with_positions(connection, rows)]

    def cancel(self, job_id: str, client: Client = ANYBODY, *, only_doubted: bool = False) -> Job:
        """End a job that has not ended; who runs it finds out at its next step.

        Args:
            job_id: the job's.
            client: who asks.
            only_doubted: leave a job alone that somebody has said to wait for.

        Raises:
            UnknownJob: there is none that this client may see.
            JobStateForbids: it has ended.
        """
        with self._database.transaction() as connection:
            self._database.lock(connection)
            job = read_job(connection, job_id, client)
            if only_doubted and not job.is_doubted:
                return job
            if job.has_ended:
                raise JobStateForbids(
                    f"The job has ended: {job.state}. Only a waiting or running job can be cancelled.", state=job.state
                )
            dropped = end_job(connection, job, "cancelled", self._clock())
            ended = read_job(connection, job_id)
        self._data.remove(dropped)
        return ended

    def doubt(self, job_id: str) -> bool:
        """Whoever brought a job has hung up. Returns whether another gateway may know somebody who waits for it."""
        with self._database.transaction() as connection:
            connection.execute(update(JOBS).where(JOBS.c.id == job_id).values(is_doubted=True))
            return connection.execute(select(func.count()).select_from(GATEWAYS)).scalar_one() > 1

    def want(self, job_id: str) -> None:
        """Somebody waits for a job."""
        with self._database.transaction() as connection:
            connection.execute(update(JOBS).where(JOBS.c.id == job_id).values(is_doubted=False))

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
        """Let no later request be answered with a folder's result, not even one with the same key: it is damaged."""
        with self._database.transaction() as connection:
            given_up = {"fingerprint": None, "idempotency_key": None}
            connection.execute(update(JOBS).where(JOBS.c.folder == folder).values(**given_up))

    def erase(self, job_id: str, client: Client = ANYBODY) -> Job:
        """Forget an ended job; returns what it was.

        Raises:
            UnknownJob: there is none that this client may see.
            JobStateForbids: it has not ended.
        """
        with self._database.transaction() as connection:
            self._database.lock(connection)
            job = read_job(connection, job_id, client)
            if not job.has_ended:
                raise JobStateForbids(f"The job is {job.state}. Cancel it first, or wait for its end.", state=job.state)
            dropped = forget_job(connection, job_id)
        self._data.remove(dropped)
        return job

    def expire(self, older_than_s: float) -> int:
        """Forget the jobs that ended so long ago, some at a time; returns how many.

        A result that is still to be delivered stays, however old it is.
        """
        undelivered = select(DELIVERIES.c.number).where(
            DELIVERIES.c.job == JOBS.c.id, DELIVERIES.c.state != "delivered", JOBS.c.state == "succeeded"
        )
        is_old = JOBS.c.finished_at < self._clock() - older_than_s
        old = and_(JOBS.c.state.in_(ENDED), is_old, ~undelivered.exists())
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

    def tally(self) -> tally.Tally:
        """Counts for metrics."""
        with self._database.transaction() as connection:
            return tally.count(connection, self._clock())

    def _check_room(self, connection: Connection, folder: str, size: int) -> None:
        check_quota(connection, size + room_for_results(connection), self._quota_bytes, beside=folder)
