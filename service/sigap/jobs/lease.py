"""A claimed job: whatever its gateway writes about it is written only while its token is the job's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, select, update

from sigap.core.errors import Cancelled, NeverRoom
from sigap.jobs.job import Job
from sigap.jobs.rows import QUEUED, answered_by, check_quota, dead, drop_result, drop_unused, end_job, find_twin
from sigap.jobs.storage import Storage
from sigap.jobs.tables import FOLDERS, JOBS

MOST_ERRORS = 3
LONGEST_PAUSE_S = 30.0


class Lease:
    """One claimed job, for as long as its token is valid.

    Args:
        storage: where the job is known.
        job: as it was claimed.
    """

    def __init__(self, storage: Storage, job: Job) -> None:
        self._database = storage.database
        self._data = storage.data
        self._quota_bytes = storage.quota_bytes
        self._clock = storage.clock
        self.job = job

    def report(self, stage: str, slices_done: int, slices_total: int) -> None:
        """Note how far it is.

        Raises:
            Cancelled: the job is somebody else's, or has been cancelled.
        """
        self._write(stage=stage, slices_done=slices_done, slices_total=slices_total)

    def answer_by_twin(self) -> bool:
        """Answer the job with an equal one's result, if one has come to be since it was accepted.

        Raises:
            Cancelled: the job is somebody else's, or has been cancelled.
        """
        job = self.job
        if job.is_fresh or job.fingerprint is None:
            return False
        with self._database.transaction() as connection:
            self._database.lock(connection)
            twin = find_twin(connection, job.fingerprint)
            if twin is None:
                return False
            changes = {**answered_by(twin, self._clock()), "gateway": None, "stage": None, "crashes": 0}
            if connection.execute(update(JOBS).where(self._is_mine()).values(**changes)).rowcount == 0:
                raise _fenced()
            dropped = drop_unused(connection, job.folder)
        self._data.remove(dropped)
        return True

    def reserve(self, upload: int, result: int) -> None:
        """Take room for a result that is about to be moved into the job's folder.

        Args:
            upload: bytes that are there.
            result: bytes that come.

        Raises:
            Cancelled: the job is somebody else's, or has been cancelled.
            StorageFull: they go over the quota; `NeverRoom`: they would even alone.
        """
        folder = self.job.folder or ""
        if upload + result > self._quota_bytes:
            raise NeverRoom
        with self._database.transaction() as connection:
            self._database.lock(connection)
            if connection.execute(select(JOBS.c.id).where(self._is_mine())).first() is None:
                raise _fenced()
            check_quota(connection, upload + result, self._quota_bytes, beside=folder)
            sizes = {"bytes": upload + result, "result_bytes": result}
            connection.execute(update(FOLDERS).where(FOLDERS.c.id == folder).values(**sizes))

    def succeed(self, result: str, *, fingerprint: str, slices: int) -> None:
        """Keep a result that is safe on disk.

        Args:
            result: its subfolder.
            fingerprint: of the model that made it.
            slices: of the volume.

        Raises:
            Cancelled: the job is somebody else's, or has been cancelled.
        """
        folder = FOLDERS.c.id == self.job.folder
        with self._database.transaction() as connection:
            self._database.lock(connection)
            changes = {"state": "succeeded", "gateway": None, "stage": None, "finished_at": self._clock()}
            changes |= {"slices_done": slices, "slices_total": slices, "fingerprint": fingerprint, "crashes": 0}
            ended = update(JOBS).where(self._is_mine()).values(**changes, problem=None)
            if connection.execute(ended).rowcount == 0:
                if connection.execute(select(FOLDERS.c.result).where(folder)).scalar_one_or_none() == result:
                    return  # the commit before was made, and only its answer was lost
                raise _fenced()
            connection.execute(update(FOLDERS).where(folder).values(result=result))

    def fail(self, problem: Mapping[str, Any]) -> None:
        """End the job for a reason that no other try would change.

        Raises:
            Cancelled: the job is somebody else's, or has been cancelled.
        """
        with self._database.transaction() as connection:
            self._database.lock(connection)
            if connection.execute(select(JOBS.c.id).where(self._is_mine())).first() is None:
                raise _fenced()
            dropped = end_job(connection, self.job, "failed", self._clock(), problem)
        self._data.remove(dropped)

    def postpone(self, problem: Mapping[str, Any], *, is_counted: bool) -> bool:
        """Try again later; an error that is counted makes a dead letter the third time.

        Returns:
            Whether it is dead.

        Raises:
            Cancelled: the job is somebody else's, or has been cancelled.
        """
        errors = self.job.errors + is_counted
        counts = {"errors": errors, "crashes": JOBS.c.crashes - 1}
        if errors >= MOST_ERRORS:
            with self._database.transaction() as connection:
                self._update(connection, {**dead(problem, self._clock()), **counts})
                drop_result(connection, self.job.folder)
            return True
        tries = errors if is_counted else self.job.attempts
        pause_s = min(LONGEST_PAUSE_S, 2.0 ** min(tries - 1, 10))
        self._write(**QUEUED, **counts, due_at=self._clock() + pause_s)
        return False

    def release(self) -> None:
        """Put the job back as if it had not been begun: an orderly stop, or one that goes first.

        Raises:
            Cancelled: the job is somebody else's, or has been cancelled.
        """
        self._write(**QUEUED, crashes=JOBS.c.crashes - 1)

    def _write(self, **values: Any) -> None:
        with self._database.transaction() as connection:
            self._update(connection, values)

    def _update(self, connection: Connection, values: Mapping[str, Any]) -> None:
        if connection.execute(update(JOBS).where(self._is_mine()).values(**values)).rowcount == 0:
            raise _fenced()

    def _is_mine(self) -> ColumnElement[bool]:
        return and_(JOBS.c.id == self.job.id, JOBS.c.token == self.job.token, JOBS.c.state == "running")


def _fenced() -> Cancelled:
    return Cancelled("The job was cancelled, or another gateway has taken it over.")
