import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from phantoms.results import (
    dicom_grid,
    hemorrhage_model,
    liver_model,
    picture_grid,
    result_of,
    small_labelmap,
    stored_nifti,
)
from sigap.core.grid import Orientation
from sigap.core.measurement import Lesion
from sigap.core.result import Result
from sigap.core.segmentation import Notice
from sigap.core.verdict import GeometryVerdict, Reason, Severity
from sigap.encoders.overlay import choice, contour, sheet, write_overlay
from sigap.encoders.overlay.header import footer_rows, header_rows
from sigap.encoders.overlay.numbering import box_on_key_slice
from sigap.encoders.overlay.sheet import _lesions_caption, draw_overlay
from sigap.encoders.overlay.text import Row, draw_text, sentence, shortened, text_width
from sigap.encoders.overlay.tile import Tile, canonical_slice, draw_tile

FLIPS = list(itertools.product((1, -1), repeat=3))
SIGNED_PERMUTATIONS = [(order, signs) for order in itertools.permutations(range(3)) for signs in FLIPS]
SPACING_RAS = (0.8, 0.7, 3.0)
TILE = Tile(index=2, size=(384, 336), unit=16)
KEY_SLICE = 2


def one_sided(order: tuple[int, ...], signs: tuple[int, ...], *, lesion: int = 1) -> Result:
    """A head with one lesion in the left front, written as a NIfTI whose axes stand in any order and direction."""
    x, y, z = np.ogrid[:40, :40, :5]  # RAS: from right to left is against x
    inside = ((x - 20) / 15) ** 2 + ((y - 20) / 14) ** 2 <= 1
    voxels = np.where(inside, 40, -1000) + 0 * z
    labels = ((x - 12) ** 2 + (y - 28) ** 2 + 4 * (z - KEY_SLICE) ** 2 <= 16) * lesion
    voxels = voxels + 30 * (labels > 0)
    affine = np.diag([*SPACING_RAS, 1.0])
    affine[:3, 3] = (-15, -14, 0)
    stored, codes = [np.transpose(part, order) for part in (voxels, labels)], affine[:, [*order, 3]]
    for axis, sign in enumerate(signs):
        if sign < 0:
            stored = [np.flip(part, axis) for part in stored]
            codes[:3, 3] += codes[:3, axis] * (stored[0].shape[axis] - 1)
            codes[:3, axis] *= -1
    image = stored_nifti(stored[0].shape, codes)
    voxels, labels = (image.decoded(part) for part in stored)
    return result_of(
        labels.astype(np.uint8), nifti=image, kind="nifti", model=hemorrhage_model(), voxels=voxels.astype(np.int16)
    )


def drawn(result: Result, tile: Tile = TILE) -> NDArray[np.uint8]:
    canvas = Image.new("RGB", tile.size)
    draw_tile(canvas, result, tile, (0, 0))
    return np.asarray(canvas)


def without_sides(result: Result) -> Result:
    volume = result.study.volume
    grid = replace(volume.grid, is_oriented=False)
    return replace(result, study=replace(result.study, volume=replace(volume, grid=grid)))


def columns_of(changed: NDArray[np.bool_]) -> NDArray[np.intp]:
    return np.flatnonzero(changed.any(axis=0))


