"""A study's way: chosen, followed, cancelled, refused, found again, erased; and the key that a server asks for."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

import toy
from browser_steps import answered, drop, write_head
from held_engine import HeldEngine
from phantoms.dicom import Identity, body, write_series
from serving import serving, wait_until
from sigap.access.keys import KeyFile
from sigap.api.app import create_app
from sigap.engines.torchscript import TorchScriptEngine
from sigap.settings import Settings

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from conftest import Served


def send(page: Page, path: Path) -> None:
    drop(page, path)
    page.check("#task-hemorrhage")
    page.click("#start")


def test_the_stages_are_followed_and_cancelling_stops_the_work(page: Page, served: Served, work: Path) -> None:
    served.engine.go.clear()
    send(page, write_head(work / "head.nii.gz"))
    page.wait_for_selector("li.now:has-text('Outlining')")
    assert "0 of 20 slices" in page.inner_text("li.now")
    page.wait_for_selector("#scan[data-shown=scan]")
    job = page.evaluate("location.hash").removeprefix("#job/")
    page.click("#cancel")
    page.wait_for_selector("#word:has-text('Cancelled')")
    assert served.client.get(f"/jobs/{job}").json()["state"] == "cancelled"
    assert page.is_checked("#task-hemorrhage")
    assert "head.nii.gz" in page.inner_text("#chosen")
    served.engine.go.set()
    page.click("#start")
    assert answered(page) != job


def test_the_place_in_the_queue_is_told(page: Page, served: Served, work: Path) -> None:
    served.engine.go.clear()
    other = write_head(work / "other.nii.gz", bleeds=1)
    served.client.post("/segment/hemorrhage", files={"files": other.read_bytes()}, headers={"Prefer": "respond-async"})
    wait_until(lambda: served.engine.batches > 0)
    send(page, write_head(work / "head.nii.gz"))
    page.wait_for_selector("li.now:has-text('Waiting in the queue')")
    page.wait_for_selector("li.now:has-text('next')")
    served.engine.go.set()
    answered(page)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("report.pdf", b"%PDF-1.7 not a scan", "This is a PDF document"),
        ("head.nii.gz", b"", "empty"),
    ],
)
def test_a_refusal_says_what_to_do_and_keeps_the_form(
    page: Page, work: Path, name: str, content: bytes, words: str
) -> None:
    (work / name).write_bytes(content)
    send(page, work / name)
    page.wait_for_selector("#problem")
    assert words in page.inner_text("#problem")
    assert page.evaluate("document.activeElement.id") == "problem"
    assert name in page.inner_text("#chosen")
    assert page.is_checked("#task-hemorrhage")
    assert page.is_enabled("#start")


def test_of_several_series_one_is_chosen_from_the_refusal(page: Page, work: Path) -> None:
    first = Identity()
    voxels = np.where(body((6, 32, 40)) > -500, toy.ORGAN_HU, toy.AIR_HU).astype(np.int16)
    write_series(work / "study" / "a", voxels, identity=first)
    write_series(work / "study" / "b", voxels[:4], identity=first.another_series(), tags={"SeriesDescription": "THIN"})
    page.set_input_files("#pick-folder", work / "study")
    page.check("#task-hemorrhage")
    page.click("#start")
    page.wait_for_selector("#problem .choice")
    assert page.locator("#problem .choice").count() == 2
    assert page.locator("#geometry, #problem h2").first.inner_text().startswith("Geometry")
    page.click("#problem .choice:has-text('THIN') button")
    answered(page)
    assert "4 slices of 32 × 40" in page.inner_text(".details")


def test_a_study_suggests_its_task(page: Page, work: Path) -> None:
    files = write_series(work / "a", body((3, 32, 40)), tags={"BodyPartExamined": "HEAD"})
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in files:
            archive.write(path, f"series/{path.name}")
    (work / "study.zip").write_bytes(buffer.getvalue())
    drop(page, work / "study.zip")
    # The toy was made for no part of the body in particular, and says so.
    page.wait_for_selector(".note:has-text('HEAD')")


def test_the_address_finds_the_answer_again_until_it_is_erased(page: Page, served: Served, work: Path) -> None:
    send(page, write_head(work / "head.nii.gz"))
    job = answered(page)
    page.reload()
    assert answered(page) == job
    page.on("dialog", lambda dialog: dialog.accept())
    page.click("#erase")
    page.wait_for_selector("#word:has-text('erased')")
    assert served.client.get(f"/jobs/{job}").status_code == 404
    assert page.evaluate("location.hash") == ""


def test_an_answer_is_never_shown_under_another_job_s_address(page: Page, served: Served, work: Path) -> None:
    other = write_head(work / "other.nii.gz", bleeds=1).read_bytes()
    second = served.client.post("/segment/hemorrhage", files={"files": other}, headers={"Prefer": "respond-async"})
    send(page, write_head(work / "head.nii.gz"))
    first = answered(page)
    assert page.locator("tr[data-lesion]").count() == 2
    page.evaluate("(id) => { location.hash = `#job/${id}` }", second.json()["id"])
    page.wait_for_function("() => document.querySelectorAll('tr[data-lesion]').length === 1")
    assert answered(page) == second.json()["id"]
    page.go_back()
    page.wait_for_function("() => document.querySelectorAll('tr[data-lesion]').length === 2")
    assert answered(page) == first


def test_skipping_to_the_answer_keeps_its_address(page: Page, work: Path) -> None:
    send(page, write_head(work / "head.nii.gz"))
    job = answered(page)
    page.focus("#skip")
    page.keyboard.press("Enter")
    assert page.evaluate("[document.activeElement.id, location.hash]") == ["side", f"#job/{job}"]


def test_a_study_dropped_on_an_answer_begins_anew(page: Page, work: Path) -> None:
    send(page, write_head(work / "head.nii.gz"))
    first = answered(page)
    send(page, write_head(work / "other.nii.gz", bleeds=1))
    page.wait_for_function(f"() => location.hash && location.hash !== '#job/{first}'")
    answered(page)
    assert page.locator("tr[data-lesion]").count() == 1


def test_an_upload_that_is_cancelled_while_it_is_sent_leaves_no_job(page: Page, served: Served, work: Path) -> None:
    # A connection so slow that somebody can change their mind.
    network = page.context.new_cdp_session(page)
    network.send("Network.enable")
    speed = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": 200_000}
    network.send("Network.emulateNetworkConditions", speed)
    (work / "large.nii").write_bytes(bytes(4_000_000))
    send(page, work / "large.nii")
    page.wait_for_function("() => document.querySelector('progress')?.value > 0")
    page.click("#cancel")
    page.wait_for_selector("#word:has-text('before the study had arrived')")
    assert served.client.get("/jobs").json()["jobs"] == []
    assert page.is_enabled("#start")


def test_downloads_are_what_the_server_writes_for_this_input(page: Page, served: Served, work: Path) -> None:
    send(page, write_head(work / "head.nii.gz"))
    job = answered(page)
    offered = {link.get_attribute("data-format") for link in page.locator("a[data-format]").all()}
    formats = served.client.get("/models").json()["formats"]
    assert offered == {entry["name"] for entry in formats if "nifti" in entry["inputs"]}
    assert "seg" not in offered
    with page.expect_download() as download:
        page.click("a[data-format=json]")
    saved = json.loads(Path(download.value.path()).read_text())
    assert download.value.suggested_filename == "report.json"
    assert saved == served.client.get(f"/jobs/{job}/result").json()


def test_the_report_is_copied_as_text(page: Page, served: Served, work: Path) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    send(page, write_head(work / "head.nii.gz"))
    report = served.client.get(f"/jobs/{answered(page)}/result").json()
    page.click("#copy")
    page.wait_for_selector("#word:has-text('Copied')")
    text = page.evaluate("navigator.clipboard.readText()")
    assert "research use only" in text.lower()
    for lesion in report["lesions"]:
        assert f"{lesion['volume_ml']:.{1 if lesion['volume_ml'] >= 1 else 2}f} mL" in text


def test_a_phantom_is_answered_without_any_file(page: Page) -> None:
    page.click("#sample-hemorrhage")
    answered(page)
    assert "32 slices of 256 × 256" in page.inner_text(".details")


@pytest.fixture
def guarded(toy_repository: Path, tmp_path: Path) -> Iterator[tuple[str, str]]:
    """A server that asks for a key: its address and the key."""
    settings = Settings(models=toy_repository, data=tmp_path / "data")
    secret = KeyFile(settings.data).add("ward")
    engine = HeldEngine(TorchScriptEngine.load(toy_repository))
    with serving(create_app(settings, engine)) as client:
        yield str(client.base_url), secret
    engine.close()


def test_a_key_is_asked_for_once(open_page: Callable[..., Page], guarded: tuple[str, str], work: Path) -> None:
    url, secret = guarded
    page = open_page(url, waits_for="dialog[open]")
    page.fill("#key", "no key of this server")
    page.click("#key-enter")
    page.wait_for_selector("#key-fault:has-text('does not know')")
    page.fill("#key", secret)
    page.press("#key", "Enter")
    page.wait_for_selector("#task-toy")
    cookies = page.context.cookies()
    assert [(cookie["httpOnly"], cookie["sameSite"]) for cookie in cookies] == [(True, "Strict")]
    drop(page, write_head(work / "head.nii.gz"))
    page.check("#task-toy")
    page.click("#start")
    answered(page)
    page.reload()
    answered(page)
    assert page.locator("dialog").count() == 0
