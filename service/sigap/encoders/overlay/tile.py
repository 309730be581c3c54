"""One slice of a result as a picture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from sigap.core.contract import Contract
from sigap.core.grid import Grid
from sigap.core.measurement import Lesion
from sigap.core.result import Result
from sigap.core.segmentation import mask_of
from sigap.encoders.overlay.contour import Place, draw_outline
from sigap.encoders.overlay.numbering import box_on_key_slice, draw_number
from sigap.encoders.overlay.text import draw_text, halo_of, text_width
from sigap.imaging.window import window

_BAND_ROWS = 256
# Thin around an organ, bold around a lesion.
_LINE_PX = {"organ": 1.5, "lesion": 2.0}


@dataclass(frozen=True)
class Tile:
    """A slice to be drawn.

    Attributes:
        index: canonical.
        size: width and height in pixels.
        unit: size of small text in pixels.
    """

    index: int
    size: Place
    unit: int


def draw_tile(canvas: Image.Image, result: Result, tile: Tile, at: Place) -> None:
    """Draw a slice in canonical orientation: windowed, outlined, numbered, its sides marked where they are known."""
    grid, contract = result.study.volume.grid, result.model.contract
    shades = grid.orientation.to_canonical(result.study.volume.voxels)[tile.index]
    labels = grid.orientation.to_canonical(result.segmentation.labelmap)[tile.index]
    if result.study.volume.is_hounsfield:
        shades = window(shades, level_hu=contract.level_hu, width_hu=contract.width_hu)
    _paste(canvas, shades, tile.size, at)
    _draw_outlines(canvas, labels, contract, tile, at)
    for lesion in result.measurements.lesions:
        if canonical_slice(grid, lesion.key_slice) == tile.index:
            _draw_number(canvas, result, lesion, tile, at)
    if grid.is_oriented:
        _draw_marks(canvas, tile, at)


def tile_size(grid: Grid, longest_px: int) -> Place:
    """Width and height of a tile on which millimetres are square, whatever the pixels are."""
    _, rows, columns = grid.shape
    extent = [rows * (grid.spacing_mm[1] or 1.0), columns * (grid.spacing_mm[2] or 1.0)]
    tall, wide = extent[::-1] if grid.orientation.transpose else extent
    scale = longest_px / max(tall, wide)
    return max(1, round(wide * scale)), max(1, round(tall * scale))


def canonical_slice(grid: Grid, stored: int) -> int:
    """A slice's index the other way between stored and canonical; it is its own inverse."""
    return grid.shape[0] - 1 - stored if grid.orientation.flip_slices else stored


def _paste(canvas: Image.Image, shades: NDArray[np.uint8], size: Place, at: Place) -> None:
    if size != shades.shape[::-1]:
        # Bicubic filters over the pixels that become one, so thin bone survives reduction.
        resized = Image.fromarray(np.ascontiguousarray(shades)).resize(size, Image.Resampling.BICUBIC)
        canvas.paste(resized, at)
        return
    # By bands: a picture of 50 million pixels is never held in RGB twice.
    for first in range(0, len(shades), _BAND_ROWS):
        band = np.ascontiguousarray(shades[first : first + _BAND_ROWS])
        canvas.paste(Image.fromarray(band), (at[0], at[1] + first))


def _draw_outlines(canvas: Image.Image, labels: NDArray[np.uint8], contract: Contract, tile: Tile, at: Place) -> None:
    for label in contract.labels:
        mask = mask_of(labels, contract.family(label.name))
        if mask.any():
            width_px = _LINE_PX[label.role] * max(1.0, tile.unit / 16)
            draw_outline(canvas, mask, at=at, size=tile.size, colour=label.colour, width_px=width_px)


def _draw_number(canvas: Image.Image, result: Result, lesion: Lesion, tile: Tile, at: Place) -> None:
    values = result.model.contract.family(lesion.label)
    box = box_on_key_slice(result.segmentation.labelmap, lesion, values)
    if box is not None:
        draw_number(canvas, lesion, box, grid=result.study.volume.grid, at=at, size=tile.size, unit=tile.unit)


def _draw_marks(canvas: Image.Image, tile: Tile, at: Place) -> None:
    draw, (width, height), size = ImageDraw.Draw(canvas), tile.size, tile.unit
    inset, middle = 5, (height - size) // 2
    for mark, x, y in (
        ("R", inset, middle),
        ("L", width - inset - text_width("L", size), middle),
        ("A", (width - text_width("A", size)) // 2, inset - 2),
        ("P", (width - text_width("P", size)) // 2, height - inset - size),
    ):
        draw_text(draw, (at[0] + x, at[1] + y), mark, size, halo=halo_of(size))
