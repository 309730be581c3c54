"""The API's description and its pages: complete, true, and loading nothing from outside."""

from __future__ import annotations

import re
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import numpy as np
import pytest
import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, settings
from schemathesis.checks import not_a_server_error

from conftest import ROOT
from fakes import FakeEngine, FakePipeline
from phantoms.dicom import write_series
from phantoms.zips import zipped
from serving import serving
from sigap.access.keys import KeyFile
from sigap.api import documentation
from sigap.api.app import create_app
from sigap.api.problems import STATUSES
from sigap.core import errors
from sigap.dicomnet.configuration import Pacs, Source
from sigap.encoders.formats import FORMATS
from sigap.engines.torchscript import TorchScriptEngine
from sigap.settings import Settings

# Nobody listens there, which is an answer too.
PACS = Pacs(sources={"archive": Source(url="http://127.0.0.1:9")})


def fake_app(data: Path) -> FastAPI:
    app = create_app(Settings(data=data), FakeEngine(), run=FakePipeline())
    app.state.gateway.pacs = PACS
    return app


APP = fake_app(Path("unused"))
DESCRIPTION: dict[str, Any] = APP.openapi()
DOCUMENT = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    with serving(fake_app(tmp_path_factory.mktemp("data"))) as client:
        yield client


def test_all_addresses_of_the_contract_are_described() -> None:
    assert set(DESCRIPTION["paths"]) == {
        "/segment/{task}",
        "/segment/{task}/dicomweb",
        "/jobs",
        "/jobs/{job_id}",
        "/jobs/{job_id}/result",
        "/jobs/{job_id}/image",
        "/jobs/{job_id}/events",
        "/session",
        "/models",
        "/version",
        "/health/live",
        "/health/ready",
        "/metrics",
    }


def test_every_format_is_described_with_an_example() -> None:
    content = DESCRIPTION["paths"]["/segment/{task}"]["post"]["responses"]["200"]["content"]
    assert set(content) == {encoding.media_type for encoding in FORMATS.values()}
    assert all("example" in entry or "examples" in entry for entry in content.values())
    # What the page of /docs asks for unless told otherwise: a surface needs a label.
    assert next(iter(content)) == "application/json"


def test_every_status_is_described_with_an_example() -> None:
    responses = DESCRIPTION["paths"]["/segment/{task}"]["post"]["responses"]
    answered = {status for _, status in STATUSES} - {499}  # nobody is there to read that one
    assert {int(status) for status in responses} == {200, 202, 500} | answered
    for status, response in responses.items():
        if int(status) >= 400:
            example = response["content"]["application/problem+json"]["example"]
            assert example["status"] == int(status)


def test_every_parameter_is_described() -> None:
    operation = DESCRIPTION["paths"]["/segment/{task}"]["post"]
    described = {parameter["name"]: parameter["description"] for parameter in operation["parameters"]}
    assert set(described) == {
        "task",
        "format",
        "series_uid",
        "acquisition",
        "pixel_spacing_mm",
        "slice_thickness_mm",
        "priority",
        "store_to",
        "label",
        "idempotency-key",
        "prefer",
    }
    assert all(described.values())


def test_the_document_names_every_address_format_parameter_and_problem() -> None:
    operation = DESCRIPTION["paths"]["/segment/{task}"]["post"]
    words = set(DESCRIPTION["paths"]) | {"/docs", "/openapi.json"}
    words |= {parameter["name"] for parameter in operation["parameters"]} | {e.media_type for e in FORMATS.values()}
    words |= {kind.slug for kind in vars(errors).values() if isinstance(kind, type) and hasattr(kind, "slug")} - {
        "internal",
        "bad-model",
        "cancelled",
        "engine-missing",  # ends the start
    }
    # Nobody is there to read that one.
    words |= {kind.slug for kind, _ in STATUSES} - {"hung-up"}
    assert [word for word in sorted(words) if f"`{word}`" not in DOCUMENT] == []


