"""The page's files as the server gives them, and as the sources make them."""

from __future__ import annotations

import gzip
import io
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

import toy
from conftest import ROOT
from phantoms.nifti import nifti_bytes
from serving import serving
from sigap.api.app import create_app
from sigap.engines.torchscript import TorchScriptEngine
from sigap.settings import Settings

BUILT = ROOT / "service" / "sigap" / "page"
SOURCES = ROOT / "service" / "web"


@pytest.fixture(scope="module")
def client(toy_repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    engine = TorchScriptEngine.load(toy_repository)
    app = create_app(Settings(models=toy_repository, data=tmp_path_factory.mktemp("page")), engine)
    with serving(app) as client:
        yield client
    engine.close()


def parts() -> list[str]:
    """Every file that the page names, and those that these name."""
    return sorted(f"page/{path.name}" for path in (BUILT / "page").iterdir())


def test_the_page_is_asked_for_anew_and_its_parts_never_again(client: httpx.Client) -> None:
    page = client.get("/")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.headers["cache-control"] == "no-cache"
    named = re.findall(r'"\./(page/[^"]+)"', page.text)
    assert len(named) == 3
    for name in parts():
        answer = client.get(f"/{name}")
        assert answer.status_code == 200
        assert answer.content == (BUILT / name).read_bytes()
        is_hashed = name != "page/notices.txt"
        assert answer.headers["cache-control"] == ("public, max-age=31536000, immutable" if is_hashed else "no-cache")
    assert set(named) <= set(parts())


def test_nothing_is_sent_twice(client: httpx.Client) -> None:
    etag = client.get("/").headers["etag"]
    again = client.get("/", headers={"If-None-Match": f'"other", {etag}'})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == etag
    assert client.get("/", headers={"If-None-Match": '"other"'}).status_code == 200


def test_text_is_packed_for_those_who_take_it(client: httpx.Client) -> None:
    script = next(name for name in parts() if name.endswith(".js"))
    plain = client.get(f"/{script}", headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers
    with client.stream("GET", f"/{script}", headers={"Accept-Encoding": "gzip"}) as packed:
        assert packed.headers["content-encoding"] == "gzip"
        assert packed.headers["vary"] == "Accept-Encoding"
        assert gzip.decompress(b"".join(packed.iter_raw())) == plain.content


@pytest.mark.parametrize("address", ["/", "/page/notices.txt"])
def test_the_policy_lets_in_nothing_but_the_page_itself(client: httpx.Client, address: str) -> None:
    headers = client.get(address).headers
    policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
    assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"


@pytest.mark.parametrize(
    "name", ["page/none.js", "page/../index.html", "page/%2e%2e/index.html", "page/", "index.html"]
)
def test_only_the_pages_own_files_are_there(client: httpx.Client, name: str) -> None:
    assert client.get(f"/{name}").status_code == 404


def test_the_page_names_no_other_place_and_has_no_script_of_its_own() -> None:
    page = (BUILT / "index.html").read_text()
    assert not re.search(r"<style|style=|\son\w+=|<script(?![^>]*src=)", page)
    assert re.findall(r"https?://[^\"'<> ]+", page) == [
        "http://127.0.0.1:8000/segment/liver</code>".removesuffix("</code>")
    ]


def test_the_page_is_part_of_the_package() -> None:
    assert (files("sigap") / "page" / "index.html").is_file()


@pytest.mark.parametrize("kind", ["nifti", "png"])
def test_the_formats_that_are_offered_are_those_that_are_written(client: httpx.Client, kind: str) -> None:
    shades = np.full((12, 12), toy.LESION_HU, np.int16)
    buffer = io.BytesIO()
    Image.fromarray(np.full((12, 12), 200, np.uint8)).save(buffer, "PNG")
    study = buffer.getvalue() if kind == "png" else nifti_bytes(np.stack([shades] * 3, axis=2), np.eye(4))
    answer = client.post("/segment/toy", files={"files": study})
    place = answer.headers["content-location"].partition("?")[0]
    is_spaced = None not in answer.json()["input"]["spacing_mm"]
    for entry in client.get("/models").json()["formats"]:
        query = {"format": entry["name"], **({"label": "body"} if entry["is_per_label"] else {})}
        is_offered = kind in entry["inputs"] and (is_spaced or not entry["needs_spacing"])
        assert client.get(place, params=query).status_code == (200 if is_offered else 406), entry["name"]


def test_the_lock_names_no_registry() -> None:
    lock = json.loads((SOURCES / "package-lock.json").read_text())
    assert all("resolved" not in entry for entry in lock["packages"].values())
    assert all("integrity" in entry for name, entry in lock["packages"].items() if name)


def test_what_is_checked_in_is_what_the_sources_make(tmp_path: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm is not here (Debian: apt-get install npm)")
    version = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout
    if tuple(int(part) for part in version.strip().lstrip("v").split(".")[:2]) < (20, 19):
        pytest.skip(f"Node 20.19 or newer builds the page, this is {version.strip()}")
    web = tmp_path / "web"
    shutil.copytree(SOURCES, web, ignore=shutil.ignore_patterns("node_modules"))
    for command in (["ci"], ["run", "build"]):
        subprocess.run([npm, *command], cwd=web, check=True, capture_output=True, timeout=300)
    made = tmp_path / "sigap" / "page"
    names = sorted(path.relative_to(made).as_posix() for path in made.rglob("*") if path.is_file())
    assert names == ["index.html", *parts()]
    different = [name for name in names if (made / name).read_bytes() != (BUILT / name).read_bytes()]
    assert different == [], "make page, and check in what it writes"
