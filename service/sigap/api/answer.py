"""A job's result on its way to the client."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import TypeVar

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from sigap.api.formats import query_of
from sigap.api.gateway import Gateway
from sigap.api.problems import answer_problem
from sigap.core.errors import DeadlineExceeded, JobStateForbids, KeptUnreadable
from sigap.jobs.answers import Answer
from sigap.jobs.job import Job

_BLOCK = 1 << 18
_Made = TypeVar("_Made")


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


async def answer_job(gateway: Gateway, request: Request, job: Job, encoding: str, deadline: float) -> Response:
    """A job's result in one format, or why there is none.

    Args:
        gateway: this one.
        request: the client's.
        job: which has ended, or has not.
        encoding: the format.
        deadline: on `time.monotonic`'s clock.

    Raises:
        JobStateForbids: it has not ended, or was cancelled.
        SigapError: what `make_answer` raises.
    """
    if job.problem is not None:
        return answer_problem(request, job.problem)
    if job.state != "succeeded":
        words = (
            "was cancelled: send the study again" if job.state == "cancelled" else "has no result yet: ask again later"
        )
        raise JobStateForbids(f"The job {words}.", state=job.state)
    answer = await run_in_threadpool(_still_there(gateway, job, lambda: gateway.answers.at_hand(job, encoding)))
    if answer is None:
        answer = await make_answer(
            gateway, job, lambda patience_s: gateway.answers.make(job, encoding, patience_s), deadline
        )
    gateway.passed("answering")
    return AnswerResponse(answer, {"Content-Location": f"/jobs/{job.id}/result?{query_of(encoding)}"})


async def make_answer(gateway: Gateway, job: Job, make: Callable[[float], Answer], deadline: float) -> Answer:
    """Make an answer from what was kept, when it is its turn.

    Args:
        gateway: this one.
        job: whose answer it is.
        make: given the seconds that are left.
        deadline: on `time.monotonic`'s clock.

    Raises:
        DeadlineExceeded: its turn has not come in time.
        UnknownJob: the job was erased meanwhile.
        JobStateForbids: its files were deleted meanwhile.
        SigapError: what `make` raises.
    """
    try:
        await asyncio.wait_for(gateway.making.acquire(), max(0.0, deadline - time.monotonic()))
    except TimeoutError:
        raise DeadlineExceeded(
            "Other answers took longer than a request may wait. Ask for the job's result again."
        ) from None
    try:
        return await run_in_threadpool(_still_there(gateway, job, lambda: make(max(0.0, deadline - time.monotonic()))))
    finally:
        gateway.making.release()


def _still_there(gateway: Gateway, job: Job, make: Callable[[], _Made]) -> Callable[[], _Made]:
    """What goes wrong because the job's files were deleted meanwhile is told as that, not as damage."""

    def made() -> _Made:
        try:
            return make()
        except Exception as error:
            now = gateway.store.get(job.id)
            if now.folder != job.folder:
                raise JobStateForbids(f"The job is {now.state}, and its upload is deleted.", state=now.state) from error
            if isinstance(error, KeptUnreadable):
                gateway.store.disown(job.folder)
            raise

    return made
