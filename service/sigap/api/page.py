"""The page that a person meets at `/`: built from service/web, part of the package, served without a key.

Its files never change under one name, since a name carries the content's hash; only the page itself is asked for anew.
"""

from __future__ import annotations

import gzip
import hashlib
import mimetypes
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable

from fastapi import APIRouter
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from sigap.api.admission import OPEN

router = APIRouter(include_in_schema=False)

# Scripts and styles come from the page's own files. NiiVue's font is a data: image; pictures of answers are blob:.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
    "form-action 'none'; base-uri 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
_FOREVER = "public, max-age=31536000, immutable"
# The browser asks each time whether it has changed, and is mostly told that it has not.
_ASK_AGAIN = "no-cache"
_COMPRESSED = ("text/", "image/svg")
_INDEX, _NOTICES = "index.html", "notices.txt"


@dataclass(frozen=True)
class _File:
    body: bytes
    packed: bytes | None
    etag: str
    media_type: str

    def answer(self, request: Request, caching: str) -> Response:
        """The file, packed where the browser takes that; nothing where it has it already."""
        headers = {"Cache-Control": caching, "ETag": self.etag, "Content-Security-Policy": _POLICY}
        if self.packed is not None:
            headers["Vary"] = "Accept-Encoding"
        if self.etag in (tag.strip() for tag in request.headers.get("if-none-match", "").split(",")):
            return Response(status_code=304, headers=headers)
        body = self.body
        if self.packed is not None and "gzip" in request.headers.get("accept-encoding", ""):
            body, headers["Content-Encoding"] = self.packed, "gzip"
        return Response(body, headers=headers, media_type=self.media_type)


@router.get("/", openapi_extra=OPEN)
def home(request: Request) -> Response:
    """The page."""
    return _file(_INDEX, request, _ASK_AGAIN)


@router.get("/page/{name}", openapi_extra=OPEN)
def part(name: str, request: Request) -> Response:
    """A script, a style or a picture of the page; or the licences of what it is built with."""
    return _file(f"page/{name}", request, _ASK_AGAIN if name == _NOTICES else _FOREVER)


def _file(name: str, request: Request, caching: str) -> Response:
    found = _files().get(name)
    if found is None:
        raise HTTPException(404)
    return found.answer(request, caching)


@cache
def _files() -> dict[str, _File]:
    """All files of the page by name: read once, and a name that is asked for is looked up, never joined to a path."""
    root = files("sigap") / "page"
    entries = [(entry.name, entry) for entry in root.iterdir() if entry.is_file()]
    entries += [(f"page/{entry.name}", entry) for entry in (root / "page").iterdir()]
    return {name: _read(entry) for name, entry in entries}


def _read(entry: Traversable) -> _File:
    body = entry.read_bytes()
    media_type = mimetypes.guess_type(entry.name)[0] or "application/octet-stream"
    is_text = media_type.startswith(_COMPRESSED)
    return _File(
        body=body,
        packed=gzip.compress(body, mtime=0) if is_text else None,
        etag=f'"{hashlib.sha256(body).hexdigest()[:32]}"',
        media_type=media_type,
    )
