"""Jobs, as clients see them (CONTRACT, section 6)."""

import json
import re
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from functools import partial
from typing import Annotated, Literal

from fastapi import APIRouter, Header, Path, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from sigap.api.admission import Admitted
from sigap.api.answer import AnswerResponse, answer_job, make_answer
from sigap.api.examples import problem_responses
from sigap.api.formats import choose, with_label
from sigap.api.gateway import Gateway
from sigap.api.job_schema import (
    CANCEL_RESPONSES,
    ERASE_RESPONSES,
    EVENTS_RESPONSES,
    GET_RESPONSES,
    IMAGE_RESPONSES,
    LIST_RESPONSES,
    RESULT_RESPONSES,
)
from sigap.api.parameters import Label, check_query
from sigap.api.problems import Unauthorized
from sigap.api.waiting import follow, wait_for_end
from sigap.core.errors import DeadlineExceeded, JobStateForbids, UnknownJob
from sigap.encoders.formats import FORMATS
from sigap.jobs.client import Client
from sigap.jobs.job import Job, State

router = APIRouter(tags=["jobs"], responses=problem_responses(500, 503))
JobId = Annotated[str, Path(description="A job's id.")]


# PostgreSQL has no such character.
_NAME = r"^[^\x00]*$"
# Proxies cut what is silent for a minute or less.
KEEP_ALIVE_S = 15.0


class Listing(BaseModel):
    """Which jobs; anything else in the query is refused."""

    model_config = ConfigDict(extra="forbid")

    state: Annotated[State | None, Field(description="Only jobs in this state.")] = None
    task: Annotated[str | None, Field(max_length=255, pattern=_NAME, description="Only jobs of this task.")] = None
    priority: Annotated[
        Literal["emergency", "routine", "batch"] | None, Field(description="Only jobs of this priority.")
    ] = None
    limit: Annotated[int, Field(ge=1, le=1000, description="At most so many.")] = 100
    cursor: Annotated[
        str | None, Field(pattern=r"^[0-9]{1,18}$", description="`next` of the page before.", examples=["1200"])
    ] = None


class ResultOptions(BaseModel):
    """How the result is wanted."""

    model_config = ConfigDict(extra="forbid")

    format: Annotated[
        str | None,
        Field(description="Format of the answer. Beats `Accept`.", json_schema_extra={"enum": [*FORMATS, None]}),
    ] = None
    label: Label = None


@router.get("/jobs", summary="List jobs, the newest first", response_class=Response, responses=LIST_RESPONSES)
def list_jobs(request: Request, listing: Annotated[Listing, Query()]) -> Response:
    """`next` is the cursor of the following page, or null."""
    check_query(request.query_params)
    gateway: Gateway = request.app.state.gateway
    jobs = gateway.store.page(
        states=() if listing.state is None else (listing.state,),
        task=listing.task,
        priority=listing.priority,
        limit=listing.limit + 1,
        before=None if listing.cursor is None else int(listing.cursor),
        client=_client(request),
    )
    page, has_more = jobs[: listing.limit], len(jobs) > listing.limit
    following = str(page[-1].number) if has_more else None
    return _json({"jobs": [job.as_json() for job in page], "next": following})


@router.get("/jobs/{job_id}", summary="One job", response_class=Response, responses=GET_RESPONSES)
def get_job(request: Request, job_id: JobId) -> Response:
    """Its state and how far it is."""
    gateway: Gateway = request.app.state.gateway
    return _json(_find(gateway, request, job_id).as_json())


@router.delete("/jobs/{job_id}", summary="Cancel a job", response_class=Response, responses=CANCEL_RESPONSES)
def cancel_job(request: Request, job_id: JobId) -> Response:
    """Its place in the queue is free at once; work on it ends at the next slice batch. Its upload is deleted."""
    gateway: Gateway = request.app.state.gateway
    job = gateway.store.cancel(job_id, _client(request))
    request.state.job = job.id
    gateway.changes.tell(job_id)
    return _json(job.as_json())


