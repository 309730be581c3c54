"""One result on its way to one destination, as the store knows it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from sqlalchemy import Connection, RowMapping, delete, func, insert, select

from sigap.jobs.tables import DELIVERIES
from sigap.jobs.timestamps import rfc3339

DeliveryState = Literal["waiting", "delivered", "failed"]
DELIVERY_STATES: tuple[DeliveryState, ...] = get_args(DeliveryState)


@dataclass(frozen=True)
class Delivery:
    """A row of the store.

    Attributes:
        number: its own.
        job: whose result it is.
        destination: a name in the PACS file.
        state: waiting for its job's end or its next try, delivered, or failed: then it waits for a person.
        token: changes with every change of hands.
        attempts: tries that were begun.
        refusals: tries that the destination has refused.
        problem: why the last try failed, an RFC 9457 document without `instance`.
    """

    number: int
    job: str
    destination: str
    state: DeliveryState
    token: int
    attempts: int
    refusals: int
    delivered_at: float | None
    problem: Mapping[str, Any] | None

    @classmethod
    def of(cls, row: RowMapping) -> Delivery:
        """From a row of the table `deliveries`."""
        return cls(**{name: row[name] for name in cls.__dataclass_fields__})

    def as_json(self) -> dict[str, Any]:
        """The delivery as clients see it, within its job."""
        return {
            "destination": self.destination,
            "state": self.state,
            "attempts": self.attempts,
            "delivered_at": rfc3339(self.delivered_at),
            "problem": None if self.problem is None else dict(self.problem),
        }


def add_deliveries(connection: Connection, job_id: str, destinations: Iterable[str]) -> None:
    """Have a job's result sent to these, too; one that it goes to already gets it once."""
    there = select(DELIVERIES.c.destination).where(DELIVERIES.c.job == job_id)
    known = set(connection.execute(there).scalars())
    rows = [
        {
            "job": job_id,
            "destination": name,
            "state": "waiting",
            "token": 0,
            "attempts": 0,
            "refusals": 0,
            "due_at": 0.0,
        }
        for name in dict.fromkeys(destinations)
        if name not in known
    ]
    if rows:
        connection.execute(insert(DELIVERIES), rows)


def deliveries_of(connection: Connection, job_ids: Sequence[str]) -> dict[str, tuple[Delivery, ...]]:
    """The deliveries of some jobs, in the order in which they were asked for."""
    wanted = select(DELIVERIES).where(DELIVERIES.c.job.in_(job_ids)).order_by(DELIVERIES.c.number)
    found: dict[str, tuple[Delivery, ...]] = {}
    for row in connection.execute(wanted).mappings():
        found[row["job"]] = (*found.get(row["job"], ()), Delivery.of(row))
    return found


def forget_deliveries(connection: Connection, job_id: str) -> None:
    """Forget what was to be sent of a job that is about to be forgotten."""
    connection.execute(delete(DELIVERIES).where(DELIVERIES.c.job == job_id))


def count_deliveries(connection: Connection) -> dict[str, int]:
    """How many there are, by state, zeros included."""
    counts = select(DELIVERIES.c.state, func.count().label("number")).group_by(DELIVERIES.c.state)
    return {**dict.fromkeys(DELIVERY_STATES, 0), **{row.state: row.number for row in connection.execute(counts)}}