def cropped(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    ink = picture.any(axis=2)
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    return picture[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def letter(mark: str) -> NDArray[np.uint8]:
    canvas = Image.new("RGB", (60, 60))
    draw_text(ImageDraw.Draw(canvas), (20, 20), mark, TILE.unit, halo=2)
    return cropped(np.asarray(canvas))


@pytest.fixture(scope="module")
def reference() -> NDArray[np.uint8]:
    return drawn(one_sided((0, 1, 2), (1, 1, 1)))


@pytest.mark.parametrize(("order", "signs"), SIGNED_PERMUTATIONS)
def test_no_flip_or_permutation_changes_the_picture(
    order: tuple[int, ...], signs: tuple[int, ...], reference: NDArray[np.uint8]
) -> None:
    result = one_sided(order, signs)
    assert np.array_equal(drawn(result), reference)
    assert canonical_slice(result.study.volume.grid, result.measurements.lesions[0].key_slice) == KEY_SLICE


def test_the_left_lesion_stands_beside_the_mark_l_and_in_front(reference: NDArray[np.uint8]) -> None:
    lesion = columns_of((reference != drawn(one_sided((0, 1, 2), (1, 1, 1), lesion=0))).any(axis=2))
    assert lesion.min() > 384 / 2
    marks = (reference != drawn(without_sides(one_sided((0, 1, 2), (1, 1, 1))))).any(axis=2)
    assert np.array_equal(cropped(reference * marks[..., None] * (np.arange(384) > 340)[:, None]), letter("L"))
    assert np.array_equal(cropped(reference * marks[..., None] * (np.arange(384) < 44)[:, None]), letter("R"))
    top = (np.arange(336) < 40)[:, None, None]
    assert np.array_equal(cropped(reference * marks[..., None] * top), letter("A"))
    outline = (reference[..., 0].astype(int) - reference[..., 1] > 120).any(axis=1)
    assert np.flatnonzero(outline).max() < 336 / 2


def test_sheets_of_all_flips_are_equal_where_slices_keep_their_numbers() -> None:
    sheets = [
        np.asarray(draw_overlay(one_sided(order, signs)))
        for order, signs in SIGNED_PERMUTATIONS
        if signs[order.index(2)] > 0
    ]
    assert len(sheets) == 24
    assert all(np.array_equal(sheet, sheets[0]) for sheet in sheets)


def test_without_orientation_nothing_is_marked() -> None:
    result = without_sides(one_sided((0, 1, 2), (1, 1, 1)))
    assert not drawn(result)[:, :30].any()
    assert "sides are not marked" in words(footer_rows(result, 16))
    assert "Patient's right on the viewer's left" in words(footer_rows(one_sided((0, 1, 2), (1, 1, 1)), 16))


def test_millimetres_are_square() -> None:
    rows, columns = np.ogrid[:60, :30]
    labels = (((rows - 30) * 0.5) ** 2 + ((columns - 15) * 1.5) ** 2 <= 100)[None]
    grid = dicom_grid((1, 60, 30), spacing_mm=(3.0, 0.5, 1.5))
    result = result_of(labels.astype(np.uint8), grid=grid, model=hemorrhage_model())
    sheet = np.asarray(draw_overlay(result)).astype(int)
    # The header's patch is of the same colour: look below it.
    red = (sheet[..., 0] - sheet[..., 1] > 120) & (np.arange(len(sheet)) > 120)[:, None]
    height, width = np.ptp(np.flatnonzero(red.any(axis=1))), np.ptp(np.flatnonzero(red.any(axis=0)))
    # A circle of 20 mm, on a tile of 768 px for 45 mm: as wide as tall, to one pixel of each (25 and 9 px).
    assert height == pytest.approx(20 / 45 * 768, abs=9)
    assert width == pytest.approx(20 / 45 * 768, abs=26)


def outlined(mask: NDArray[np.bool_], size: tuple[int, int], width_px: float = 2.0) -> NDArray[np.uint8]:
    canvas = Image.new("RGB", size, (90, 90, 90))
    contour.draw_outline(canvas, mask, at=(0, 0), size=size, colour=(255, 0, 0), width_px=width_px)
    return np.asarray(canvas)


def test_an_outline_runs_around_the_mask_and_leaves_its_inside_alone() -> None:
    mask = np.zeros((40, 40), bool)
    mask[10:30, 5:25] = True
    picture = outlined(mask, (400, 400))
    assert (picture[120:280, 70:230] == 90).all()
    red = picture[..., 0].astype(int) - picture[..., 1] > 120
    rows, columns = np.flatnonzero(red.any(axis=1)), np.flatnonzero(red.any(axis=0))
    assert (rows[0], rows[-1]) == (pytest.approx(100, abs=2), pytest.approx(300, abs=2))
    assert (columns[0], columns[-1]) == (pytest.approx(50, abs=2), pytest.approx(250, abs=2))
    assert (picture[150, 40:50] < 90).any(), "no dark halo"


@pytest.mark.parametrize("place", [(0, 0), (7, 7), (3, 4)])
def test_a_lesion_of_one_pixel_is_seen(place: tuple[int, int]) -> None:
    mask = np.zeros((8, 8), bool)
    mask[place] = True
    picture = outlined(mask, (80, 80))
    assert np.count_nonzero(picture[..., 0].astype(int) - picture[..., 1] > 120) > 10


@pytest.mark.parametrize("size", [(300, 300), (77, 51)])
@pytest.mark.parametrize(("bound", "value"), [("_BAND_PIXELS", 1), ("_BAND_COLUMNS", 16)])
def test_bands_are_not_seen(monkeypatch: pytest.MonkeyPatch, size: tuple[int, int], bound: str, value: int) -> None:
    mask = np.kron(np.random.default_rng(5).random((12, 9)) < 0.5, np.ones((10, 10), bool))
    whole = outlined(mask, size)
    monkeypatch.setattr(contour, bound, value)
    difference = np.abs(outlined(mask, size).astype(int) - whole)
    # A coordinate between two sub-pixels may round the other way: a faint shade here and there, never a seam.
    assert difference.max() < 64
    assert np.count_nonzero(difference.any(axis=2)) < difference[..., 0].size / 100


def test_a_picture_is_drawn_as_given(tmp_path: Path) -> None:
    shades = np.random.default_rng(6).integers(0, 256, (1, 600, 700), np.uint8)
    labels = np.zeros((1, 600, 700), np.uint8)
    labels[0, 100:140, 500:560] = 1
    result = result_of(labels, grid=picture_grid(600, 700), kind="png", model=hemorrhage_model(), voxels=shades)
    write_overlay(result, tmp_path / "overlay.png")
    with Image.open(tmp_path / "overlay.png") as image:
        assert image.info == {}
        sheet = np.asarray(image)
    left = (sheet.shape[1] - 700) // 2
    top = next(row for row in range(200) if np.array_equal(sheet[row, left : left + 400, 0], shades[0, 0, :400]))
    shown = sheet[top : top + 600, left : left + 700]
    changed = (shown != shades[0][..., None]).any(axis=2)
    assert changed[95:145, 495:565].any()
    changed[75:145, 495:580] = False
    assert not changed.any()
    assert (shown[105:135, 505:555] == shades[0, 105:135, 505:555, None]).all()


def words(rows: list[Row]) -> str:
    return " ".join(item.text for row in rows for item in row.items)


def test_a_header_says_what_was_found_and_for_what_use() -> None:
    header = words(header_rows(result_of(small_labelmap()), 16))
    assert "RESEARCH USE ONLY" in header
    assert "liver 0.03 mL" in header
    assert "tumour under 0.01 mL in 1 lesion" in header
    assert "not detected" not in header


def test_a_negative_is_said_calmly_with_its_worth() -> None:
    header = words(header_rows(result_of(np.zeros((4, 5, 6), np.uint8), model=hemorrhage_model()), 16))
    assert "Hemorrhage not detected by the algorithm. On 75 held-out studies" in header
    assert "absent" not in header


def test_cautions_are_named() -> None:
    verdict = GeometryVerdict((Reason("gantry_tilt", Severity.WARNING, "Tilted."),))
    result = replace(result_of(small_labelmap(), geometry=verdict), warnings=(Notice("organ_cut", "Cut."),))
    header = words(header_rows(result, 16))
    assert "Geometry warning: gantry tilt" in header
    assert "1 warning: organ cut" in header


def test_a_number_stands_beside_its_own_lesion() -> None:
    # A ring that is open in front and, within its box, a larger square.
    labelmap = np.zeros((3, 30, 30), np.uint8)
    labelmap[1, 2:28, 2:28] = labelmap[1, 26:28, 2:28] = 1
    labelmap[1, :26, 4:26] = 0
    labelmap[1, 5:20, 8:22] = 1
    ring, square = labelmap.copy(), labelmap.copy()
    ring[1, 5:20, 8:22] = 0
    square[labelmap != 0] = 0
    square[1, 5:20, 8:22] = 1
    for mask, box in ((ring, ((2, 28), (2, 28))), (square, ((5, 20), (8, 22)))):
        lesion = result_of(mask, model=hemorrhage_model()).measurements.lesions[0]
        assert box_on_key_slice(labelmap, lesion, (1,)) == box
    assert box_on_key_slice(labelmap, replace(lesion, voxels=5), (1,)) is None


def test_of_a_lesion_in_parts_the_largest_is_numbered() -> None:
    labelmap = np.zeros((3, 30, 30), np.uint8)
    labelmap[0, 2:28, 2:28] = labelmap[1, 2:4, 2:4] = labelmap[1, 20:28, 20:28] = 1
    lesion = replace(result_of(labelmap, model=hemorrhage_model()).measurements.lesions[0], key_slice=1)
    assert box_on_key_slice(labelmap, lesion, (1,)) == ((20, 28), (20, 28))


def test_lesions_on_one_slice_are_named_once() -> None:
    lesions = [replace(lesion_at(0), id=number) for number in (2, 5)]
    other = replace(lesion_at(0), label="cyst", longest_diameter_mm=None)
    assert _lesions_caption([*lesions, other]) == "tumour 2: 36 mm, 5: 36 mm, cyst 1"


def lesion_at(key_slice: int) -> Lesion:
    return replace(result_of(small_labelmap()).measurements.lesions[0], key_slice=key_slice)


def test_key_slices_come_first_then_the_organ_then_the_rest() -> None:
    labelmap = np.zeros((100, 4, 4), np.uint8)
    labelmap[40:60] = 1
    lesions = [lesion_at(9), lesion_at(70), lesion_at(9), lesion_at(3)]
    assert choice.chosen_slices(labelmap, lesions, 2, flipped=False) == [9, 70]
    assert choice.chosen_slices(labelmap, lesions, 5, flipped=False) == [3, 9, 45, 55, 70]
    assert choice.chosen_slices(labelmap, lesions, 2, flipped=True) == [29, 90]


def test_without_a_lesion_the_largest_slice_is_shown() -> None:
    labelmap = np.zeros((100, 4, 4), np.uint8)
    labelmap[40:60, 0] = 1
    labelmap[43, 1] = 1
    assert choice.chosen_slices(labelmap, [], 3, flipped=False) == [43, 45, 55]


def test_a_negative_shows_slices_from_all_over() -> None:
    assert choice.chosen_slices(np.zeros((100, 4, 4), np.uint8), [], 4, flipped=False) == [12, 37, 62, 87]


def test_a_short_volume_is_shown_whole() -> None:
    assert choice.chosen_slices(np.zeros((3, 4, 4), np.uint8), [], 12, flipped=False) == [0, 1, 2]


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 1, 3000), (90, 2, 2), (3, 3000, 1)])
@pytest.mark.parametrize("model", [liver_model(), hemorrhage_model()])
def test_odd_shapes_are_drawn(shape: tuple[int, int, int], model: Any) -> None:
    labels = np.zeros(shape, np.uint8)
    labels[-1, -1, -1] = 1
    assert min(draw_overlay(result_of(labels, model=model)).size) > 100


