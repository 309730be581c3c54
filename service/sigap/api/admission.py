"""Whom the gateway lets in, by a request's headers."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from starlette.requests import HTTPConnection
from starlette.routing import BaseRoute

from sigap.access import session
from sigap.access.ring import KeyRing
from sigap.api.problems import CrossSite, Unauthorized
from sigap.jobs.client import ANYBODY, Client
from sigap.settings import Settings

COOKIE = "sigap_session"
OPEN: dict[str, Any] = {"security": []}
"""The `openapi_extra` of a route that asks for no key (CONTRACT, section 5): what is described is what holds."""

_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_BEARER = re.compile(r"bearer +([\x21-\x7e]+) *", re.IGNORECASE)


def is_open(route: BaseRoute | None) -> bool:
    """Whether a route asks for no key. One that says nothing asks."""
    said: dict[str, Any] = getattr(route, "openapi_extra", None) or {}
    return bool(said.get("security") == OPEN["security"])


@dataclass(frozen=True)
class Admitted:
    """Somebody who was let in.

    Attributes:
        client: who it is.
        check: raises `Unauthorized` once that holds no more, for what goes on for long.
    """

    client: Client
    check: Callable[[], None]


class Admission:
    """Reads keys and sessions off requests.

    Keys are asked for as soon as there has ever been one, beyond loopback always, or never with SIGAP_AUTH=off. On
    loopback without a key the service is for programs and browsers of this machine, not for requests for another name.

    Args:
        settings: read at the composition root.
    """

    def __init__(self, settings: Settings) -> None:
        self._ring = None if settings.auth == "off" else KeyRing(settings.data, is_shut=not settings.is_loopback)

    def asks_for_key(self) -> bool:
        """Whether keys are in force.

        Raises:
            KeysUnavailable: the keys cannot be read.
        """
        return self._ring is not None and self._ring.keys() is not None

    def admit(self, request: HTTPConnection, method: str) -> Admitted:
        """Who sends a request.

        Raises:
            Unauthorized: nobody whom we know.
            CrossSite: another site's page, with a session that the browser added.
            KeysUnavailable: the keys cannot be read.
        """
        client = self._client(request, method)
        return Admitted(client, lambda: self._check(client, request, method))

    def log_in(self, request: HTTPConnection, secret: str) -> tuple[Client, str | None]:
        """Begin a session; without a token where nothing asks for one.

        Raises:
            Unauthorized: it is no key of ours.
            KeysUnavailable: the keys cannot be read.
        """
        if self._ring is None or not self._asks(request):
            return ANYBODY, None
        key = self._ring.key_of(secret)
        if key is None:
            raise Unauthorized(kind="login")
        return key.client, session.begin(key, time.time())

    def _asks(self, request: HTTPConnection) -> bool:
        return self.asks_for_key() or not is_of_this_machine(request.headers.get("host"))

    def _client(self, request: HTTPConnection, method: str) -> Client:
        if self._ring is None or not self._asks(request):
            if method not in _SAFE:
                check_same_site(request)
            return ANYBODY
        if shown := request.headers.getlist("authorization"):
            # A wrong key is not made good by a cookie beside it, nor by a second one.
            bearer = _BEARER.fullmatch(shown[0])
            key = self._ring.key_of(bearer[1]) if bearer and len(shown) == 1 else None
            kind = "bearer"
        else:
            token = request.cookies.get(COOKIE)
            key = None if token is None else self._ring.key_of_session(token, time.time())
            kind = "none" if token is None else "session"
        if key is None:
            raise Unauthorized(kind=kind)
        if kind == "session" and method not in _SAFE:
            check_same_site(request)
        return key.client

    def _check(self, client: Client, request: HTTPConnection, method: str) -> None:
        if self._client(request, method) != client:
            raise Unauthorized(kind="none")


def check_same_site(request: HTTPConnection) -> None:
    """Refuse what another site's page has a browser send; what sends no such headers is no browser.

    Raises:
        CrossSite: it is.

    Source:
        Fetch Metadata (Sec-Fetch-Site) as browsers send it over TLS and to loopback; elsewhere Origin against Host.
    """
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    if site is not None:
        is_ours = site in ("same-origin", "none")
    else:
        is_ours = origin is None or origin.partition("://")[2] == request.headers.get("host")
    if not is_ours:
        raise CrossSite(
            "The request comes from another site's page. Send it from this server's own page, or with a key as "
            "`Authorization: Bearer KEY`."
        )


def is_of_this_machine(host: str | None) -> bool:
    """Whether a Host header is an address, `localhost`, or a name without a dot, which nobody on the internet can have.

    A page from there may let its own name point to 127.0.0.1 (DNS rebinding): its scripts could read what only this
    machine's user should. And a proxy on this machine would open to a network what was never locked.
    """
    try:
        name = urlsplit(f"//{host or ''}").hostname or ""
    except ValueError:
        return False
    return "." not in name or name.rstrip(".").rpartition(".")[2] == "localhost" or _is_address(name)


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
