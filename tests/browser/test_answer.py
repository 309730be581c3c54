"""A study is dropped, its scan and mask are seen, its numbers are those of the API."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

import toy
from browser_steps import answered, drop, scan_pixels, shown_place, write_head

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from conftest import Served


def test_a_dropped_study_is_answered_with_its_mask_and_the_numbers_of_the_api(
    page: Page, served: Served, work: Path
) -> None:
    drop(page, write_head(work / "head.nii.gz"))
    page.check("#task-hemorrhage")
    page.click("#start")
    job = answered(page)
    report = served.client.get(f"/jobs/{job}/result", params={"format": "json"}).json()
    for label in report["labels"]:
        card = page.locator(f'.card[data-label="{label["name"]}"] .figure')
        assert float(card.get_attribute("data-value") or "nan") == label["volume_ml"]
        assert card.inner_text() == f"{label['volume_ml']:,.{2 if label['volume_ml'] < 1 else 1}f} mL"
    rows = page.locator("tr[data-lesion]").all()
    assert [int(row.get_attribute("data-lesion") or 0) for row in rows] == [entry["id"] for entry in report["lesions"]]
    assert float(rows[0].locator("td").first.get_attribute("data-value") or "nan") == report["lesions"][0]["volume_ml"]
    assert page.locator("#geometry").get_attribute("data-verdict") == report["geometry"]["verdict"]


def test_the_mask_lies_where_the_lesion_is(page: Page, work: Path) -> None:
    drop(page, write_head(work / "head.nii.gz"))
    page.check("#task-hemorrhage")
    page.click("#start")
    answered(page)
    page.click("#layout-axial")
    page.click("#lesion-1")
    with_mask = scan_pixels(page)
    page.locator("#opacity").fill("0")
    without = scan_pixels(page)
    red = _coloured(with_mask, toy.CONTRACT["labels"][1]["colour"]) & ~_coloured(
        without, toy.CONTRACT["labels"][1]["colour"]
    )
    assert red.sum() > 1000
    rows, columns = np.nonzero(red)
    height, width = red.shape
    # On the patient's right, which is the viewer's left; the bleed's middle is 14 of 64 columns off the image's.
    assert columns.mean() < width / 2 - 0.15 * height
    assert abs(rows.mean() - height / 2) < 0.1 * height


def test_choosing_a_lesion_moves_the_crosshair_into_it(page: Page, served: Served, work: Path) -> None:
    drop(page, write_head(work / "head.nii.gz"))
    page.check("#task-hemorrhage")
    page.click("#start")
    report = served.client.get(f"/jobs/{answered(page)}/result").json()
    for lesion, column, row in ((2, 46, 38), (1, 18, 30)):
        page.click(f"#lesion-{lesion}")
        place = shown_place(page)
        assert place.label == 2
        assert abs(place.column - column) <= 1
        assert abs(place.row - row) <= 1
        assert place.slice == report["lesions"][lesion - 1]["key_slice"]
        assert page.locator(f"#lesion-{lesion}").get_attribute("aria-pressed") == "true"


def test_a_negative_is_a_calm_answer_with_its_limits(page: Page, work: Path) -> None:
    drop(page, write_head(work / "head.nii.gz", bleeds=0))
    page.check("#task-hemorrhage")
    page.click("#start")
    answered(page)
    words = page.inner_text("#finding")
    assert "No blob detected by the algorithm" in words
    assert "A toy misses whatever is dark." in words
    assert page.locator("table").count() == 0


def test_a_picture_shows_its_overlay(page: Page, work: Path) -> None:
    shades = np.full((48, 40), 30, np.uint8)
    shades[12:36, 10:30] = 150
    Image.fromarray(shades).save(work / "slice.png")
    drop(page, work / "slice.png")
    page.fill("#pixel_spacing_mm", "0.5")
    page.check("#task-hemorrhage")
    page.click("#start")
    page.wait_for_selector("#picture[data-shown=mask]")
    picture = Image.open(io.BytesIO(page.locator("#picture").screenshot()))
    assert len(picture.convert("RGB").getcolors(1 << 20) or []) > 3
    assert "mm²" in page.inner_text('.card[data-label="body"]')


def _coloured(pixels: NDArray[np.uint8], colour: list[int]) -> NDArray[np.bool_]:
    """Where red outweighs blue as in a label's colour laid over grey."""
    shift = pixels.astype(int)[..., 0] - pixels.astype(int)[..., 2]
    return np.asarray(shift > 0.3 * (colour[0] - colour[2]))
