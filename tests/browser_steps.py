"""A browser, and what a person does on the page and sees there."""

from __future__ import annotations

import base64
import io
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import nibabel
import numpy as np
from numpy.typing import NDArray
from PIL import Image

import toy

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

# WebGL 2 without a graphics card; and nothing of the browser's own goes to its maker.
FLAGS = (
    "--no-sandbox",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--ignore-gpu-blocklist",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
    "--no-first-run",
)


@contextmanager
def launched() -> Iterator[Browser]:
    """Debian's Chromium, without a window."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=list(FLAGS))
        yield browser
        browser.close()


@dataclass(frozen=True)
class Place:
    """What the page says of the crosshair."""

    slice: int
    row: int
    column: int
    label: int


SIDE, SLICES = 64, 20
# Column, row and slice of their middles, and their radius in columns: on the patient's right, and smaller on the left.
BLEEDS = ((18, 30, 6, 8), (46, 38, 14, 5))


def write_head(path: Path, *, bleeds: int = len(BLEEDS)) -> Path:
    """A toy's head as NIfTI: columns run to the patient's left, rows to the back."""
    i, j, k = np.ogrid[:SIDE, :SIDE, :SLICES]
    voxels = np.full((SIDE, SIDE, SLICES), toy.AIR_HU, np.int16)
    voxels[((i - 32) ** 2 + (j - 32) ** 2 < 28**2) & (k >= 0)] = toy.ORGAN_HU
    for column, row, slice_, radius in BLEEDS[:bleeds]:
        voxels[(i - column) ** 2 + (j - row) ** 2 + (2 * (k - slice_)) ** 2 < radius**2] = toy.LESION_HU
    affine = np.diag([-2.0, -2.0, 4.0, 1.0])
    affine[:3, 3] = [64, 64, -40]
    nibabel.save(nibabel.Nifti1Image(voxels, affine), path)
    return path


def drop(page: Page, *paths: Path) -> None:
    """Drop files on the page, as from a file manager."""
    contents = [(path.name, base64.b64encode(path.read_bytes()).decode()) for path in paths]
    page.evaluate(
        """async (contents) => {
            const transfer = new DataTransfer();
            for (const [name, encoded] of contents) {
                const bytes = Uint8Array.from(atob(encoded), (letter) => letter.charCodeAt(0));
                transfer.items.add(new File([bytes], name));
            }
            document.querySelector("#drop").dispatchEvent(
                new DragEvent("drop", { dataTransfer: transfer, bubbles: true, cancelable: true }));
        }""",
        contents,
    )
    page.wait_for_selector("#chosen")


def answered(page: Page) -> str:
    """Wait for the answer and its mask; returns the job's id."""
    page.wait_for_selector("#scan[data-shown=mask]")
    page.wait_for_selector("#finding")
    return str(page.evaluate("location.hash")).removeprefix("#job/")


def shown_place(page: Page) -> Place:
    said = page.evaluate("({...document.querySelector('#spot').dataset})")
    return Place(**{name: int(said[name]) for name in ("slice", "row", "column", "label")})


def scan_pixels(page: Page, plane: str = "axial") -> NDArray[np.uint8]:
    """(rows, columns, 3): a plane of the scan as it stands on the screen."""
    # What is drawn now is seen with the next frame.
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    return np.asarray(Image.open(io.BytesIO(page.locator(f".planes .{plane}").screenshot())).convert("RGB"))
