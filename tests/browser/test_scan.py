"""The scan on the screen: the same picture however a file stores it, marks where sides are known, and its controls."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import nibabel
import numpy as np
import pytest
from nibabel.orientations import axcodes2ornt, io_orientation, ornt_transform

import toy
from browser_steps import answered, drop, scan_pixels, shown_place, write_head
from phantoms.dicom import positions_at, write_series

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from conftest import Served

PLANES = ("axial", "coronal", "sagittal")


def answer(page: Page, path: Path) -> str:
    drop(page, path)
    page.check("#task-hemorrhage")
    page.click("#start")
    return answered(page)


def turned(image: nibabel.Nifti1Image, path: Path) -> None:
    """Its axes in another order and direction."""
    turn = ornt_transform(io_orientation(image.affine), axcodes2ornt(("A", "I", "R")))
    nibabel.save(image.as_reoriented(turn), path)


def swapped(image: nibabel.Nifti1Image, path: Path) -> None:
    """The other byte order."""
    header = nibabel.Nifti1Header(endianness=">")
    nibabel.save(nibabel.Nifti1Image(np.asanyarray(image.dataobj), image.affine, header), path)


def second(image: nibabel.Nifti1Image, path: Path) -> None:
    """NIfTI-2, as floats."""
    nibabel.save(nibabel.Nifti2Image(np.asanyarray(image.dataobj).astype(np.float32) + 0.25, image.affine), path)


def by_qform(image: nibabel.Nifti1Image, path: Path) -> None:
    """Placed by the quaternion alone."""
    image.set_qform(image.affine, 1)
    image.set_sform(None, 0)
    nibabel.save(image, path)


def test_a_file_stored_another_way_shows_the_same_pictures(page: Page, work: Path) -> None:
    answer(page, write_head(work / "head.nii"))
    straight = {plane: scan_pixels(page, plane) for plane in PLANES}
    for store in (turned, swapped, second, by_qform):
        store(nibabel.load(work / "head.nii"), work / "stored.nii")
        page.click("#new")
        answer(page, work / "stored.nii")
        for plane in PLANES:
            difference = scan_pixels(page, plane).astype(int) - straight[plane]
            # A quarter of a unit may be a shade.
            assert np.abs(difference).max() <= (store is second), (store.__name__, plane)


def test_the_picture_is_the_window_over_the_voxels_that_were_sent(page: Page, work: Path) -> None:
    answer(page, write_head(work / "head.nii.gz"))
    page.click("#layout-axial")
    page.locator("#opacity").fill("0")
    body = scan_pixels(page)[200, 300]
    # The toy's window is 0 over 400 HU.
    assert abs(int(body[0]) - 255 * (toy.ORGAN_HU + 200) / 400) <= 1
    page.select_option("#window", "soft")
    assert abs(int(scan_pixels(page)[200, 300][0]) - 255 * (toy.ORGAN_HU + 150) / 400) <= 1


def test_wheel_keys_and_slider_go_through_the_slices(page: Page, work: Path) -> None:
    answer(page, write_head(work / "head.nii.gz"))
    page.click("#layout-axial")
    start = shown_place(page).slice
    page.locator(".plane.axial").press("ArrowUp")
    assert shown_place(page).slice == start + 1
    page.locator(".plane.axial").hover()
    page.mouse.wheel(0, 120)
    page.wait_for_function(f"() => document.querySelector('#spot').dataset.slice === '{start}'")
    page.locator("#slice").fill("3")
    assert shown_place(page).slice == 3


def test_a_click_moves_the_crosshair_in_all_planes(page: Page, work: Path) -> None:
    answer(page, write_head(work / "head.nii.gz"))
    page.click("#layout-coronal")
    box = page.locator(".plane.coronal").bounding_box()
    assert box is not None
    before = shown_place(page)
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    place = shown_place(page)
    assert (place.column, place.row) == (32, before.row)
    assert place.slice in (9, 10)


def test_an_outline_leaves_the_inside_free(page: Page, work: Path) -> None:
    answer(page, write_head(work / "head.nii.gz"))
    page.click("#layout-axial")
    filled = scan_pixels(page)
    page.locator("#opacity").fill("0")
    bare = scan_pixels(page)
    page.locator("#opacity").fill("1")
    page.check("#outline")
    outlined = scan_pixels(page)
    assert 0 < (outlined != bare).any(-1).sum() < 0.5 * (filled != bare).any(-1).sum()


def test_unevenly_spaced_slices_are_shown_one_by_one_the_right_way_round(
    page: Page, served: Served, work: Path
) -> None:
    voxels = np.full((6, 40, 40), toy.AIR_HU, np.int16)
    voxels[:, 4:36, 4:36] = toy.ORGAN_HU
    voxels[2:4, 8:14, 24:32] = toy.LESION_HU
    write_series(work / "study", voxels, positions_lps_mm=positions_at([0, 5, 10, 15, 25, 35]))
    page.set_input_files("#pick-folder", work / "study")
    page.check("#task-hemorrhage")
    page.click("#start")
    report = served.client.get(f"/jobs/{answered(page)}/result").json()
    assert report["input"]["axes"] == ["S", "P", "L"]
    assert "no_single_affine" in page.locator("#warnings .notice").evaluate_all("all => all.map(n => n.dataset.code)")
    for layout in ("all", "coronal", "sagittal", "volume"):
        assert page.is_disabled(f"#layout-{layout}")
    place = shown_place(page)
    assert (place.slice, place.label) == (report["lesions"][0]["key_slice"], 2)
    with_mask = scan_pixels(page).astype(int)
    page.locator("#opacity").fill("0")
    rows, columns = np.nonzero((with_mask != scan_pixels(page)).any(-1) & (with_mask[..., 0] > with_mask[..., 2] + 60))
    height, width = with_mask.shape[:2]
    # In front and on the patient's left: above the middle, on the viewer's right.
    assert rows.mean() < height / 2
    assert columns.mean() > width / 2


@pytest.mark.parametrize(("codes", "is_marked"), [(1, True), (0, False)])
def test_sides_are_marked_where_they_are_known(page: Page, work: Path, codes: int, is_marked: bool) -> None:
    image = nibabel.load(write_head(work / "head.nii"))
    image.set_sform(image.affine, codes)
    image.set_qform(image.affine, codes)
    nibabel.save(image, work / "coded.nii")
    answer(page, work / "coded.nii")
    page.click("#layout-axial")
    pixels = scan_pixels(page).astype(int)
    # The marks are yellow.
    marks = (pixels[..., 0] > 200) & (pixels[..., 1] > 180) & (pixels[..., 2] < 160)
    assert marks[:, :40].any() == marks[:, -40:].any() == marks[:40].any() == marks[-40:].any() == is_marked
    assert ("mm" in page.inner_text("#spot")) == is_marked


def test_the_volume_is_shown(page: Page, work: Path) -> None:
    # Without a graphics card every pixel takes its time.
    page.set_viewport_size({"width": 960, "height": 480})
    answer(page, write_head(work / "head.nii.gz"))
    page.click("#layout-volume")
    page.wait_for_selector(".planes .volume[data-shown=true]")
    pixels = scan_pixels(page, "volume")
    assert (pixels.max(-1) > 60).mean() > 0.03
