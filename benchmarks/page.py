"""The page in Chromium, without a graphics card: how soon it can be used, and how soon an answer's mask is seen."""

from __future__ import annotations

import shutil
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from server import serving

from browser_steps import launched

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

_LOADS = 5
_PATIENCE_MS = 300_000


@dataclass(frozen=True)
class Met:
    """Seconds.

    Attributes:
        interactive_s: from the request for the page until its tasks can be chosen, with nothing of it in a cache.
        mask_s: from the event that tells the answer until the mask is drawn.
        mask_here_s: the part of it until the mask has been fetched and unpacked.
    """

    interactive_s: float
    mask_s: float
    mask_here_s: float


def is_possible() -> bool:
    """Whether there is a browser."""
    return shutil.which("chromium") is not None


def watched(task: str, study: Path) -> Met:
    """Load the page a few times, then send a study and wait for its mask."""
    with serving() as server, launched() as browser:
        loads = [_ready_s(browser, server.address) for _ in range(_LOADS)]
        page = _opened(browser, server.address)
        page.set_input_files("#pick-files", study)
        page.check(f"#task-{task}")
        page.click("#start")
        page.wait_for_selector("#scan[data-shown=mask]")
        ended, here, shown = (_mark_s(page, name) for name in ("ended", "mask-here", "mask-shown"))
        return Met(statistics.median(loads), shown - ended, here - ended)


def _ready_s(browser: Browser, address: str) -> float:
    page = _opened(browser, address)
    ready_s = _mark_s(page, "ready")
    page.context.close()
    return ready_s


def _opened(browser: Browser, address: str) -> Page:
    page = browser.new_context(viewport={"width": 1366, "height": 768}).new_page()
    page.set_default_timeout(_PATIENCE_MS)
    page.goto(address)
    page.wait_for_selector("#form .task")
    return page


def _mark_s(page: Page, name: str) -> float:
    """When the page has marked something, since it was asked for."""
    entry = page.wait_for_function("name => performance.getEntriesByName(name)[0]", arg=f"sigap:{name}")
    return float(entry.evaluate("mark => mark.startTime")) / 1000
