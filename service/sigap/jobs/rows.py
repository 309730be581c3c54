"""Reading and ending rows of the store, within somebody's transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, RowMapping, Select, and_, delete, func, or_, select, update

from sigap.core.errors import StorageFull, UnknownJob
from sigap.jobs.client import ANYBODY, Client
from sigap.jobs.delivery import deliveries_of, forget_deliveries
from sigap.jobs.job import ACTIVE, RECEIVING, Job
from sigap.jobs.tables import FOLDERS, JOBS

_LATEST = 20
# Of an upload, as long as no result is known.
_FIRST_SHARE = 10

QUEUED: Mapping[str, Any] = {
    "state": "queued",
    "gateway": None,
    "stage": None,
    "slices_done": 0,
    "token": JOBS.c.token + 1,
}
"""A job that goes back into the queue; who held it has no say any more."""


def dead(problem: Mapping[str, Any], now: float) -> dict[str, Any]:
    """A job that waits for a person; its upload stays."""
    return {**QUEUED, "state": "dead", "finished_at": now, "problem": problem}


def check_quota(connection: Connection, size: int, quota_bytes: int, *, beside: str = "") -> None:
    """Raise `StorageFull` where `size` bytes more, without the folder `beside`, are too many."""
    others = select(func.coalesce(func.sum(FOLDERS.c.bytes), 0)).where(FOLDERS.c.id != beside)
    if connection.execute(others).scalar_one() + size > quota_bytes:
        raise StorageFull("The server's space for studies is full. Try again later or tell its administrator.")


def room_for_results(connection: Connection) -> int:
    """Bytes that the results of all jobs on their way may take, each as many as the largest of the latest.

    While there is none, a tenth of their uploads. What is accepted must be answered: without this the last uploads
    would take the room that their results need.
    """
    latest = (
        select(FOLDERS.c.result_bytes)
        .join(JOBS, JOBS.c.folder == FOLDERS.c.id)
        .where(JOBS.c.state == "succeeded", ~JOBS.c.is_reused)
        .order_by(JOBS.c.number.desc())
        .limit(_LATEST)
    ).subquery()
    largest = connection.execute(select(func.max(latest.c.result_bytes))).scalar_one()
    on_their_way = select(func.count(), func.coalesce(func.sum(FOLDERS.c.bytes), 0)).join(FOLDERS)
    count, uploaded = connection.execute(on_their_way.where(JOBS.c.state.in_(ACTIVE))).one()
    # A mask and its numbers are a small part of the scan: 1 to 3 % of the samples.
    return int(uploaded // _FIRST_SHARE if largest is None else largest * count)


def visible_jobs(client: Client = ANYBODY) -> Select[Any]:
    """Jobs that a client may see, each with its folder's result."""
    jobs = select(JOBS, FOLDERS.c.result).outerjoin(FOLDERS).where(JOBS.c.state != RECEIVING)
    return jobs if client.sees_all else jobs.where(JOBS.c.owner == client.name)


def read_job(connection: Connection, job_id: str, client: Client = ANYBODY) -> Job:
    """One job; raises `UnknownJob`, of a job that is another's too."""
    if "\0" in job_id:
        # PostgreSQL has no such character, and calls it an error of the database.
        raise UnknownJob
    row = connection.execute(visible_jobs(client).where(JOBS.c.id == job_id)).mappings().one_or_none()
    if row is None:
        raise UnknownJob
    job = with_position(connection, row)
    return replace(job, deliveries=deliveries_of(connection, [job_id]).get(job_id, ()))


def with_position(connection: Connection, row: RowMapping) -> Job:
    """A row of `visible_jobs` as a job, with its place in the queue."""
    if row["state"] != "queued":
        return Job.of(row)
    before = or_(JOBS.c.rank < row["rank"], and_(JOBS.c.rank == row["rank"], JOBS.c.number < row["number"]))
    ahead = connection.execute(select(func.count()).where(JOBS.c.state == "queued", before)).scalar_one()
    return Job.of(row, queue_position=ahead + 1)


def with_positions(connection: Connection, rows: Sequence[RowMapping]) -> list[Job]:
    """Rows of `visible_jobs` as jobs, the queue counted once for all of them."""
    if not any(row["state"] == "queued" for row in rows):
        return [Job.of(row) for row in rows]
    queue = select(JOBS.c.number).where(JOBS.c.state == "queued").order_by(JOBS.c.rank, JOBS.c.number)
    places = {number: place for place, number in enumerate(connection.execute(queue).scalars(), 1)}
    return [Job.of(row, queue_position=places.get(row["number"])) for row in rows]


def find_twin(connection: Connection, fingerprint: str) -> RowMapping | None:
    """The latest job with the same fingerprint whose result is still here."""
    same = visible_jobs().where(JOBS.c.fingerprint == fingerprint, JOBS.c.state == "succeeded")
    return connection.execute(same.order_by(JOBS.c.number.desc()).limit(1)).mappings().one_or_none()


def answered_by(twin: RowMapping, now: float) -> dict[str, Any]:
    """A job that has an equal one's result."""
    slices = twin["slices_total"]
    return {
        "state": "succeeded",
        "folder": twin["folder"],
        "is_reused": True,
        "slices_done": slices,
        "slices_total": slices,
        "started_at": now,
        "finished_at": now,
    }


def drop_result(connection: Connection, folder: str | None) -> None:
    """Count a folder's result no more: it is deleted, or was never moved in."""
    upload = FOLDERS.c.bytes - func.coalesce(FOLDERS.c.result_bytes, 0)
    connection.execute(update(FOLDERS).where(FOLDERS.c.id == folder).values(bytes=upload, result_bytes=None))


def end_job(
    connection: Connection, job: Job, state: str, now: float, problem: Mapping[str, Any] | None = None
) -> list[str]:
    """End a job without a result; who runs it has no say any more. Returns the folders that are to be deleted."""
    values: dict[str, Any] = {"state": state, "gateway": None, "folder": None, "stage": None, "finished_at": now}
    values |= {"token": JOBS.c.token + 1, "problem": problem}
    connection.execute(update(JOBS).where(JOBS.c.id == job.id).values(**values))
    return drop_unused(connection, job.folder)


def forget_job(connection: Connection, job_id: str) -> list[str]:
    """Delete a job. Returns the folders that are to be deleted."""
    folder = connection.execute(select(JOBS.c.folder).where(JOBS.c.id == job_id)).scalar_one_or_none()
    forget_deliveries(connection, job_id)
    connection.execute(delete(JOBS).where(JOBS.c.id == job_id))
    return drop_unused(connection, folder)


def drop_unused(connection: Connection, folder: str | None) -> list[str]:
    """Delete the row of a folder that no job has any more; its files may go once that is committed."""
    if folder is None:
        return []
    used = select(JOBS.c.id).where(JOBS.c.folder == folder).exists()
    dropped = connection.execute(delete(FOLDERS).where(FOLDERS.c.id == folder, ~used)).rowcount
    return [folder] * dropped