class _Links(HTMLParser):
    """Everything that a page loads or points at."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.inline_scripts = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.addresses += [address for name in ("src", "href") if (address := found.get(name))]
        self.inline_scripts += tag == "script" and "src" not in found


@pytest.mark.parametrize("page", ["/", "/docs"])
def test_a_page_loads_nothing_from_another_host(client: httpx.Client, page: str) -> None:
    response = client.get(page)
    links = _Links()
    links.feed(response.text)
    assert links.addresses
    assert links.inline_scripts == 0
    for address in links.addresses:
        assert not re.match(r"\w+:|//", address), address
        assert client.get(f"/{address}").status_code == 200, address
    policy = response.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "http" not in policy


def test_the_documentation_s_script_asks_nobody_but_this_server(client: httpx.Client) -> None:
    script = client.get("/docs/start.js").text
    assert "validatorUrl: null" in script
    assert "//" not in script


def test_the_description_is_served_as_it_is(client: httpx.Client) -> None:
    assert client.get("/openapi.json").json() == DESCRIPTION


@dataclass(frozen=True)
class Locked:
    """A server that asks for a key, and one."""

    client: httpx.Client
    authorization: dict[str, str]


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Locked]:
    data = tmp_path_factory.mktemp("data")
    key = KeyFile(data).add("ward")
    with serving(fake_app(data)) as client:
        yield Locked(client, {"Authorization": f"Bearer {key}"})


def test_the_description_says_whether_a_key_is_asked_for(locked: Locked) -> None:
    named = [{"key": []}, {"session": []}]
    assert DESCRIPTION["security"] == [*named, {}]
    assert locked.client.get("/openapi.json", headers=locked.authorization).json() == LOCKED
    assert LOCKED["security"] == named
    for description in (DESCRIPTION, LOCKED):
        assert set(description["components"]["securitySchemes"]) == {"key", "session"}
        operations = {f"{m} {path}": entry for path, ms in description["paths"].items() for m, entry in ms.items()}
        is_open = {line for line, entry in operations.items() if entry.get("security") == []}
        assert is_open == {"get /health/live", "get /health/ready", "post /session"}
        assert all("401" in entry["responses"] for line, entry in operations.items() if line not in is_open)


def without_labels(description: dict[str, Any]) -> dict[str, Any]:
    """The same without what a schema cannot say: a label must be one of the task's, and goes with format stl alone."""
    narrowed = deepcopy(description)
    operations = [operation for methods in narrowed["paths"].values() for operation in methods.values()]
    for parameter in (one for operation in operations for one in operation.get("parameters", [])):
        if parameter["name"] == "label":
            parameter["schema"] = {"enum": [None]}
        if parameter["name"] == "format":
            parameter["schema"]["enum"].remove("stl")
    return narrowed


KEY = "idempotency-key"
LOCKED = documentation.describe(APP, ["toy"], asks_for_key=True)
OPEN_SCHEMA, SCHEMA = (
    schemathesis.openapi.from_dict(without_labels(description)) for description in (DESCRIPTION, LOCKED)
)
for _schema in (OPEN_SCHEMA, SCHEMA):
    _schema.config.generation.update(modes=list(schemathesis.GenerationMode))
    # A key of kilobytes is refused for its size before anything reads it.
    _schema.config.checks.negative_data_rejection.expected_statuses.append("413")


@SCHEMA.parametrize()
@settings(max_examples=12, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_the_server_does_what_its_description_says(locked: Locked, case: schemathesis.Case) -> None:
    """Among much else: a key that is left out or wrong opens nothing that asks for one."""
    if 0 < len(case.headers.get(KEY, "")) <= 255:
        # A key names one request, and each of these is another one.
        case.headers[KEY] = str(uuid4())
    # A kept answer in another format is made from the upload, which the fake pipeline never read.
    case.headers["cache-control"] = "no-cache"
    # The PACS is away, and a 503 says so.
    excluded = [not_a_server_error] if case.path.endswith("/dicomweb") else []
    case.call_and_validate(base_url=str(locked.client.base_url), headers=locked.authorization, excluded_checks=excluded)


@pytest.fixture(scope="module")
def toy_client(toy_repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    engine = TorchScriptEngine.load(toy_repository)
    data = tmp_path_factory.mktemp("data")
    with serving(create_app(Settings(data=data, models=toy_repository), engine)) as client:
        yield client
    engine.close()


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Of the kind that allows every format."""
    paths = write_series(tmp_path_factory.mktemp("series"), np.full((4, 12, 12), 50, np.int16))
    return zipped({path.name: path.read_bytes() for path in paths})


@OPEN_SCHEMA.include(path_regex="job_id").parametrize()
@settings(max_examples=8, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_it_does_so_for_a_job_that_is_there(toy_client: httpx.Client, study: bytes, case: schemathesis.Case) -> None:
    response = toy_client.post("/segment/toy", files={"files": ("a", study)})
    assert response.status_code == 200
    case.path_parameters["job_id"] = response.headers["content-location"].split("/")[2]
    case.call_and_validate(base_url=str(toy_client.base_url))
