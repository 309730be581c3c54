"""The API's documentation: its description, and Swagger UI from the installed package. No other host is asked."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.openapi.utils import get_openapi
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, Response
from swagger_ui_bundle import swagger_ui_path

from sigap import __version__
from sigap.api.admission import COOKIE, OPEN
from sigap.api.examples import problem_responses
from sigap.dicomnet.configuration import Pacs

router = APIRouter(include_in_schema=False)

_DESCRIPTION = """\
A CT study goes in; masks, millilitres and a lesion table come out.

**Research use only: not a medical device.** "Not detected" means not detected by the algorithm, never absent.

    curl -F files=@study.zip http://127.0.0.1:8000/segment/liver
    curl -F files=@head.nii.gz 'http://127.0.0.1:8000/segment/hemorrhage?format=nifti' -o mask.nii.gz

Every error is a problem of RFC 9457 with its own `type`.
"""
_TAGS = [
    {"name": "segmentation", "description": "A study in, an answer out."},
    {
        "name": "jobs",
        "description": "Every study that was sent is a job: follow it, cancel it, fetch its result again.",
    },
    {"name": "information", "description": "Tasks, version, health and metrics."},
]

# Of the package only these: its own index page and initializer load an example from another host.
_FILES: Mapping[str, str] = {
    "swagger-ui.css": "text/css",
    "swagger-ui-bundle.js": "text/javascript",
    "favicon-32x32.png": "image/png",
}
# Swagger UI writes style attributes and data: images; scripts come from this server's files alone.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
)

_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Sigap API</title>
<link rel="icon" type="image/png" href="docs/favicon-32x32.png">
<link rel="stylesheet" href="docs/swagger-ui.css">
<div id="swagger-ui"></div>
<noscript>This page needs scripts. The same description as JSON: <a href="openapi.json">openapi.json</a></noscript>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
</html>
"""
# validatorUrl: without it Swagger UI asks a validator on the internet about the description.
_START = """window.ui = SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  validatorUrl: null,
  queryConfigEnabled: false,
});
"""


_SCHEMES: dict[str, dict[str, str]] = {
    "key": {
        "type": "http",
        "scheme": "bearer",
        "description": "A key of `sigap keys add`. Not asked for on a server that has none, or with SIGAP_AUTH=off.",
    },
    "session": {
        "type": "apiKey",
        "in": "cookie",
        "name": COOKIE,
        "description": "For browsers: what `POST /session` gives for a key.",
    },
}


def describe(app: FastAPI, tasks: Sequence[str], *, asks_for_key: bool) -> dict[str, Any]:
    """The OpenAPI description; the tasks of this server are the values that `task` may have."""
    description = get_openapi(
        title="Sigap",
        version=__version__,
        description=_DESCRIPTION,
        routes=app.routes,
        tags=_TAGS,
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
    )
    for path in ("/segment/{task}", "/segment/{task}/dicomweb"):
        for operation in description["paths"][path].values():
            for parameter in operation["parameters"]:
                if parameter["name"] == "task" and tasks:
                    parameter["schema"]["enum"] = list(tasks)
    _name_the_pacs(description, app.state.gateway.pacs)
    _describe_keys(description, asks_for_key=asks_for_key)
    return description


def _name_the_pacs(description: dict[str, Any], pacs: Pacs) -> None:
    """Whom this server may talk to are the values that sources and destinations may have."""
    sources, targets = sorted(pacs.sources), sorted([*pacs.sources, *pacs.peers])
    paths = description["paths"]
    parameters = {entry["name"]: entry for entry in paths["/segment/{task}"]["post"]["parameters"]}
    one = f"({'|'.join(targets)})"
    parameters["store_to"]["schema"] = (
        {"type": "string", "pattern": f"^{one}(,{one}){{0,9}}$"} if targets else {"enum": [None]}
    )
    body = paths["/segment/{task}/dicomweb"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    if sources:
        body["properties"]["source"]["enum"] = sources
    else:
        # No value is one.
        body["properties"]["source"]["not"] = {}
    body["properties"]["store_to"] = {**body["properties"]["store_to"], "enum": [*targets, None]}


def _describe_keys(description: dict[str, Any], *, asks_for_key: bool) -> None:
    """Every operation asks for a key unless it says that it does not; on an open server all go without one too."""
    description["security"] = [*({name: []} for name in _SCHEMES), *([] if asks_for_key else [{}])]
    description.setdefault("components", {})["securitySchemes"] = _SCHEMES
    for operations in description["paths"].values():
        for method, operation in operations.items():
            if operation.get("security") != OPEN["security"]:
                statuses = (401, 503) if method == "get" else (401, 403, 503)
                refusals = {str(status): response for status, response in problem_responses(*statuses).items()}
                operation["responses"] = dict(sorted({**refusals, **operation["responses"]}.items()))


@router.get("/openapi.json")
async def openapi(request: Request) -> Response:
    """The description, as JSON."""
    return JSONResponse(request.app.openapi())


@router.get("/docs")
async def docs() -> Response:
    """Swagger UI."""
    return HTMLResponse(_PAGE, headers={"Content-Security-Policy": _POLICY})


@router.get("/docs/start.js", openapi_extra=OPEN)
async def start() -> Response:
    """A file of its own, so that the policy can forbid scripts inside pages."""
    return Response(_START, media_type="text/javascript")


def _add_file(name: str, media_type: str) -> None:
    @router.get(f"/docs/{name}", openapi_extra=OPEN)
    async def file() -> Response:
        path = Path(str(swagger_ui_path)) / name
        return FileResponse(path, media_type=media_type, headers={"Cache-Control": "max-age=3600"})


for _name, _media_type in _FILES.items():
    _add_file(_name, _media_type)