@router.get("/jobs/{job_id}/result", summary="A job's result", response_class=Response, responses=RESULT_RESPONSES)
async def get_result(
    request: Request,
    job_id: JobId,
    options: Annotated[ResultOptions, Query()],
    prefer: Annotated[
        str | None,
        Header(description="`wait=60`: where the job has not ended, wait so many seconds for its result (RFC 7240)."),
    ] = None,
) -> Response:
    """In any format, whatever was asked for first. A failed job answers with its own problem.

    Who waits is answered sooner than who asks after the end: the format is written while the study is at hand.
    """
    check_query(request.query_params)
    encoding = with_label(choose(options.format, ",".join(request.headers.getlist("accept"))), options.label)
    gateway: Gateway = request.app.state.gateway
    job = await run_in_threadpool(_find, gateway, request, job_id)
    patience_s = min(_patience_s(prefer or ""), gateway.settings.request_timeout_s)
    if job.has_ended or not patience_s:
        return await answer_job(gateway, request, job, encoding, _deadline(gateway))
    gateway.answers.expect(job_id, encoding)
    try:
        deadline = time.monotonic() + patience_s
        with suppress(DeadlineExceeded):
            is_over = gateway.is_stopping.is_set
            job = await wait_for_end(gateway, job_id, request.receive, deadline, is_over=is_over)
        admitted: Admitted = request.state.admitted
        await run_in_threadpool(admitted.check)
        return await answer_job(gateway, request, job, encoding, _deadline(gateway))
    finally:
        gateway.answers.forget(job_id, encoding)


def _patience_s(prefer: str) -> int:
    """What `wait=` says; what cannot be read is passed over, as RFC 7240 wants it."""
    found = re.search(r"(?:^|[,;\s])wait=(\d{1,6})(?=$|[,;\s])", prefer.lower())
    return int(found[1]) if found else 0


@router.delete(
    "/jobs/{job_id}/result",
    status_code=204,
    summary="Erase an ended job",
    response_class=Response,
    responses=ERASE_RESPONSES,
)
def erase_result(request: Request, job_id: JobId) -> Response:
    """Its upload, its result and its record."""
    gateway: Gateway = request.app.state.gateway
    request.state.job = gateway.store.erase(job_id, _client(request)).id
    gateway.changes.tell(job_id)
    return Response(status_code=204)


@router.get("/jobs/{job_id}/image", summary="The scan", response_class=Response, responses=IMAGE_RESPONSES)
async def get_image(request: Request, job_id: JobId) -> Response:
    """As NIfTI, in the mask's geometry; of a PNG or JPEG as PNG."""
    gateway: Gateway = request.app.state.gateway
    job = await run_in_threadpool(_find, gateway, request, job_id)
    if job.folder is None:
        raise JobStateForbids(f"The job is {job.state}, and its upload is deleted.", state=job.state)
    make = partial(gateway.answers.image, job)
    return AnswerResponse(await make_answer(gateway, job, make, _deadline(gateway)))


@router.get("/jobs/{job_id}/events", summary="Follow a job", response_class=Response, responses=EVENTS_RESPONSES)
async def get_events(request: Request, job_id: JobId) -> Response:
    """Server-sent events: `event: job`, its data the job, after every change; the last one when the job has ended.

    Every 15 seconds without a change there is a comment, so that no proxy takes the connection for dead. An erased job
    ends the stream, and so does a key that is revoked, or a server that is being stopped: ask again.
    """
    gateway: Gateway = request.app.state.gateway
    admitted: Admitted = request.state.admitted

    def look() -> Job:
        # A stream may outlive the key that it was asked for with.
        admitted.check()
        return gateway.store.get(job_id, admitted.client)

    await run_in_threadpool(_find, gateway, request, job_id)
    # A proxy that collects an answer before it passes it on would pass on nothing until the end.
    headers = {"X-Accel-Buffering": "no"}
    return StreamingResponse(_events(gateway, job_id, look), headers=headers, media_type="text/event-stream")


async def _events(gateway: Gateway, job_id: str, look: Callable[[], Job]) -> AsyncIterator[str]:
    seen: Job | None = None
    try:
        async for job in follow(gateway, job_id, look=look, is_over=gateway.is_stopping.is_set, repeat_s=KEEP_ALIVE_S):
            # A line that begins with a colon is a comment, which clients pass over.
            yield ":\n\n" if job == seen else f"event: job\ndata: {json.dumps(job.as_json())}\n\n"
            seen = job
    except (UnknownJob, Unauthorized):
        return


def _deadline(gateway: Gateway) -> float:
    return time.monotonic() + gateway.settings.request_timeout_s


def _client(request: Request) -> Client:
    admitted: Admitted = request.state.admitted
    return admitted.client


def _find(gateway: Gateway, request: Request, job_id: str) -> Job:
    """A job of the client's; the audit log learns which."""
    job = gateway.store.get(job_id, _client(request))
    request.state.job = job.id
    return job


def _json(document: object) -> Response:
    return Response(json.dumps(document, allow_nan=False), media_type="application/json")
