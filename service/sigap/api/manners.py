"""HTTP manners that frameworks leave to us: HEAD, and a client that still sends while it is being refused."""

from __future__ import annotations

import asyncio

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_DRAIN_S = 20.0


class Manners:
    """ASGI middleware, outermost.

    HEAD is GET without a body. A refusal that is sent before the request's body has been read is followed by reading
    the rest for a while: closing at once would reset the connection, and the client would see that instead.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = _Exchange(scope, receive, send)
        if scope["method"] == "HEAD":
            scope = {**scope, "method": "GET"}
        await self._app(scope, exchange.receive, exchange.send)


class _Exchange:
    """One request's two directions."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        self._receive = receive
        self._send = send
        self._is_head = scope["method"] == "HEAD"
        self._is_answered = False
        self._is_unread = headers.get("content-length", "0") != "0" or "transfer-encoding" in headers
        # A client that waits for 100 Continue sends nothing until it is asked.
        self._is_sending = headers.get("expect", "").lower() != "100-continue"

    async def receive(self) -> Message:
        self._is_sending = True
        message = await self._receive()
        if not message.get("more_body", False):
            self._is_unread = False
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            if self._is_unread:
                MutableHeaders(scope=message)["Connection"] = "close"
            await self._send(message)
            return
        if self._is_answered:
            return
        body = b"" if self._is_head else message.get("body", b"")
        # The rest of a stream of events might be long in coming.
        self._is_answered = is_last = self._is_head or not message.get("more_body", False)
        if is_last and self._is_unread and self._is_sending and not _is_cancelled():
            await self._send({**message, "body": body, "more_body": True})
            await self._drain()
            body = b""
        await self._send({**message, "body": body, "more_body": not is_last})

    async def _drain(self) -> None:
        try:
            async with asyncio.timeout(_DRAIN_S):
                while self._is_unread:
                    await self.receive()
        except TimeoutError:
            return


def _is_cancelled() -> bool:
    """The server stops, and this is its last word: there is no time to read on."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
