"""POST /session: a browser shows its key once and gets a cookie for it."""

import asyncio
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from sigap.access import session
from sigap.api.admission import COOKIE, OPEN, Admitted, check_same_site
from sigap.api.examples import problem_responses
from sigap.api.gateway import Gateway
from sigap.api.problems import NotJson, Unauthorized, UploadStalled
from sigap.core.errors import BadParameter, TooLarge

router = APIRouter(tags=["information"], responses=problem_responses(500))
_LONGEST_BODY = 4096
_PATIENCE_S = 10.0


class Login(BaseModel):
    """What a browser shows; anything else in the body is refused."""

    model_config = ConfigDict(extra="forbid", strict=True)

    key: str = Field(min_length=1, max_length=1024, description="An access key, as `sigap keys add` printed it.")


_COOKIE: dict[str, Any] = {
    "Set-Cookie": {
        "description": f"`{COOKIE}`: HttpOnly, SameSite=Strict, over TLS Secure. Missing where no key is asked for.",
        "schema": {"type": "string"},
    }
}
_BODY: dict[str, Any] = {
    "required": True,
    "content": {"application/json": {"schema": Login.model_json_schema()}},
}


@router.post(
    "/session",
    status_code=204,
    summary="Log in",
    response_class=Response,
    responses={
        204: {"description": "Logged in.", "headers": _COOKIE},
        **problem_responses(401, 403, 408, 413, 415, 422, 503),
    },
    openapi_extra={**OPEN, "requestBody": _BODY},
)
async def log_in(request: Request) -> Response:
    """Show a key once: a cookie, which lasts twelve hours or until the key is revoked, stands for it from then on.

    For browsers. A program sends its key with every request, as `Authorization: Bearer KEY`.
    """
    gateway: Gateway = request.app.state.gateway
    check_same_site(request)
    secret = await _read_key(request)
    request.state.is_recorded = True
    if gateway.audit is not None:
        await run_in_threadpool(gateway.audit.check)
    try:
        client, token = await run_in_threadpool(gateway.admission.log_in, request, secret)
    except Unauthorized as error:
        gateway.metrics.count_denial(error.kind)
        raise
    request.state.admitted = Admitted(client, lambda: None)
    return Response(status_code=204, headers={} if token is None else _set_cookie(request, token, session.LASTS_S))


@router.delete(
    "/session",
    status_code=204,
    summary="Log out",
    response_class=Response,
    responses={204: {"description": "Logged out.", "headers": _COOKIE}},
)
async def log_out(request: Request) -> Response:
    """The browser forgets the cookie."""
    return Response(status_code=204, headers=_set_cookie(request, "", 0))


def _set_cookie(request: Request, token: str, lasts_s: int) -> dict[str, str]:
    """The header that no script can read, no other site's page can use, and no plain HTTP carries after TLS."""
    secure = "; Secure" if _is_secure(request) else ""
    return {"Set-Cookie": f"{COOKIE}={token}; Path=/; Max-Age={lasts_s}; HttpOnly; SameSite=Strict{secure}"}


async def _read_key(request: Request) -> str:
    """The key in the body, of which no more is read than a key takes."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise NotJson('The body must be JSON, {"key": "..."}, with Content-Type: application/json.')
    body = b""
    try:
        async with asyncio.timeout(_PATIENCE_S):
            async for chunk in request.stream():
                body += chunk
                if len(body) > _LONGEST_BODY:
                    raise TooLarge("No key is so long.", slug="upload-too-large")
    except TimeoutError as error:
        raise UploadStalled("The request's body did not arrive in time. Send it again.") from error
    try:
        return Login.model_validate_json(body).key
    except ValidationError:
        # Its message quotes what was sent, and that may be a key.
        raise BadParameter('The body must be {"key": "..."} with one access key, and nothing else.') from None


def _is_secure(request: Request) -> bool:
    """Whether the browser came over TLS. Whoever lies about it has only its own cookie kept from plain HTTP."""
    return "https" in (
        request.url.scheme,
        request.headers.get("x-forwarded-proto", "").partition(",")[0].strip().lower(),
    )
