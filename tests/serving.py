"""A gateway on a real server on loopback, in a thread of the test's process."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import structlog
import uvicorn
from fastapi import FastAPI

from sigap.api.gateway import Gateway

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
    """What lies in the folder of jobs, by its place there."""
    gateway: Gateway = app.state.gateway
    folder: Path = gateway.settings.data / "jobs"
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def is_idle(app: FastAPI) -> bool:
    """Whether every place in the queue is free."""
    gateway: Gateway = app.state.gateway
    return gateway.queue.taken == 0
