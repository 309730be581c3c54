"""POST /segment/{task}: a study goes in, an answer comes out."""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Annotated

from fastapi import APIRouter, Path, Query
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive

from sigap.api.answer import AnswerResponse
from sigap.api.examples import SEGMENT_BODY, SEGMENT_RESPONSES
from sigap.api.form import UploadForm, boundary_of, check_declared_size, receive_form
from sigap.api.formats import choose
from sigap.api.gateway import Gateway
from sigap.api.parameters import SegmentOptions, check_query
from sigap.api.problems import HungUp
from sigap.core.errors import BadParameter, DeadlineExceeded
from sigap.jobs.folder import JobFolder
from sigap.jobs.job import Answer, Job
from sigap.jobs.job import Request as JobRequest

router = APIRouter(tags=["segmentation"])


@router.post(
    "/segment/{task}",
    summary="Segment one study",
    response_class=Response,
    responses=SEGMENT_RESPONSES,
    openapi_extra={"requestBody": SEGMENT_BODY},
)
async def segment(
    request: Request,
    task: Annotated[str, Path(description="A task of GET /models.")],
    options: Annotated[SegmentOptions, Query()],
) -> Response:
    """Upload one study, as a NIfTI file, DICOM files or a zip of them, a PNG or a JPEG, and wait for the answer.

    All that can be refused is refused before the first byte is read. The upload is deleted when the request ends.
    """
    gateway: Gateway = request.app.state.gateway
    deadline = time.monotonic() + gateway.settings.request_timeout_s
    model = gateway.engine.model(task)
    request.state.log["task"] = model.name
    check_query(request.query_params)
    encoding = choose(options.format, ",".join(request.headers.getlist("accept")))
    if options.label is not None:
        raise BadParameter(f"label is for format stl only; the answer asked for is {encoding}. Leave label out.")
    request.state.log["format"] = encoding
    boundary = boundary_of(request.headers)
    check_declared_size(request.headers, gateway.settings.max_upload_bytes)
    gateway.check_ready()
    wanted = JobRequest(
        task=model.name,
        format=encoding,
        priority=options.priority or model.contract.priority,
        options=options.run_options(),
        deadline=deadline,
    )
    return AnswerResponse(await _answer(gateway, request, wanted, boundary))


async def _answer(gateway: Gateway, request: Request, wanted: JobRequest, boundary: bytes) -> Answer:
    """Upload, queue and wait. The place in the queue and the files are given back whatever happens."""
    place = gateway.queue.enter()
    ended = asyncio.Event()
    try:
        folder = await _upload(gateway, request.receive, boundary, wanted.deadline)
    except BaseException:
        place.leave()
        raise
    request.state.log["files"] = len(folder.files)
    job = Job(wanted, folder, _from_any_thread(ended.set))
    gateway.queue.put(job, place)
    try:
        await _wait(ended, request.receive, wanted.deadline)
    except BaseException:
        # In a thread, since it deletes files; shielded, since this task itself may be the one that is cancelled.
        await asyncio.shield(run_in_threadpool(gateway.queue.cancel, job))
        raise
    request.state.log.update(job.log_fields())
    if job.error is not None:
        raise job.error
    assert job.answer is not None  # noqa: S101 - a job ends with one of the two; narrows the type
    return job.answer


async def _upload(gateway: Gateway, receive: Receive, boundary: bytes, deadline: float) -> JobFolder:
    folder = await run_in_threadpool(gateway.folders.create)
    try:
        form = UploadForm(boundary, folder, max_files=gateway.settings.limits.members)
        try:
            limit_bytes = gateway.settings.max_upload_bytes
            await receive_form(receive, form, limit_bytes=limit_bytes, deadline=deadline)
        finally:
            form.close()
    except BaseException:
        await asyncio.shield(run_in_threadpool(folder.remove))
        raise
    return folder


async def _wait(ended: asyncio.Event, receive: Receive, deadline: float) -> None:
    """Wait for a job's end.

    Raises:
        HungUp: the client closed the connection.
        DeadlineExceeded: the deadline has passed.
    """
    end, gone = asyncio.create_task(ended.wait()), asyncio.create_task(_hang_up(receive))
    try:
        left = max(0.0, deadline - time.monotonic())
        await asyncio.wait({end, gone}, timeout=left, return_when=asyncio.FIRST_COMPLETED)
    finally:
        end.cancel()
        gone.cancel()
    if ended.is_set():
        return
    if gone.done():
        raise HungUp("The client closed the connection.")
    raise DeadlineExceeded("The study took longer than this server allows. Send a smaller one, or try again later.")


async def _hang_up(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _from_any_thread(notify: Callable[[], None]) -> Callable[[], None]:
    """Let the worker's thread call into this loop; a loop that is gone has nobody left to tell."""
    loop = asyncio.get_running_loop()

    def call() -> None:
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(notify)

    return call
