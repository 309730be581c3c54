"""Key images: a page of findings in words and numbers, then a page for each organ and lesion, all of one size."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image

from sigap.core.measurement import Hounsfield, Lesion
from sigap.core.result import Result
from sigap.core.segmentation import mask_of
from sigap.encoders.finding import amount, finding
from sigap.encoders.labels import labelmap_of
from sigap.encoders.overlay.contour import Colour
from sigap.encoders.overlay.header import RESEARCH, footer_rows, header_rows
from sigap.encoders.overlay.text import AMBER, DIM, Item, Row, draw_rows, rows_height, sentence
from sigap.encoders.overlay.tile import Tile, canonical_slice, draw_tile, tile_size

PAGE_PX = (800, 960)
"""Width and height: square pixels, as tall as a usual viewport."""
MOST_LESIONS = 24
"""That get a page of their own, the largest ones; the first page counts the others."""
_TILE_PX = 760
_MARGIN_PX = 20
_UNIT_PX = 16
_BACKGROUND: Colour = (14, 16, 19)


@dataclass(frozen=True)
class KeyImage:
    """What one page shows.

    Attributes:
        title: what it is about, e.g. `tumour 2`.
        numbers: about that, for reading.
        index: of the slice, as stored.
    """

    title: str
    numbers: str
    index: int


def key_images(result: Result) -> list[KeyImage]:
    """One for each organ that was found, on the slice with most of it, then one for each of the largest lesions."""
    return [*_of_organs(result), *map(_of_lesion, result.measurements.lesions[:MOST_LESIONS])]


def draw_summary(result: Result) -> Image.Image:
    """The first page: what was found and what was not, what to be careful about, and every lesion in a row."""
    canvas = Image.new("RGB", PAGE_PX, _BACKGROUND)
    width = PAGE_PX[0] - 2 * _MARGIN_PX
    below = footer_rows(result, _UNIT_PX)
    bottom = PAGE_PX[1] - _MARGIN_PX - rows_height(below, width)
    rows = [*header_rows(result, _UNIT_PX, has_cautions=False), *_findings(result), *_cautions(result)]
    lines = [*rows, *_lesion_rows(result)]
    shown = _fitting(lines, bottom - 2 * _MARGIN_PX, width)
    draw_rows(canvas, shown, (_MARGIN_PX, _MARGIN_PX), width)
    draw_rows(canvas, below, (_MARGIN_PX, bottom), width)
    return canvas


def draw_key_image(result: Result, key: KeyImage) -> Image.Image:
    """A page with one slice: contours, numbers of lesions and side marks burned in, the numbers above."""
    canvas = Image.new("RGB", PAGE_PX, _BACKGROUND)
    width, grid = PAGE_PX[0] - 2 * _MARGIN_PX, result.study.volume.grid
    above = [
        Row([Item(f"Sigap · {key.title}"), Item(RESEARCH, AMBER)], round(_UNIT_PX * 1.5), _UNIT_PX),
        sentence(f"{key.numbers} Slice {key.index} of {grid.shape[0]}.", _UNIT_PX),
    ]
    below = footer_rows(result, _UNIT_PX)
    draw_rows(canvas, above, (_MARGIN_PX, _MARGIN_PX), width)
    top = 2 * _MARGIN_PX + rows_height(above, width)
    bottom = PAGE_PX[1] - _MARGIN_PX - rows_height(below, width)
    size = tile_size(grid, min(_TILE_PX, bottom - top - _MARGIN_PX))
    tile = Tile(canonical_slice(grid, key.index), size, _UNIT_PX)
    draw_tile(canvas, result, tile, ((PAGE_PX[0] - size[0]) // 2, top))
    draw_rows(canvas, below, (_MARGIN_PX, bottom), width)
    return canvas


def _of_organs(result: Result) -> Iterator[KeyImage]:
    contract, labelmap = result.model.contract, labelmap_of(result)
    for label, measure in zip(contract.labels, result.measurements.labels, strict=True):
        if label.role == "organ" and measure.voxels:
            values = contract.family(label.name)
            areas = [np.count_nonzero(mask_of(plane, values)) for plane in labelmap]
            size = amount(measure.volume_ml, measure.area_mm2, measure.area_px, measure.voxels)
            yield KeyImage(label.name, f"{size}.{_hounsfield(measure.hu)}", int(np.argmax(areas)))


def _of_lesion(lesion: Lesion) -> KeyImage:
    return KeyImage(f"{lesion.label} {lesion.id}", _in_numbers(lesion), lesion.key_slice)


def _in_numbers(lesion: Lesion) -> str:
    size = amount(lesion.volume_ml, lesion.area_mm2, lesion.area_px, lesion.voxels)
    across = [lesion.longest_diameter_mm, lesion.perpendicular_diameter_mm]
    known = " x ".join(f"{length:.1f}" for length in across if length is not None)
    estimate = "" if lesion.abc2_ml is None else f" ABC/2 {lesion.abc2_ml:.1f} mL."
    return f"{size}{f', {known} mm' if known else ''}.{estimate}{_hounsfield(lesion.hu)}"


def _hounsfield(hu: Hounsfield | None) -> str:
    return "" if hu is None else f" Mean {hu.mean:.0f} HU, sd {hu.sd:.0f}."


def _findings(result: Result) -> Iterator[Row]:
    """The finding in words; where a label was not detected, the header has said it already."""
    if all(measure.voxels for measure in result.measurements.labels):
        yield sentence(finding(result)["statement"], round(_UNIT_PX * 1.2))
    for name, value in result.measurements.measures.items():
        if value is not None:
            words = name.removesuffix("_percent").replace("_", " ").capitalize()
            yield sentence(f"{words}: {value:.2f} %", _UNIT_PX)
    for measure in result.measurements.labels:
        if measure.interval_ml is not None and measure.voxels:
            low, high = measure.interval_ml
            yield sentence(
                f"{measure.name.capitalize()} over the thresholds: {low:.1f} to {high:.1f} mL (no confidence interval)",
                _UNIT_PX,
                DIM,
            )


def _cautions(result: Result) -> Iterator[Row]:
    for reason in result.study.geometry.reasons:
        yield sentence(f"Geometry: {reason.message}", _UNIT_PX, AMBER)
    for notice in result.warnings:
        yield sentence(f"Warning: {notice.message}", _UNIT_PX, AMBER)


def _lesion_rows(result: Result) -> Iterator[Row]:
    for lesion in result.measurements.lesions:
        yield sentence(f"{lesion.label} {lesion.id}: {_in_numbers(lesion)} Slice {lesion.key_slice}.", _UNIT_PX)


def _fitting(rows: list[Row], height: int, width: int) -> list[Row]:
    """As many rows as have room; what follows is counted."""
    if rows_height(rows, width) <= height:
        return rows
    count = len(rows)
    while count and rows_height([*rows[:count], _more(len(rows) - count)], width) > height:
        count -= 1
    return [*rows[:count], _more(len(rows) - count)]


def _more(count: int) -> Row:
    return sentence(f"… and {count} more lines: see the report.", _UNIT_PX, AMBER)
