"""Errors as RFC 9457 problems: the one table from error classes to statuses."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, Route

from sigap.access.audit import AuditUnavailable
from sigap.access.keys import KeysUnavailable
from sigap.core.errors import (
    BadParameter,
    DatabaseUnavailable,
    EngineUnavailable,
    PacsUnavailable,
    QueueFull,
    SigapError,
)
from sigap.jobs.problem import STATUSES as JOB_STATUSES
from sigap.jobs.problem import TYPE_PREFIX, describe, problem_document

MEDIA_TYPE = "application/problem+json"
_RETRY_AFTER_S = 10


_CHALLENGE = 'Bearer realm="sigap"'


class Unauthorized(SigapError):
    """No key, or none that we know: the same words for each, so that nobody learns how close a guess was.

    Args:
        kind: what was shown, for metrics: none, bearer, session or login.
    """

    slug = "unauthorized"

    def __init__(self, *, kind: str) -> None:
        super().__init__(
            "This needs a key that the server knows. Send it as `Authorization: Bearer KEY`, or log in with "
            "POST /session."
        )
        self.kind = kind


class CrossSite(SigapError):
    """A browser sends this for another site's page."""

    slug = "cross-site"


class NotJson(SigapError):
    """A body that is no JSON."""

    slug = "not-json"


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


STATUSES: tuple[tuple[type[SigapError], int], ...] = (
    (MalformedForm, HTTPStatus.BAD_REQUEST),
    (Unauthorized, HTTPStatus.UNAUTHORIZED),
    (CrossSite, HTTPStatus.FORBIDDEN),
    (HungUp, 499),  # no status of HTTP's: nobody is there to read it, but logs and metrics count it (nginx's number)
    (NotAcceptable, HTTPStatus.NOT_ACCEPTABLE),
    (UploadStalled, HTTPStatus.REQUEST_TIMEOUT),
    (NotAForm, HTTPStatus.UNSUPPORTED_MEDIA_TYPE),
    (NotJson, HTTPStatus.UNSUPPORTED_MEDIA_TYPE),
    (KeysUnavailable, HTTPStatus.SERVICE_UNAVAILABLE),
    (AuditUnavailable, HTTPStatus.SERVICE_UNAVAILABLE),
    *JOB_STATUSES,
)


def respond(request: Request, error: Exception, headers: Mapping[str, str] | None = None) -> Response:
    """Answer any error; one that stands in no table says nothing about itself."""
    return answer_problem(request, describe(error, STATUSES), {**_headers(error), **(headers or {})})


def problem(
    request: Request, status: int, slug: str, detail: str, *, headers: Mapping[str, str] | None = None
) -> Response:
    """A problem of HTTP's own."""
    return answer_problem(request, problem_document(slug, status, detail), headers)


def answer_problem(request: Request, document: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> Response:
    """A problem response; its `instance` is the request's id, the same as in X-Request-ID and the logs."""
    request.state.log["problem"] = document["type"].removeprefix(TYPE_PREFIX)
    whole = {**document, "instance": f"urn:uuid:{request.state.request_id}"}
    return Response(json.dumps(whole, allow_nan=False), document["status"], headers, MEDIA_TYPE)


async def on_sigap_error(request: Request, error: Exception) -> Response:
    """What our own code refuses."""
    return respond(request, error)


async def on_http_error(request: Request, error: Exception) -> Response:
    """Routing's own errors: no such route, not this method. OPTIONS gets what the route allows."""
    assert isinstance(error, HTTPException)  # noqa: S101 - narrows the type that Starlette's handlers do not
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        allowed = _methods(request) | {"OPTIONS"}
        allow = {"Allow": ", ".join(sorted(allowed | ({"HEAD"} if "GET" in allowed else set())))}
        if request.method == "OPTIONS":
            return Response(status_code=HTTPStatus.NO_CONTENT.value, headers=allow)
        detail = f"This address does not answer {request.method}, only {allow['Allow']}."
        return problem(request, error.status_code, "method-not-allowed", detail, headers=allow)
    if error.status_code == HTTPStatus.NOT_FOUND:
        return problem(request, error.status_code, "not-found", "There is nothing at this address. See /docs.")
    return problem(request, error.status_code, "bad-request", "The request could not be understood. See /docs.")


def _methods(request: Request) -> set[str]:
    """Of all routes at this address: the error knows the first one's alone."""
    routes: list[BaseRoute] = request.app.state.routes
    fitting = [route for route in routes if route.matches(request.scope)[0] is not Match.NONE]
    return {method for route in fitting if isinstance(route, Route) for method in route.methods or ()}


async def on_bad_parameter(request: Request, error: Exception) -> Response:
    """What pydantic says of a query, without the values: one may be a UID."""
    assert isinstance(error, RequestValidationError)  # noqa: S101 - as above
    return respond(request, BadParameter(" ".join(sentence(fault) for fault in error.errors())))


def sentence(fault: Any) -> str:
    """One of pydantic's faults, without the value."""
    if fault["type"] == "extra_forbidden":
        return "There is a parameter that this address does not know. See /docs for those that it does."
    name = fault["loc"][-1] if fault["loc"] else "body"
    return f"{name}: {fault['msg'].removeprefix('Value error, ')}."


_PASSING = (EngineUnavailable, DatabaseUnavailable, PacsUnavailable, KeysUnavailable, AuditUnavailable)


def _headers(error: Exception) -> dict[str, str]:
    """What a status brings along."""
    if isinstance(error, Unauthorized):
        return {"WWW-Authenticate": _CHALLENGE}
    if isinstance(error, QueueFull):
        return {"Retry-After": str(error.retry_after_s)}
    return {"Retry-After": str(_RETRY_AFTER_S)} if isinstance(error, _PASSING) else {}
