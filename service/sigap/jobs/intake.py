"""How an upload becomes a job, within the store's transaction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, and_, update

from sigap.core.contract import Model
from sigap.core.errors import DatabaseUnavailable, KeyReused
from sigap.jobs.job import RECEIVING, Job, Order
from sigap.jobs.rows import answered_by, drop_unused, find_twin, read_job, visible_jobs, with_position
from sigap.jobs.tables import JOBS


@dataclass(frozen=True)
class Accepted:
    """What became of an upload.

    Attributes:
        job: the one that answers it.
        is_repeated: an earlier request with the same Idempotency-Key made the job; the upload is not needed.
    """

    job: Job
    is_repeated: bool = False


@dataclass(frozen=True)
class Ask:
    """What is asked for, once the upload is complete.

    Attributes:
        sha256: of the upload.
        model: what the task is answered by now.
    """

    order: Order
    sha256: str
    model: Model

    @property
    def request(self) -> str:
        """Equal for those that ask the same."""
        return self.order.request(self.sha256)

    @property
    def fingerprint(self) -> str:
        """Equal for those that have the same result."""
        return self.order.fingerprint(self.sha256, self.model)


def new_row(job_id: str, order: Order, gateway: str, now: float) -> dict[str, Any]:
    """A job whose upload is about to arrive."""
    return {
        "id": job_id,
        "state": RECEIVING,
        "owner": order.owner,
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


def queue(connection: Connection, job_id: str, ask: Ask, now: float) -> tuple[Job, list[str]]:
    """Put a job into the queue, or answer it by an equal one's result. Returns also folders that are to be deleted."""
    twin = None if ask.order.is_fresh else find_twin(connection, ask.fingerprint)
    changes: dict[str, Any] = {"state": "queued", "gateway": None, "queued_at": now}
    changes |= {"fingerprint": ask.fingerprint, "request": ask.request, "idempotency_key": ask.order.key_digest}
    if twin is not None:
        changes |= answered_by(twin, now)
    entry = and_(JOBS.c.id == job_id, JOBS.c.state == RECEIVING)
    if connection.execute(update(JOBS).where(entry).values(**changes)).rowcount == 0:
        raise DatabaseUnavailable("The upload was interrupted on the server. Send the study again.")
    dropped = [] if twin is None else drop_unused(connection, job_id)
    return read_job(connection, job_id), dropped


def repeated(connection: Connection, ask: Ask) -> Job | None:
    """The job of an earlier request with the same Idempotency-Key; one that was cancelled gives the key up.

    Raises:
        KeyReused: the key belongs to another request.
    """
    if ask.order.key_digest is None:
        return None
    owner = visible_jobs().where(JOBS.c.idempotency_key == ask.order.key_digest)
    row = connection.execute(owner).mappings().one_or_none()
    if row is None:
        return None
    # A job of before `request` was written down has its fingerprint only.
    if (row["request"] or row["fingerprint"]) not in (ask.request, ask.fingerprint):
        raise KeyReused(
            "This Idempotency-Key was used for another study, task or option. Give each request a key of its own."
        )
    if row["state"] == "cancelled":
        connection.execute(update(JOBS).where(JOBS.c.id == row["id"]).values(idempotency_key=None))
        return None
    return with_position(connection, row)
