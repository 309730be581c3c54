"""POST /segment/{task}/dicomweb: a study that lies in the PACS is pulled from there, and its result may go back."""

import asyncio
import json
import threading
import time
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Header, Path, Query
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from sigap.api.formats import check_label, choose, with_label
from sigap.api.gateway import Gateway
from sigap.api.job_schema import SEGMENT_RESPONSES
from sigap.api.parameters import PullOptions, check_query
from sigap.api.problems import HungUp, NotJson, sentence
from sigap.api.segment import LONGEST_KEY, accepted_response, answer, bring_in, tokens
from sigap.api.waiting import hang_up
from sigap.core.errors import BadParameter, Cancelled, DeadlineExceeded, TooLarge
from sigap.dicomnet import destinations
from sigap.dicomnet.configuration import Source
from sigap.dicomnet.dicomweb import DicomWeb
from sigap.dicomnet.pull import UID, choose_series, pull_series
from sigap.jobs.job import Order
from sigap.jobs.upload import Upload

router = APIRouter(tags=["segmentation"])
_LARGEST_BODY_BYTES = 64 << 10
_UID: dict[str, Any] = {"pattern": UID.pattern.replace("(?=.{1,64}$)", "^") + "$", "max_length": 64}


class StudyInPacs(BaseModel):
    """Where the study lies. Names stand for what the administrator has configured; an address is never given."""

    model_config = ConfigDict(extra="forbid")

    source: Annotated[str, Field(max_length=63, description="Name of a DICOMweb server.", examples=["archive"])]
    study_uid: Annotated[str, Field(**_UID, description="Study Instance UID.", examples=["1.2.840.113619.2.55.3"])]
    series_uid: Annotated[
        str | None,
        Field(**_UID, description="Series Instance UID; without it the one axial CT series of the study is taken."),
    ] = None
    store_to: Annotated[
        str | None,
        Field(max_length=63, description="Name of the destination that the result is sent to, once there is one."),
    ] = None


_BODY: dict[str, Any] = {
    "required": True,
    "content": {"application/json": {"schema": StudyInPacs.model_json_schema()}},
}


@router.post(
    "/segment/{task}/dicomweb",
    summary="Segment one study of the PACS",
    response_class=Response,
    responses=SEGMENT_RESPONSES,
    openapi_extra={"requestBody": _BODY},
)
async def segment_dicomweb(
    request: Request,
    task: Annotated[str, Path(description="A task of GET /models.")],
    options: Annotated[PullOptions, Query()],
    idempotency_key: Annotated[
        str | None,
        Header(min_length=1, max_length=LONGEST_KEY, description="Names this request, as for an upload."),
    ] = None,
    prefer: Annotated[
        list[str] | None,
        Header(description="`respond-async`: answer 202 with the job as soon as the study is safe on disk."),
    ] = None,
) -> Response:
    """Pull a CT series by DICOMweb, whole or not at all, and segment it like an upload.

    With `store_to` the result is sent there when it is kept, again and again until it is delivered; the job says how
    far that is.
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
    wanted = await _read_body(request)
    source = destinations.source(gateway.pacs, wanted.source)
    send_to = () if wanted.store_to is None else (wanted.store_to,)
    for name in send_to:
        destinations.destination(gateway.pacs, name)
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
        send_to=send_to,
    )
    accepted = await bring_in(
        gateway, request, order, partial(_pull, _Pull(gateway, source, wanted, deadline), request)
    )
    if is_async:
        return accepted_response(accepted.job)
    return await answer(gateway, request, accepted.job, key, deadline, is_keyed=idempotency_key is not None)


async def _read_body(request: Request) -> StudyInPacs:
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise NotJson('The body is not JSON. Send Content-Type: application/json and {"source": …, "study_uid": …}.')
    body = bytearray()
    async for block in request.stream():
        body += block
        if len(body) > _LARGEST_BODY_BYTES:
            raise TooLarge("The body is larger than such a request can be.", slug="upload-too-large")
    try:
        return StudyInPacs.model_validate(json.loads(body))
    except ValidationError as error:
        faults = error.errors(include_input=False, include_url=False)
        raise BadParameter(" ".join(sentence(fault) for fault in faults)) from error
    except (ValueError, RecursionError) as error:
        raise BadParameter("The body is no JSON document.") from error


@dataclass(frozen=True)
class _Pull:
    """One pull; the deadline is on `time.monotonic`'s clock."""

    gateway: Gateway
    source: Source
    wanted: StudyInPacs
    deadline: float

    def run(self, upload: Upload, is_over: threading.Event) -> str:
        """In a thread of its own; returns the upload's SHA-256."""

        def check() -> None:
            if is_over.is_set():
                raise Cancelled("Nobody waits for the study any more.")
            if time.monotonic() > self.deadline:
                raise _too_late()

        settings, wanted = self.gateway.settings, self.wanted
        left_s = max(0.001, self.deadline - time.monotonic())
        patient = self.source.model_copy(update={"timeout_s": min(self.source.timeout_s, left_s)})
        with DicomWeb(patient, check) as client:
            series = choose_series(client, wanted.study_uid, wanted.series_uid)
            limits, limit_bytes = settings.limits, settings.max_upload_bytes
            pull_series(client, wanted.study_uid, series, upload, limits=limits, limit_bytes=limit_bytes)
        return upload.complete()


async def _pull(pull: _Pull, request: Request, job_id: str) -> str:
    """Pull into a job's folder, as long as the client waits and its time is not over."""
    gateway = pull.gateway
    reserve = partial(gateway.store.reserve, job_id)
    upload = await run_in_threadpool(Upload, gateway.data.job(job_id), reserve, 0)
    is_over = threading.Event()
    work = asyncio.create_task(run_in_threadpool(pull.run, upload, is_over))
    gone = asyncio.create_task(hang_up(request.receive))
    try:
        left_s = max(0.0, pull.deadline - time.monotonic())
        await asyncio.wait({work, gone}, timeout=left_s, return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            raise HungUp("The client closed the connection.") if gone.done() else _too_late()
        request.state.log["files"] = upload.count
        return work.result()
    finally:
        is_over.set()
        gone.cancel()
        # The thread writes into the job's folder: whoever gives that back must not do so before it has ended.
        await asyncio.shield(asyncio.gather(work, gone, return_exceptions=True))
        await asyncio.shield(run_in_threadpool(upload.close))


def _too_late() -> DeadlineExceeded:
    return DeadlineExceeded("The PACS took longer than a request may. Try again later.")
