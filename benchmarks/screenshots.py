"""`make screenshots`: the page's states as pictures for docs/images, with the shipped weights and phantoms alone."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import nibabel
import numpy as np
import studies
from numpy.typing import NDArray
from PIL import Image

from browser_steps import launched
from held_engine import HeldEngine
from phantoms.dicom import CORONAL, positions_at, write_series
from phantoms.heads import PIXEL_MM, head
from serving import serving, wait_until
from sigap.access.keys import KeyFile
from sigap.api.app import create_app
from sigap.engines.torchscript import TorchScriptEngine
from sigap.settings import Settings

if TYPE_CHECKING:
    from playwright.sync_api import Page

_IMAGES = studies.ROOT / "docs" / "images"
_MODELS = studies.ROOT / "model_repository"
_COLOURS = 256
Shot = Callable[["Page", Path], None]


def main() -> None:
    """Take every picture anew."""
    _IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="sigap-screens-") as name, launched() as browser:
        folder = Path(name)
        with served(folder / "open", with_key=False) as (url, engine):
            page = opened(browser, url)
            running(page, engine)
            save(page, "running")
            engine.go.set()
            for shot in (start, answer, lesions, volume, negative, uneven, refused, indonesian):
                page = opened(browser, url)
                shot(page, folder)
                save(page, shot.__name__)
        with served(folder / "guarded", with_key=True) as (url, _):
            page = opened(browser, url)
            page.wait_for_selector("dialog[open]")
            save(page, "key")


@contextmanager
def served(folder: Path, *, with_key: bool) -> Iterator[tuple[str, HeldEngine]]:
    """A gateway with the shipped weights: its address and its engine."""
    settings = Settings(models=_MODELS, data=folder)
    if with_key:
        KeyFile(folder).add("ward")
    engine = HeldEngine(TorchScriptEngine.load(_MODELS))
    with serving(create_app(settings, engine)) as client:
        yield str(client.base_url), engine
    engine.close()


def opened(browser: object, url: str) -> Page:
    """A new page on the smallest screen that it is made for."""
    page: Page = browser.new_context(viewport={"width": 1366, "height": 768}, locale="en-GB").new_page()  # type: ignore[attr-defined]  # Playwright's types come with it alone
    page.set_default_timeout(120_000)
    page.goto(url)
    return page


def save(page: Page, name: str) -> None:
    """A picture in few colours: they are kept in the repository."""
    page.wait_for_timeout(300)
    picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    path = _IMAGES / f"page-{name}.png"
    picture.quantize(_COLOURS, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(path, optimize=True)
    print(f"{path.relative_to(studies.ROOT)}: {path.stat().st_size // 1024} KiB", flush=True)
    page.context.close()


def start(page: Page, _: Path) -> None:
    """Before anything is chosen."""
    page.wait_for_selector("#task-liver")


def running(page: Page, engine: HeldEngine) -> None:
    """The model outlines, and is held in the middle of it; the scan is there already."""
    before = engine.batches
    page.click("#sample-liver")
    wait_until(lambda: engine.batches >= before + 3)
    engine.go.clear()
    page.wait_for_selector("#scan[data-shown=scan]")


def answer(page: Page, _: Path) -> None:
    """A bleed."""
    page.click("#sample-hemorrhage")
    page.wait_for_selector("#scan[data-shown=mask]")


def lesions(page: Page, _: Path) -> None:
    """Tumours, outlined."""
    page.click("#sample-liver")
    page.wait_for_selector("#scan[data-shown=mask]")
    page.check("#outline")
    page.locator("#lesion-1").scroll_into_view_if_needed()
    page.click("#lesion-1")


def volume(page: Page, _: Path) -> None:
    """In three dimensions."""
    page.click("#sample-liver")
    page.wait_for_selector("#scan[data-shown=mask]")
    page.click("#layout-volume")
    page.wait_for_selector(".planes .volume[data-shown=true]")


def negative(page: Page, folder: Path) -> None:
    """Nothing detected."""
    path = folder / "plain-head.nii.gz"
    affine = np.diag([-PIXEL_MM, -PIXEL_MM, 5.0, 1.0])
    nibabel.save(nibabel.Nifti1Image(heads(12).transpose(2, 1, 0), affine), path)
    send(page, path, "hemorrhage")


def uneven(page: Page, folder: Path) -> None:
    """DICOM slices that change their distance: warned of, shown one by one."""
    heights = [*range(0, 35, 5), *range(42, 84, 7)]
    spacing = (5.0, PIXEL_MM, PIXEL_MM)
    write_series(folder / "uneven", heads(len(heights)), spacing_mm=spacing, positions_lps_mm=positions_at(heights))
    send(page, folder / "uneven", "hemorrhage")


def refused(page: Page, folder: Path) -> None:
    """A coronal series."""
    write_series(folder / "coronal", heads(4), orientation=CORONAL, spacing_mm=(5.0, PIXEL_MM, PIXEL_MM))
    page.set_input_files("#pick-folder", folder / "coronal")
    page.check("#task-hemorrhage")
    page.click("#start")
    page.wait_for_selector("#problem")


def indonesian(page: Page, folder: Path) -> None:
    """The same answer in Bahasa Indonesia, in the light theme."""
    answer(page, folder)
    page.select_option("#language", "id")
    page.click("#theme")


def send(page: Page, path: Path, task: str) -> None:
    """Choose, send, wait for the answer."""
    page.set_input_files("#pick-folder" if path.is_dir() else "#pick-files", path)
    page.check(f"#task-{task}")
    page.click("#start")
    page.wait_for_selector("#scan[data-shown=mask]")


def heads(count: int) -> NDArray[np.int16]:
    """(slices, rows, columns): no two equal."""
    noise = np.random.default_rng(3).normal(0, 3, (count, *head().shape))
    return np.rint(head() + noise).astype(np.int16)


if __name__ == "__main__":
    main()
