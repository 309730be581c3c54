"""One study on its way from upload to answer, as the store knows it (CONTRACT, section 6)."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from sqlalchemy import RowMapping

from sigap.core.contract import PRIORITIES, Model
from sigap.core.study import DecodeOptions
from sigap.jobs.delivery import Delivery
from sigap.jobs.timestamps import rfc3339
from sigap.pipeline import RunOptions

SCHEMA = "sigap.job/1"

State = Literal["queued", "running", "succeeded", "failed", "cancelled", "dead"]
STATES: tuple[State, ...] = get_args(State)
ENDED: tuple[State, ...] = ("succeeded", "failed", "cancelled", "dead")

RECEIVING = "receiving"
"""Of a job whose upload is not complete: it holds a place in the queue, and no client sees it."""

ACTIVE: tuple[str, ...] = (RECEIVING, "queued", "running")


@dataclass(frozen=True)
class Order:
    """What a client asks for.

    Attributes:
        task: a model's name.
        priority: emergency, routine or batch.
        options: what the pipeline needs to know.
        is_fresh: run it even where the same has been answered before.
        idempotency_key: names the request over its repetitions; kept as a digest only.
        owner: name of the key that it came with.
        send_to: destinations of the result, names in the PACS file.
    """

    task: str
    priority: str
    options: RunOptions = RunOptions()
    is_fresh: bool = False
    idempotency_key: str | None = None
    owner: str | None = None
    send_to: tuple[str, ...] = ()

    @property
    def rank(self) -> int:
        """Its priority's place in the queue; lower ones go first."""
        return PRIORITIES.index(self.priority)

    @property
    def key_digest(self) -> str | None:
        """Each owner's keys are its own: two clients may use the same text. No header and no name has a NUL."""
        key = self.idempotency_key
        if key is None:
            return None
        whole = key if self.owner is None else f"{self.owner}\0{key}"
        return hashlib.sha256(whole.encode()).hexdigest()

    def fingerprint(self, input_sha256: str, model: Model) -> str:
        """Equal for requests whose results are equal but for times and ids."""
        return _digest(input_sha256, model.name, model.version, model.sha256, self.options.as_json())

    def request(self, input_sha256: str) -> str:
        """Equal for requests that ask the same, whatever model answers them."""
        return _digest(input_sha256, self.task, self.options.as_json())


@dataclass(frozen=True)
class Job:
    """A row of the store.

    Attributes:
        number: order of arrival.
        owner: name of the key that it was sent with; None: without one.
        attempts: runs so far.
        errors: runs that ended with an error that may pass.
        crashes: runs that ended with their process, the present one included.
        is_reused: the result is that of an earlier job.
        queue_position: from 1; of a queued job only, and only where it was asked for.
        folder: where its files lie; None once they are gone.
        token: changes with every change of hands.
        queued_at: when its upload was safe; `created_at` is when it began to arrive.
        is_doubted: whoever brought it has hung up, and nobody has said yet that they wait for it.
        problem: why it failed, an RFC 9457 document without `instance`.
        deliveries: of its result; only where they were asked for.
    """

    number: int
    id: str
    state: State
    owner: str | None
    task: str
    priority: str
    options: RunOptions
    is_fresh: bool
    is_reused: bool
    fingerprint: str | None
    folder: str | None
    result: str | None
    stage: str | None
    slices_done: int
    slices_total: int
    token: int
    attempts: int
    errors: int
    crashes: int
    created_at: float
    queued_at: float | None
    is_doubted: bool
    started_at: float | None
    finished_at: float | None
    problem: Mapping[str, Any] | None
    queue_position: int | None = None
    deliveries: tuple[Delivery, ...] = ()

    @classmethod
    def of(cls, row: RowMapping, **more: Any) -> Job:
        """From a row of the table `jobs` with its folder's `result`."""
        known = {name: row[name] for name in cls.__dataclass_fields__ if name in row}
        return cls(**{**known, "options": run_options(row["options"]), **more})

    @property
    def rank(self) -> int:
        return PRIORITIES.index(self.priority)

    @property
    def has_ended(self) -> bool:
        return self.state in ENDED

    def as_json(self) -> dict[str, Any]:
        """The job as clients see it, `sigap.job/1`."""
        here = f"/jobs/{self.id}"
        return {
            "schema": SCHEMA,
            "id": self.id,
            "task": self.task,
            "state": self.state,
            "stage": self.stage if self.state == "running" else None,
            "slices_done": self.slices_done,
            "slices_total": self.slices_total,
            "queue_position": self.queue_position,
            "priority": self.priority,
            "attempts": self.attempts,
            "reused": self.is_reused,
            "created_at": rfc3339(self.created_at),
            "started_at": rfc3339(self.started_at),
            "finished_at": rfc3339(self.finished_at),
            "problem": None if self.problem is None else dict(self.problem),
            "deliveries": [delivery.as_json() for delivery in self.deliveries],
            "links": {
                "self": here,
                "result": f"{here}/result",
                "events": f"{here}/events",
                "image": f"{here}/image",
            },
        }


def _digest(*parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def new_id() -> str:
    """A job's id: nobody can guess it."""
    return secrets.token_hex(16)


def run_options(document: Mapping[str, Any]) -> RunOptions:
    """The inverse of `RunOptions.as_json`."""
    spacing = document.get("pixel_spacing_mm")
    asked = {**document, "pixel_spacing_mm": None if spacing is None else (spacing[0], spacing[1])}
    return RunOptions(decode=DecodeOptions(**asked))