def picture_of(rows: int, columns: int) -> Result:
    labels = np.zeros((1, rows, columns), np.uint8)
    labels[0, rows // 2, columns // 2] = 1
    shades = np.full((1, rows, columns), 90, np.uint8)
    return result_of(labels, grid=picture_grid(rows, columns), kind="png", voxels=shades)


@pytest.mark.parametrize(("rows", "columns"), [(20, 30_000), (3000, 20)])
def test_text_on_a_narrow_picture_stays_small(rows: int, columns: int) -> None:
    width, height = draw_overlay(picture_of(rows, columns)).size
    assert width <= max(columns, 560) + 40
    assert height <= rows + 400


def test_text_grows_with_a_picture() -> None:
    small, large = (sheet._picture_layout(picture_grid(side, side)).unit for side in (512, 4096))
    assert (small, large) == (16, 64)
    assert sheet._picture_layout(picture_grid(1000, 50_000)).unit == 31
    assert sheet._picture_layout(picture_grid(50_000, 50_000)).unit == 128


@pytest.mark.parametrize(("rows", "columns"), [(1, 600_000), (100_000, 1)])
def test_a_picture_that_text_would_multiply_is_drawn_alone(rows: int, columns: int) -> None:
    alone = np.asarray(draw_overlay(picture_of(rows, columns)))
    assert alone.shape == (rows, columns, 3)
    assert (alone[0, 0] == 90).all()
    assert not (alone[rows // 2, columns // 2] == 90).all()


def test_a_long_line_is_outlined_in_bands(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn_widths = []
    draw_lines = contour._draw_lines

    def noted(*arguments: Any, across: contour.Span, **options: Any) -> None:
        drawn_widths.append(across[1] - across[0])
        draw_lines(*arguments, across=across, **options)

    monkeypatch.setattr(contour, "_draw_lines", noted)
    mask = np.ones((1, 100_000), bool)
    line = Image.new("RGB", (100_000, 1))
    contour.draw_outline(line, mask, at=(0, 0), size=line.size, colour=(9, 9, 9), width_px=1.5)
    assert sum(drawn_widths) == 100_000
    assert max(drawn_widths) <= 1 << 14


def test_a_transposed_volume_is_drawn_transposed() -> None:
    grid = replace(dicom_grid((5, 40, 40)), orientation=Orientation(transpose=True, flip_rows=True))
    voxels = np.random.default_rng(7).integers(-50, 250, (5, 40, 40)).astype(np.int16)
    result = result_of(np.zeros((5, 40, 40), np.uint8), grid=grid, voxels=voxels)
    upright = replace(grid, orientation=Orientation())
    turned = np.ascontiguousarray(grid.orientation.to_canonical(voxels))
    assert np.array_equal(drawn(result), drawn(result_of(np.zeros((5, 40, 40), np.uint8), grid=upright, voxels=turned)))


def test_long_text_is_cut_and_wrapped() -> None:
    assert shortened("hemorrhage", 16, 1000) == "hemorrhage"
    short = shortened("hemorrhage 1: 36 mm", 16, 80)
    assert short.endswith("…")
    assert text_width(short, 16) <= 80
    assert len(sentence("one two three", 16).items) == 3
