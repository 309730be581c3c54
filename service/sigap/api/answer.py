"""An encoded answer on its way to the client."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.concurrency import run_in_threadpool
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from sigap.jobs.answers import Answer

_BLOCK = 1 << 18


class AnswerResponse(Response):
    """Streams an answer's file and closes it, whether the client has read it or not."""

    def __init__(self, answer: Answer, headers: Mapping[str, str] | None = None) -> None:
        self._answer = answer
        self.background = None
        self.status_code = 200
        self.body = b""
        self.init_headers(
            {
                "Content-Type": answer.media_type,
                "Content-Length": str(answer.size),
                "Content-Disposition": f'attachment; filename="{answer.filename}"',
                **(headers or {}),
            }
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI's signature
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            while block := await run_in_threadpool(self._answer.file.read, _BLOCK):
                await send({"type": "http.response.body", "body": block, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        finally:
            self._answer.file.close()
