"""A received series on its way to the gateway: an upload like any other, under a key that makes it one job."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from pathlib import Path

import httpx

from sigap.core.errors import SigapError
from sigap.dicomnet.configuration import Listener
from sigap.dicomnet.spool import Handover
from sigap.dicomnet.transport import read_secret, tls_context

_BLOCK = 1 << 18
# The gateway accepts a study when it is safe on its disk; that takes a while.
_PATIENCE_S = 120.0
_LASTING = (400, 404, 413, 415, 422)


class GatewayAway(SigapError):
    """The gateway cannot take the study now."""

    slug = "gateway-away"


class GatewayRefused(SigapError):
    """The gateway will not take this study, however often it is sent."""

    slug = "gateway-refused"


class HandoverClient:
    """A client of `sigap serve`.

    Args:
        listener: where the gateway is, and the key for it.
    """

    def __init__(self, listener: Listener) -> None:
        self._listener = listener

    def hand_over(self, order: Handover, paths: Sequence[Path]) -> str:
        """Upload a series.

        Returns:
            The job's id.

        Raises:
            GatewayAway: it cannot take the study now.
            GatewayRefused: it will not take it.
        """
        body = _Form(paths)
        headers = {**body.headers, "Prefer": "respond-async", "Idempotency-Key": order.key}
        query = {"series_uid": order.series_uid, "store_to": ",".join(order.send_to), "priority": order.priority}
        params = {name: value for name, value in query.items() if value}
        try:
            with self._client() as client:
                response = client.post(f"/segment/{order.task}", params=params, headers=headers, content=iter(body))
                document = response.json()
        except (httpx.HTTPError, ValueError, OSError) as error:
            raise GatewayAway("The gateway cannot be reached.") from error
        if response.status_code == httpx.codes.ACCEPTED:
            return str(document["id"])
        said = f"{document.get('detail', '')} (HTTP {response.status_code})".strip()
        if response.status_code in _LASTING:
            raise GatewayRefused(said)
        raise GatewayAway(said)

    def _client(self) -> httpx.Client:
        listener = self._listener
        headers = {}
        if listener.key_file is not None:
            headers["Authorization"] = f"Bearer {read_secret(listener.key_file)}"
        context = tls_context(listener.gateway_ca_file, None, None)
        return httpx.Client(
            base_url=listener.gateway, headers=headers, verify=context, timeout=_PATIENCE_S, trust_env=False
        )


class _Form:
    """A multipart form of files, read while it is sent: a study may have more files than a process may open."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = paths
        self._boundary = secrets.token_hex(16)

    @property
    def headers(self) -> dict[str, str]:
        heads = sum(len(self._head(number)) + path.stat().st_size + 2 for number, path in enumerate(self._paths))
        kind = f"multipart/form-data; boundary={self._boundary}"
        return {"Content-Type": kind, "Content-Length": str(heads + len(self._tail()))}

    def __iter__(self) -> Iterator[bytes]:
        for number, path in enumerate(self._paths):
            yield self._head(number)
            with path.open("rb") as file:
                while block := file.read(_BLOCK):
                    yield block
            yield b"\r\n"
        yield self._tail()

    def _head(self, number: int) -> bytes:
        disposition = f'Content-Disposition: form-data; name="files"; filename="{number:06}.dcm"'
        return f"--{self._boundary}\r\n{disposition}\r\n\r\n".encode()

    def _tail(self) -> bytes:
        return f"--{self._boundary}--\r\n".encode()
