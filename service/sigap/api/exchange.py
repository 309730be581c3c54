"""Around every request: its id, its log line, and the last resort for errors that nobody expected."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import structlog
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sigap.api.logs import where
from sigap.api.problems import respond
from sigap.core.errors import EngineUnavailable

_log = structlog.stdlib.get_logger("sigap.api")
# Answers hold patients' data, and none of them needs a script or another site.
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}

Finished = Callable[[str | None, dict[str, Any], int], None]


class Exchange:
    """ASGI middleware. Routes add to `request.state.log` what their log line may say.

    The request's id is always our own: one that a client brings might name a patient. For the same reason a log line
    has the route's pattern, never the address.

    Args:
        app: what is wrapped.
        finished: told of each request's route, log fields and status.
    """

    def __init__(self, app: ASGIApp, finished: Finished) -> None:
        self._app = app
        self._finished = finished

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        request_id, log, status = str(uuid4()), dict[str, Any](), 0
        scope["state"] = {**scope.get("state", {}), "request_id": request_id, "log": log}

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["X-Request-ID"] = request_id
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            await self._app(scope, receive, send_with_headers)
        except asyncio.CancelledError:
            # The server stops and has waited long enough. Whoever still waits is told so, and this task ends anyway.
            if not status:
                stopping = EngineUnavailable("The server is being stopped. Try again in a moment.", slug="stopping")
                job_id = scope["state"].get("job")
                place = {} if job_id is None else {"Location": f"/jobs/{job_id}"}
                await respond(Request(scope), stopping, place)(scope, receive, send_with_headers)
        except Exception as error:  # noqa: BLE001 - the last resort: answered as a problem and logged
            log["error"] = where(error)
            if status:
                # Half an answer is out: only a broken connection can say so.
                raise ConnectionAbortedError from None
            await respond(Request(scope), error)(scope, receive, send_with_headers)
        finally:
            route = getattr(scope.get("route"), "path", None)
            self._finished(route, log, status)
            level = "error" if status >= 500 and "error" in log else "info"
            duration_ms = round((time.perf_counter() - started) * 1000, 1)
            fields = {"route": route, "status": status, "duration_ms": duration_ms, "request_id": request_id}
            getattr(_log, level)("request", method=scope["method"], **fields, **log)
