"""Waiting for a job: by the plain POST that brought it, and by whoever follows its events."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial

from starlette.concurrency import run_in_threadpool
from starlette.types import Receive

from sigap.api.gateway import Gateway
from sigap.api.problems import HungUp
from sigap.core.errors import DatabaseUnavailable, DeadlineExceeded
from sigap.jobs.job import Job

# Another gateway's changes ring no bell here.
_LOOK_AGAIN_S = 0.5
# How long another gateway has to say that somebody waits there.
_ANSWER_S = 5.0


async def follow(
    gateway: Gateway,
    job_id: str,
    *,
    look: Callable[[], Job] | None = None,
    is_over: Callable[[], bool] = lambda: False,
    repeat_s: float = math.inf,
) -> AsyncIterator[Job]:
    """The job now and after every change, the last time when it has ended, or when `is_over` says so.

    Args:
        gateway: this one.
        job_id: the job's.
        look: reads the job, on behalf of whoever follows it.
        is_over: whether to stop before its end.
        repeat_s: the same job comes again after so long without a change.

    Raises:
        UnknownJob: there is none, or it was erased meanwhile.
    """
    with gateway.changes.watching(job_id) as bell:
        look, seen, told = look or partial(gateway.store.get, job_id), None, 0.0
        while not is_over():
            bell.clear()
            with suppress(DatabaseUnavailable):
                job = await run_in_threadpool(look)
                if job.is_doubted and not job.has_ended:
                    await run_in_threadpool(gateway.store.want, job_id)
                    job = replace(job, is_doubted=False)
                if job != seen or time.monotonic() - told >= repeat_s:
                    seen, told = job, time.monotonic()
                    yield job
                if job.has_ended:
                    return
            with suppress(TimeoutError):
                await asyncio.wait_for(bell.wait(), _LOOK_AGAIN_S)


async def cancel_if_unwanted(gateway: Gateway, job_id: str) -> None:
    """Cancel a job whose client has hung up, unless another one waits for it, here or at another gateway.

    Raises:
        SigapError: it has ended, or the database is away.
    """
    if gateway.changes.watchers(job_id):
        return
    if await run_in_threadpool(gateway.store.doubt, job_id):
        # Whoever waits elsewhere looks at the job meanwhile, and takes the doubt back.
        await asyncio.sleep(_ANSWER_S)
    await run_in_threadpool(partial(gateway.store.cancel, job_id, only_doubted=True))


async def wait_for_end(
    gateway: Gateway, job_id: str, receive: Receive, deadline: float, *, is_over: Callable[[], bool] = lambda: False
) -> Job:
    """Wait for a job's end on behalf of one client; where `is_over` says so, the job as it is comes before its end.

    Args:
        gateway: this one.
        job_id: the job's.
        receive: of the client's request, whose body has been read.
        deadline: on `time.monotonic`'s clock.
        is_over: whether to stop before its end.

    Raises:
        HungUp: the client closed the connection.
        DeadlineExceeded: the deadline has passed.
        UnknownJob: the job was erased.
    """
    end, gone = asyncio.create_task(_last(gateway, job_id, is_over)), asyncio.create_task(hang_up(receive))
    try:
        left = max(0.0, deadline - time.monotonic())
        await asyncio.wait({end, gone}, timeout=left, return_when=asyncio.FIRST_COMPLETED)
        if end.done():
            return end.result()
        if gone.done():
            raise HungUp("The client closed the connection.")
    finally:
        end.cancel()
        gone.cancel()
        # Only then nobody watches any more.
        await asyncio.gather(end, gone, return_exceptions=True)
    raise DeadlineExceeded(
        "The study took longer than a request may. Its job goes on: ask for it at the address in Location."
    )


async def _last(gateway: Gateway, job_id: str, is_over: Callable[[], bool]) -> Job:
    jobs = [job async for job in follow(gateway, job_id, is_over=is_over)]
    return jobs[-1] if jobs else await run_in_threadpool(gateway.store.get, job_id)


async def hang_up(receive: Receive) -> None:
    """Return when the client of a request, whose body has been read, closes its connection."""
    while (await receive())["type"] != "http.disconnect":
        pass
