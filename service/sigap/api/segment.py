"""POST /segment/{task}: a study goes in, becomes a job, and its answer comes out."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Header, Path, Query
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from sigap.api.answer import answer_job
from sigap.api.examples import SEGMENT_BODY
from sigap.api.form import UploadForm, boundary_of, check_declared_size, declared_size, receive_form
from sigap.api.formats import check_label, choose, with_label
from sigap.api.gateway import Gateway
from sigap.api.job_schema import SEGMENT_RESPONSES
from sigap.api.parameters import SegmentOptions, check_query
from sigap.api.problems import HungUp, respond
from sigap.api.waiting import cancel_if_unwanted, wait_for_end
from sigap.core.errors import DeadlineExceeded, SigapError
from sigap.dicomnet import destinations
from sigap.jobs.intake import Accepted
from sigap.jobs.job import Job, Order, new_id
from sigap.jobs.upload import Upload

router = APIRouter(tags=["segmentation"])
LONGEST_KEY = 255


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
    idempotency_key: Annotated[
        str | None,
        Header(
            min_length=1,
            max_length=LONGEST_KEY,
            description="Names this request: the study is segmented once, however often the request is sent.",
        ),
    ] = None,
    prefer: Annotated[
        list[str] | None,
        Header(description="`respond-async`: answer 202 with the job as soon as the study is safe on disk."),
    ] = None,
) -> Response:
    """Upload one study, as a NIfTI file, DICOM files or a zip of them, a PNG or a JPEG, and wait for the answer.

    All that can be refused is refused before the first byte is read. The study becomes a job of /jobs, which keeps the
    upload and the result for a day. The same study, task and options are answered with the kept result, unless
    `Cache-Control: no-cache` asks for a new run.
    """
    gateway: Gateway = request.app.state.gateway
    deadline = time.monotonic() + gateway.settings.request_timeout_s
    model = gateway.engine.model(task)
    request.state.log["task"] = model.name
    check_query(request.query_params)
    encoding = choose(options.format, ",".join(request.headers.getlist("accept")))
    request.state.log["format"] = encoding
    key = with_label(encoding, options.label)
    check_label(encoding, options.label, model.contract)
    boundary = boundary_of(request.headers)
    check_declared_size(request.headers, gateway.settings.max_upload_bytes)
    is_async = "respond-async" in tokens(prefer or [])
    if not is_async:
        gateway.check_ready(model.name)
    order = Order(
        task=model.name,
        priority=options.priority or model.contract.priority,
        options=options.run_options(),
        is_fresh="no-cache" in tokens(request.headers.getlist("cache-control")),
        idempotency_key=idempotency_key,
        owner=request.state.admitted.client.name,
        send_to=_send_to(gateway, options.store_to),
    )
    body = _Body(boundary, declared_size(request.headers), deadline)
    receive = partial(_upload, gateway, request, body)
    accepted = await bring_in(gateway, request, order, receive, size=body.declared_size)
    if is_async:
        return accepted_response(accepted.job)
    return await answer(gateway, request, accepted.job, key, deadline, is_keyed=idempotency_key is not None)


def _send_to(gateway: Gateway, store_to: str | None) -> tuple[str, ...]:
    """The destinations that the query names; raises `BadParameter` for one that is not configured."""
    names = () if store_to is None else tuple(store_to.split(","))
    for name in names:
        destinations.destination(gateway.pacs, name)
    return names


@dataclass(frozen=True)
class _Body:
    """What is known of a request's body before it is read; the deadline is on `time.monotonic`'s clock."""

    boundary: bytes
    declared_size: int
    deadline: float


async def bring_in(
    gateway: Gateway, request: Request, order: Order, receive: Callable[[str], Awaitable[str]], *, size: int = 0
) -> Accepted:
    """Make a job of a study. Where that fails, its place in the queue and its files are given back.

    Args:
        gateway: this one.
        request: whoever asks for it.
        order: what is asked for.
        receive: brings the study into the folder of the job of this id, and returns its SHA-256.
        size: bytes that were announced.
    """
    job_id = new_id()
    enter = partial(gateway.store.enter, job_id, order, gateway=gateway.leases.gateway, size=size)
    try:
        await run_in_threadpool(enter)
        gateway.passed("entered")
        sha256 = await receive(job_id)
        gateway.passed("stored")
        model = gateway.engine.model(order.task)
        accepted = await run_in_threadpool(gateway.store.accept, job_id, order, sha256, model)
    except BaseException:
        # In a thread, since it deletes files; shielded, since this task itself may be the one that is cancelled.
        try:
            await asyncio.shield(run_in_threadpool(gateway.store.abandon, job_id))
        except SigapError:
            gateway.heartbeat.abandon(job_id)
        raise
    gateway.passed("accepted")
    gateway.worker.wake()
    request.state.log["reused"] = accepted.job.is_reused
    request.state.job = accepted.job.id
    return accepted


async def _upload(gateway: Gateway, request: Request, body: _Body, job_id: str) -> str:
    reserve = partial(gateway.store.reserve, job_id)
    upload = await run_in_threadpool(Upload, gateway.data.job(job_id), reserve, body.declared_size)
    form = UploadForm(body.boundary, upload, max_files=gateway.settings.limits.members)
    try:
        limit_bytes = gateway.settings.max_upload_bytes
        await receive_form(request.receive, form, limit_bytes=limit_bytes, deadline=body.deadline)
        request.state.log["files"] = upload.count
        return await run_in_threadpool(upload.complete)
    finally:
        form.close()
        await asyncio.shield(run_in_threadpool(upload.close))


def accepted_response(job: Job) -> Response:
    """202: the study is safe, and its job waits."""
    headers = {"Location": f"/jobs/{job.id}", "Preference-Applied": "respond-async"}
    return Response(json.dumps(job.as_json()), 202, headers, "application/json")


async def answer(
    gateway: Gateway, request: Request, job: Job, encoding: str, deadline: float, *, is_keyed: bool
) -> Response:
    """Wait for the job and give its result. A client that hangs up cancels it, unless somebody may still want it."""
    gateway.answers.expect(job.id, encoding)
    try:
        ended = await wait_for_end(gateway, job.id, request.receive, deadline)
        return await answer_job(gateway, request, ended, encoding, deadline)
    except HungUp:
        if not is_keyed:
            with suppress(SigapError):
                await asyncio.shield(cancel_if_unwanted(gateway, job.id))
        raise
    except DeadlineExceeded as error:
        return respond(request, error, {"Location": f"/jobs/{job.id}"})
    finally:
        gateway.answers.forget(job.id, encoding)


def tokens(headers: list[str]) -> set[str]:
    """What a header lists, parameters left out; it may be sent more than once."""
    return {part.partition(";")[0].strip().lower() for part in ",".join(headers).split(",")}
