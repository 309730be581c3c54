"""Why a job failed, as clients read it: an RFC 9457 document without `instance`, which is each request's own."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from sigap.core.errors import (
    DatabaseUnavailable,
    DeadlineExceeded,
    EngineUnavailable,
    FormatNotForInput,
    GeometryRefused,
    InputError,
    JobStateForbids,
    KeptUnreadable,
    PacsRefused,
    PacsUnavailable,
    QueueFull,
    SigapError,
    StorageFull,
    TooLarge,
    UnknownJob,
    UnknownTask,
    UnsupportedFormat,
)

TYPE_PREFIX = "urn:sigap:problem:"
_INTERNAL = "Something went wrong inside the server. Tell its administrator the request's or the job's id."

# The first class that fits decides; what stands nowhere is our own fault and says nothing about itself.
STATUSES: tuple[tuple[type[SigapError], int], ...] = (
    (UnknownTask, HTTPStatus.NOT_FOUND),
    (UnknownJob, HTTPStatus.NOT_FOUND),
    (KeptUnreadable, HTTPStatus.INTERNAL_SERVER_ERROR),
    (JobStateForbids, HTTPStatus.CONFLICT),
    (TooLarge, HTTPStatus.REQUEST_ENTITY_TOO_LARGE),
    (UnsupportedFormat, HTTPStatus.UNSUPPORTED_MEDIA_TYPE),
    (FormatNotForInput, HTTPStatus.NOT_ACCEPTABLE),
    (InputError, HTTPStatus.UNPROCESSABLE_ENTITY),
    (QueueFull, HTTPStatus.SERVICE_UNAVAILABLE),
    (EngineUnavailable, HTTPStatus.SERVICE_UNAVAILABLE),
    (PacsUnavailable, HTTPStatus.SERVICE_UNAVAILABLE),
    (PacsRefused, HTTPStatus.SERVICE_UNAVAILABLE),
    (DatabaseUnavailable, HTTPStatus.SERVICE_UNAVAILABLE),
    (DeadlineExceeded, HTTPStatus.GATEWAY_TIMEOUT),
    (StorageFull, HTTPStatus.INSUFFICIENT_STORAGE),
)


def problem_document(slug: str, status: int, detail: str, **extensions: Any) -> dict[str, Any]:
    """A problem's members, in the order that people read them."""
    title = slug.replace("-", " ").capitalize()
    return {"type": TYPE_PREFIX + slug, "title": title, "status": int(status), "detail": detail, **extensions}


def describe(error: Exception, statuses: tuple[tuple[type[SigapError], int], ...] = STATUSES) -> dict[str, Any]:
    """The problem of any error; one that is not meant for users says nothing about itself."""
    status = next((status for kind, status in statuses if isinstance(error, kind)), None)
    if status is None or not isinstance(error, SigapError):
        return problem_document("internal", HTTPStatus.INTERNAL_SERVER_ERROR, _INTERNAL)
    extensions: dict[str, Any] = {}
    if isinstance(error, GeometryRefused):
        extensions["geometry"] = error.verdict.as_json()
    if isinstance(error, JobStateForbids):
        extensions["state"] = error.state
    return problem_document(error.slug, status, error.message, **extensions)
