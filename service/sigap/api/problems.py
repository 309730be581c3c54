"""Errors as RFC 9457 problems: the one table from error classes to statuses."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Any

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from sigap.core.errors import (
    BadParameter,
    DeadlineExceeded,
    EngineUnavailable,
    GeometryRefused,
    InputError,
    QueueFull,
    SigapError,
    StorageFull,
    TooLarge,
    UnknownTask,
    UnsupportedFormat,
)

MEDIA_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:sigap:problem:"
_ENGINE_RETRY_AFTER_S = 10
_INTERNAL = "Something went wrong inside the server. Tell its administrator the request id."


class MalformedForm(SigapError):
    """A multipart body that breaks RFC 7578 or ends too early."""

    slug = "malformed-multipart"


class NotAForm(SigapError):
    """A body that is no multipart form."""

    slug = "not-multipart"


class NotAcceptable(SigapError):
    """No format that we write is one that the client takes."""

    slug = "not-acceptable"


class UploadStalled(SigapError):
    """The client has sent nothing for too long."""

    slug = "upload-stalled"


class HungUp(SigapError):
    """The client has closed its connection: nobody will read an answer."""

    slug = "hung-up"


# The first class that fits decides; what stands nowhere is our own fault and says nothing about itself.
STATUSES: tuple[tuple[type[Exception], int], ...] = (
    (MalformedForm, HTTPStatus.BAD_REQUEST),
    (HungUp, 499),  # no status of HTTP's: nobody is there to read it, but logs and metrics count it (nginx's number)
    (UnknownTask, HTTPStatus.NOT_FOUND),
    (NotAcceptable, HTTPStatus.NOT_ACCEPTABLE),
    (UploadStalled, HTTPStatus.REQUEST_TIMEOUT),
    (TooLarge, HTTPStatus.REQUEST_ENTITY_TOO_LARGE),
    (NotAForm, HTTPStatus.UNSUPPORTED_MEDIA_TYPE),
    (UnsupportedFormat, HTTPStatus.UNSUPPORTED_MEDIA_TYPE),
    (InputError, HTTPStatus.UNPROCESSABLE_ENTITY),
    (QueueFull, HTTPStatus.SERVICE_UNAVAILABLE),
    (EngineUnavailable, HTTPStatus.SERVICE_UNAVAILABLE),
    (DeadlineExceeded, HTTPStatus.GATEWAY_TIMEOUT),
    (StorageFull, HTTPStatus.INSUFFICIENT_STORAGE),
)


def respond(request: Request, error: Exception) -> Response:
    """Answer any error; one that stands in no table says nothing about itself."""
    status = next((status for kind, status in STATUSES if isinstance(error, kind)), None)
    if status is None or not isinstance(error, SigapError):
        return problem(request, HTTPStatus.INTERNAL_SERVER_ERROR, "internal", _INTERNAL)
    extensions = {"geometry": error.verdict.as_json()} if isinstance(error, GeometryRefused) else {}
    return problem(request, status, error.slug, error.message, headers=_retry_after(error), **extensions)


def problem(
    request: Request,
    status: int,
    slug: str,
    detail: str,
    *,
    headers: dict[str, str] | None = None,
    **extensions: Any,
) -> Response:
    """A problem response; its `instance` is the request's id, the same as in X-Request-ID and the logs."""
    request.state.log["problem"] = slug
    document = {
        "type": TYPE_PREFIX + slug,
        "title": slug.replace("-", " ").capitalize(),
        "status": int(status),
        "detail": detail,
        "instance": f"urn:uuid:{request.state.request_id}",
        **extensions,
    }
    return Response(json.dumps(document, allow_nan=False), int(status), headers, MEDIA_TYPE)


async def on_sigap_error(request: Request, error: Exception) -> Response:
    """What our own code refuses."""
    return respond(request, error)


async def on_http_error(request: Request, error: Exception) -> Response:
    """Routing's own errors: no such route, not this method. OPTIONS gets what the route allows."""
    assert isinstance(error, HTTPException)  # noqa: S101 - narrows the type that Starlette's handlers do not
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        allowed = {method.strip() for method in (error.headers or {}).get("Allow", "").split(",")} | {"OPTIONS"}
        allow = {"Allow": ", ".join(sorted(allowed | ({"HEAD"} if "GET" in allowed else set())))}
        if request.method == "OPTIONS":
            return Response(status_code=HTTPStatus.NO_CONTENT.value, headers=allow)
        detail = f"This address does not answer {request.method}, only {allow['Allow']}."
        return problem(request, error.status_code, "method-not-allowed", detail, headers=allow)
    if error.status_code == HTTPStatus.NOT_FOUND:
        return problem(request, error.status_code, "not-found", "There is nothing at this address. See /docs.")
    return problem(request, error.status_code, "bad-request", "The request could not be understood. See /docs.")


async def on_bad_parameter(request: Request, error: Exception) -> Response:
    """What pydantic says of a query, without the values: one may be a UID."""
    assert isinstance(error, RequestValidationError)  # noqa: S101 - as above
    return respond(request, BadParameter(" ".join(_sentence(fault) for fault in error.errors())))


def _sentence(fault: Any) -> str:
    if fault["type"] == "extra_forbidden":
        return "There is a query parameter that this address does not know. See /docs for those that it does."
    name = fault["loc"][-1]
    return f"{name}: {fault['msg'].removeprefix('Value error, ')}."


def _retry_after(error: Exception) -> dict[str, str]:
    if isinstance(error, QueueFull):
        return {"Retry-After": str(error.retry_after_s)}
    return {"Retry-After": str(_ENGINE_RETRY_AFTER_S)} if isinstance(error, EngineUnavailable) else {}
