"""The page for everybody: two languages, two themes, keyboards and screen readers, small screens, paper."""

from __future__ import annotations

from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from browser_steps import answered, drop, write_head

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from conftest import Served

RESEARCH = {"en": "RESEARCH USE ONLY", "id": "HANYA UNTUK PENELITIAN"}


def answer(page: Page, path: Path) -> None:
    drop(page, path)
    page.check("#task-hemorrhage")
    page.click("#start")
    answered(page)


def faults(page: Page) -> list[str]:
    """What axe-core finds of serious faults in a page's accessibility."""
    page.evaluate((files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8"))
    found: Any = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{entry['id']}: {[node['html'][:120] for node in entry['nodes']]}"
        for entry in found["violations"]
        if entry["impact"] in ("serious", "critical")
    ]


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_no_serious_fault_of_accessibility_in_any_state(page: Page, served: Served, work: Path, theme: str) -> None:
    if theme == "light":
        page.click("#theme")
    assert page.get_attribute("html", "data-theme") == theme
    assert faults(page) == []
    (work / "text.nii").write_text("no scan")
    drop(page, work / "text.nii")
    page.check("#task-hemorrhage")
    page.click("#start")
    page.wait_for_selector("#problem")
    assert faults(page) == []
    served.engine.go.clear()
    drop(page, write_head(work / "head.nii.gz"))
    page.click("#start")
    page.wait_for_selector("#scan[data-shown=scan]")
    assert faults(page) == []
    served.engine.go.set()
    answered(page)
    assert faults(page) == []


@pytest.mark.parametrize(("locale", "language"), [("id-ID", "id"), ("en-US", "en"), ("de-DE", "en")])
def test_the_page_speaks_the_browsers_language_where_it_can(
    open_page: Callable[..., Page], served: Served, locale: str, language: str
) -> None:
    page = open_page(served.url, locale=locale)
    assert page.get_attribute("html", "lang") == language
    assert RESEARCH[language] in page.inner_text("#research")


def test_an_answer_is_told_in_both_languages(page: Page, work: Path) -> None:
    answer(page, write_head(work / "head.nii.gz"))
    assert "blob detected" in page.inner_text("#finding").lower()
    figure = page.locator(".card .figure").first
    value = figure.get_attribute("data-value")
    page.focus("#language")
    page.select_option("#language", "id")
    assert page.get_attribute("html", "lang") == "id"
    assert "terdeteksi" in page.inner_text("#finding")
    assert "Unduhan" in page.inner_text(".downloads")
    assert figure.get_attribute("data-value") == value
    assert "," in figure.inner_text()
    assert page.evaluate("document.activeElement.id") == "language"
    assert "irisan" in page.inner_text("#spot")


def test_everything_is_reached_by_keyboard(page: Page, work: Path) -> None:
    drop(page, write_head(work / "head.nii.gz"))
    reached = []
    page.evaluate("document.activeElement.blur()")
    for _ in range(40):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.id"))
        if reached[-1] == "task-hemorrhage":
            page.keyboard.press("Space")
        if reached[-1] == "start":
            page.keyboard.press("Enter")
            break
    assert reached[0] == "skip"
    assert {"language", "theme", "choose-files", "choose-folder", "task-hemorrhage", "start"} <= set(reached)
    answered(page)
    assert page.evaluate("document.activeElement.id") == "answer"
    page.focus("#lesion-1")
    page.keyboard.press("Enter")
    assert "lesion 1" in page.inner_text("#live").lower()


@pytest.mark.parametrize(("width", "height"), [(1366, 768), (800, 1000)])
def test_it_fits_the_screen(page: Page, work: Path, width: int, height: int) -> None:
    page.set_viewport_size({"width": width, "height": height})
    answer(page, write_head(work / "head.nii.gz"))
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    box = page.locator("#research").bounding_box()
    assert box is not None
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= width
    if width == 1366:
        assert page.evaluate("document.documentElement.scrollHeight") <= height


def test_paper_has_the_answer_and_what_it_is_not(page: Page, work: Path) -> None:
    answer(page, write_head(work / "head.nii.gz"))
    page.emulate_media(media="print")
    assert page.is_visible("#research")
    assert page.is_visible("table")
    assert page.is_visible("#scan")
    assert not page.is_visible(".downloads")
    assert not page.is_visible("#theme")
