"""A gateway on a real server on loopback, in a thread of the test's process."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path

import httpx
import structlog
import uvicorn
from fastapi import FastAPI
from sqlalchemy import func, select

from sigap.api.gateway import Gateway
from sigap.jobs.job import ENDED
from sigap.jobs.tables import JOBS

PATIENCE_S = 20.0


@contextmanager
def serving(app: FastAPI, *, grace_s: int | None = None) -> Iterator[httpx.Client]:
    """Serve an application; the client's `base_url` is its address. At the end requests get `grace_s` to finish."""
    # Log lines go where pytest shows them beside a failing test, and nowhere else.
    structlog.configure(
        processors=[structlog.stdlib.render_to_log_kwargs],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )
    config = uvicorn.Config(
        app,
        access_log=False,
        log_config=None,
        server_header=False,
        ws="none",
        lifespan="on",
        timeout_graceful_shutdown=grace_s,
    )
    server = uvicorn.Server(config)
    gateway: Gateway = app.state.gateway
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            wait_until(lambda: server.started or not thread.is_alive())
            assert server.started, "the server did not start"
            with httpx.Client(base_url=f"http://127.0.0.1:{listener.getsockname()[1]}", timeout=PATIENCE_S) as client:
                yield client
        finally:
            # As `serve` does when it is told to stop.
            gateway.is_stopping.set()
            server.should_exit = True
            thread.join(PATIENCE_S)
    assert not thread.is_alive(), "the server did not stop"


def wait_until(is_so: Callable[[], bool]) -> None:
    """Wait for what must come to be so, and fail where it does not."""
    give_up = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < give_up, "it never came to be so"
        time.sleep(0.005)


def files_left(app: FastAPI) -> list[str]:
    """What lies in the data folder of jobs and of what their runs unpack, by its place there."""
    gateway: Gateway = app.state.gateway
    data = gateway.settings.data
    own = data / "work" / gateway.leases.gateway
    # Unlike rglob, walk does not mind what goes while it looks.
    found = [
        Path(place) / name
        for part in ("jobs", "work")
        for place, *names in os.walk(data / part)
        for name in chain(*names)
    ]
    return sorted(str(path.relative_to(data)) for path in found if path != own)


def is_idle(app: FastAPI) -> bool:
    """Whether every place in the queue is free and no run, not even of a cancelled job, is at work."""
    gateway: Gateway = app.state.gateway
    active = select(func.count()).select_from(JOBS).where(JOBS.c.state.not_in(ENDED))
    with gateway.storage.database.transaction() as connection:
        count: int = connection.execute(active).scalar_one()
    return count == 0 and not any(name.startswith("work/") for name in files_left(app))


def forget_all(app: FastAPI) -> None:
    """Wait for all work, erase all jobs, and make sure that no file outlives them."""
    gateway: Gateway = app.state.gateway
    wait_until(lambda: is_idle(app))
    for job in gateway.store.page(limit=10_000):
        gateway.store.erase(job.id)
    wait_until(lambda: not files_left(app))
