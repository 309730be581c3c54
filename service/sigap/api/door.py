"""The door: nobody comes past it without a key, but to what is open, and whoever does is written down."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sigap.access.audit import AuditUnavailable
from sigap.api.admission import Admitted, is_open
from sigap.api.gateway import Gateway
from sigap.api.problems import Unauthorized, respond
from sigap.core.errors import SigapError

_DENIED = (401, 403)


class Door:
    """ASGI middleware, within `Exchange`. A route finds who was let in as `request.state.admitted`.

    Whatever is not declared open is closed, addresses that do not exist too. A refusal reads nothing of the body.

    Args:
        app: what is wrapped.
        gateway: whose keys, audit log and metrics.
        routes: all of the application's, in its order.
    """

    def __init__(self, app: ASGIApp, gateway: Gateway, routes: Sequence[BaseRoute]) -> None:
        self._app = app
        self._gateway = gateway
        self._routes = routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        route = next((route for route in self._routes if route.matches(scope)[0] is Match.FULL), None)
        request, visit = Request(scope), _Visit(scope, send, route, self._gateway)
        try:
            if not is_open(route):
                visit.is_recorded = True
                request.state.admitted = await run_in_threadpool(self._admit, request)
        except SigapError as error:
            await self._refuse(request, error, visit)
            return
        try:
            await self._app(scope, receive, visit.send)
        except BaseException as error:
            # `Exchange` answers it. A line that cannot be written is owed, and was complained of.
            with suppress(AuditUnavailable):
                visit.record(500 if isinstance(error, Exception) else 503)
            raise

    def _admit(self, request: Request) -> Admitted:
        if self._gateway.audit is not None:
            self._gateway.audit.check()
        return self._gateway.admission.admit(request, request.method)

    async def _refuse(self, request: Request, error: SigapError, visit: _Visit) -> None:
        if isinstance(error, Unauthorized):
            self._gateway.metrics.count_denial(error.kind)
        visit.is_recorded = not isinstance(error, AuditUnavailable)
        await respond(request, error)(request.scope, request.receive, visit.send)


class _Visit:
    """One request, and the line that tells of it: written before the first byte of the answer goes out.

    Attributes:
        is_recorded: whether there is to be a line.
    """

    def __init__(self, scope: Scope, send: Send, route: BaseRoute | None, gateway: Gateway) -> None:
        self._scope = scope
        self._send = send
        self._route = route
        self._gateway = gateway
        self._is_replaced = False
        self.is_recorded = False

    async def send(self, message: Message) -> None:
        if self._is_replaced:
            return
        if message["type"] == "http.response.start":
            try:
                await run_in_threadpool(self.record, message["status"])
            except AuditUnavailable as error:
                self._is_replaced = True
                request = Request(self._scope)
                await respond(request, error)(self._scope, request.receive, self._send)
                return
        await self._send(message)

    def record(self, status: int) -> None:
        """Write the line, once.

        Raises:
            AuditUnavailable: it could not be written.
        """
        state, audit = self._scope["state"], self._gateway.audit
        if audit is None or not (self.is_recorded or state.get("is_recorded")):
            return
        self.is_recorded = state["is_recorded"] = False
        admitted: Admitted | None = state.get("admitted")
        address = getattr(self._route, "path", "(no such address)")
        audit.write(
            is_strangers=status in _DENIED and admitted is None,
            key=None if admitted is None else admitted.client.name,
            action=f"{self._scope['method']} {address}",
            job=state.get("job"),
            request=state["request_id"],
            status=status,
            outcome=_outcome(status),
        )


def _outcome(status: int) -> str:
    if status in _DENIED:
        return "denied"
    return "done" if status < 400 else "failed"
