"""How long a store of many finished jobs takes to list them, over HTTP."""

from __future__ import annotations

import secrets
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import httpx
from sqlalchemy import insert

from fakes import FakeEngine
from serving import serving
from sigap.api.app import create_app
from sigap.api.gateway import Gateway
from sigap.jobs.tables import JOBS
from sigap.settings import Settings

JOBS_THERE, _PAGE = 10_000, 100
_ROUNDS = 10


@dataclass(frozen=True)
class Pages:
    """In ms.

    Attributes:
        first_ms: the newest page, the least of several.
        slowest_ms: the slowest of all pages, one after the other, once.
    """

    first_ms: float
    slowest_ms: float


def pages() -> Pages:
    """List them all."""
    with tempfile.TemporaryDirectory(prefix="sigap-bench-") as folder:
        app = create_app(Settings(data=Path(folder) / "data"), FakeEngine())
        with serving(app) as client:
            _fill(app.state.gateway)
            first_ms = min(_page(client, None)[0] for _ in range(_ROUNDS))
            spent, cursor = [], None
            while not spent or cursor:
                spent_ms, cursor = _page(client, cursor)
                spent.append(spent_ms)
    if len(spent) != JOBS_THERE // _PAGE:
        raise RuntimeError(f"{len(spent)} pages")
    return Pages(first_ms, max(spent))


def _page(client: httpx.Client, cursor: str | None) -> tuple[float, str | None]:
    started = time.perf_counter()
    answer = client.get("/jobs", params={"limit": _PAGE} | ({} if cursor is None else {"cursor": cursor}))
    spent_ms = (time.perf_counter() - started) * 1000
    document = answer.raise_for_status().json()
    if len(document["jobs"]) != _PAGE:
        raise RuntimeError("a page is not full")
    return spent_ms, document["next"]


def _fill(gateway: Gateway) -> None:
    now = time.time()
    row = {"state": "succeeded", "task": "toy", "priority": "routine", "rank": 1, "options": {}}
    row |= {"is_fresh": False, "is_reused": False, "slices_done": 129, "slices_total": 129, "token": 1, "attempts": 1}
    row |= {"errors": 0, "crashes": 0, "due_at": 0.0, "created_at": now, "started_at": now, "finished_at": now}
    with gateway.storage.database.transaction() as connection:
        connection.execute(insert(JOBS), [{**row, "id": secrets.token_hex(16)} for _ in range(JOBS_THERE)])
