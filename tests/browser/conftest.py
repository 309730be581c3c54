"""The page in a real browser: Debian's Chromium, driven by Playwright, against a gateway on this machine."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest
from fastapi import FastAPI

import toy
from browser_steps import launched
from held_engine import HeldEngine
from serving import forget_all, serving
from sigap.api.app import create_app
from sigap.engines.torchscript import TorchScriptEngine
from sigap.settings import Settings

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

PATIENCE_MS = 20_000


@dataclass
class Served:
    """A gateway whose one task is a toy under the name of a real one, so that the page knows its phantom."""

    client: httpx.Client
    engine: HeldEngine
    app: FastAPI

    @property
    def url(self) -> str:
        return str(self.client.base_url)


# Of a module: Playwright's event loop runs in this thread for as long as it lives, and other tests start their own.
@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """One browser for many tests; each gets a profile of its own."""
    if shutil.which("chromium") is None:
        pytest.skip("Chromium is not here (Debian: apt-get install chromium)")
    with launched() as browser:
        yield browser


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("page")
    repository = toy.write_repository(folder / "models", task="hemorrhage")
    engine = HeldEngine(TorchScriptEngine.load(repository))
    app = create_app(Settings(models=repository, data=folder / "data", queue_length=2, max_upload_mb=64), engine)
    with serving(app) as client:
        yield Served(client, engine, app)
    engine.close()


@pytest.fixture
def served(gateway: Served) -> Iterator[Served]:
    """The gateway without a job of the test before."""
    yield gateway
    gateway.engine.go.set()
    forget_all(gateway.app)


@pytest.fixture
def open_page(chromium: Browser) -> Iterator[Callable[..., Page]]:
    """Opens the page; at the end nothing may have been asked of another machine, broken or been kept."""
    opened: list[tuple[Page, list[str]]] = []

    def open_at(url: str, locale: str = "en-GB", waits_for: str = "#form .task") -> Page:
        context = chromium.new_context(
            viewport={"width": 1366, "height": 768}, locale=locale, accept_downloads=True, reduced_motion="reduce"
        )
        page, faults = context.new_page(), list[str]()
        page.set_default_timeout(PATIENCE_MS)
        own = (url, "data:", f"blob:{url}")
        page.on("request", lambda request: request.url.startswith(own) or faults.append(f"asked {request.url}"))
        page.on("pageerror", lambda error: faults.append(f"broke: {error}"))
        page.on("console", lambda said: _is_policy(said.text) and faults.append(said.text))
        page.goto(url)
        page.wait_for_selector(waits_for)
        opened.append((page, faults))
        return page

    yield open_at
    for page, faults in opened:
        kept = page.evaluate("({...localStorage, ...sessionStorage, cookie: document.cookie})")
        page.context.close()
        assert faults == []
        assert kept == {"cookie": ""}


def _is_policy(text: str) -> bool:
    return "Content Security Policy" in text or "Trusted" in text


@pytest.fixture
def page(open_page: Callable[..., Page], served: Served) -> Page:
    """The page of the toy's gateway, in English."""
    return open_page(served.url)


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """Where a test writes its studies."""
    return tmp_path
