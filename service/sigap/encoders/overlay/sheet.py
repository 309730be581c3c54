"""The whole picture: header, slices, footer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from sigap.core.grid import Grid
from sigap.core.measurement import Lesion
from sigap.core.result import Result
from sigap.encoders.labels import labelmap_of
from sigap.encoders.overlay.choice import chosen_slices
from sigap.encoders.overlay.contour import Colour, Place
from sigap.encoders.overlay.header import footer_rows, header_rows, is_picture
from sigap.encoders.overlay.text import DIM, draw_rows, draw_text, rows_height, shortened, text_width
from sigap.encoders.overlay.tile import Tile, canonical_slice, draw_tile, tile_size

_BACKGROUND: Colour = (14, 16, 19)
_MOST_TILES = 12
_MOST_COLUMNS = 4
_TILE_PX = 384
_SINGLE_TILE_PX = 768
_UNIT_PX = 16
_LEAST_WIDTH_PX = 560
_MARGIN_PX = 20
_GAP_PX = 10
# A picture's text grows with its longest side, as far as its shortest one and this bound let it.
_LONGEST_PX_A_UNIT, _SHORTEST_PX_A_UNIT, _LARGEST_UNIT_PX = 64, 32, 128
# The text may double a sheet beyond this. A line of a million pixels has no room for it: it is drawn without.
_ROOM_PX = 32 << 20


@dataclass(frozen=True)
class _Layout:
    """Where everything goes, in pixels."""

    tiles: tuple[Tile, ...]
    columns: int
    unit: int
    has_captions: bool

    @property
    def caption_px(self) -> int:
        return round(self.unit * 1.6) if self.has_captions else 0

    @property
    def tiles_px(self) -> int:
        return sum(width * height for width, height in (tile.size for tile in self.tiles))

    @property
    def width_px(self) -> int:
        across = self.columns * self.tiles[0].size[0] + (self.columns - 1) * _GAP_PX
        return max(across, _LEAST_WIDTH_PX)

    @property
    def height_px(self) -> int:
        lines = -(-len(self.tiles) // self.columns)
        return lines * (self.tiles[0].size[1] + self.caption_px) + (lines - 1) * _GAP_PX

    def place(self, position: int) -> Place:
        """Top left corner of a tile's picture, from that of the whole block."""
        line, column = divmod(position, self.columns)
        width, height = self.tiles[position].size
        indent = (self.width_px - self.columns * width - (self.columns - 1) * _GAP_PX) // 2
        return indent + column * (width + _GAP_PX), self.caption_px + line * (height + self.caption_px + _GAP_PX)


def write_overlay(result: Result, path: Path) -> None:
    """Write the overlay as PNG: a PNG or JPEG as it was given, a volume as a contact sheet of its key slices."""
    draw_overlay(result).save(path, "PNG", compress_level=3)


def draw_overlay(result: Result) -> Image.Image:
    """The overlay in RGB; a picture that text above and below would multiply is drawn alone.

    Raises:
        ValueError: the labelmap does not fit the volume.
    """
    layout = _layout(result, labelmap_of(result))
    above, below = header_rows(result, layout.unit), footer_rows(result, layout.unit)
    top = _MARGIN_PX + rows_height(above, layout.width_px) + _GAP_PX
    bottom = top + layout.height_px + _GAP_PX
    height = bottom + rows_height(below, layout.width_px) + _MARGIN_PX
    width = layout.width_px + 2 * _MARGIN_PX
    if is_picture(result) and width * height > 2 * layout.tiles_px + _ROOM_PX:
        return _without_text(result, layout.tiles[0])
    canvas = Image.new("RGB", (width, height), _BACKGROUND)
    draw_rows(canvas, above, (_MARGIN_PX, _MARGIN_PX), layout.width_px)
    for position, tile in enumerate(layout.tiles):
        x, y = layout.place(position)
        at = (_MARGIN_PX + x, top + y)
        draw_tile(canvas, result, tile, at)
        if layout.has_captions:
            _draw_caption(canvas, result, tile, (at[0], at[1] - layout.caption_px))
    draw_rows(canvas, below, (_MARGIN_PX, bottom), layout.width_px)
    return canvas


def _without_text(result: Result, tile: Tile) -> Image.Image:
    canvas = Image.new("RGB", tile.size, _BACKGROUND)
    draw_tile(canvas, result, tile, (0, 0))
    return canvas


def _layout(result: Result, labelmap: NDArray[np.uint8]) -> _Layout:
    grid = result.study.volume.grid
    if is_picture(result):
        return _picture_layout(grid)
    indices = chosen_slices(
        grid.orientation.to_canonical(labelmap),
        result.measurements.lesions,
        _MOST_TILES,
        flipped=grid.orientation.flip_slices,
    )
    size = tile_size(grid, _SINGLE_TILE_PX if len(indices) == 1 else _TILE_PX)
    tiles = tuple(Tile(index, size, _UNIT_PX) for index in indices)
    return _Layout(tiles, min(_MOST_COLUMNS, len(tiles)), _UNIT_PX, has_captions=True)


def _picture_layout(grid: Grid) -> _Layout:
    _, rows, columns = grid.shape
    fitting = min(max(rows, columns) // _LONGEST_PX_A_UNIT, min(rows, columns) // _SHORTEST_PX_A_UNIT)
    unit = max(_UNIT_PX, min(fitting, _LARGEST_UNIT_PX))
    return _Layout((Tile(0, (columns, rows), unit),), 1, unit, has_captions=False)


def _draw_caption(canvas: Image.Image, result: Result, tile: Tile, at: Place) -> None:
    """The slice's number as stored; on a key slice its lesions and their longest diameter."""
    grid, draw = result.study.volume.grid, ImageDraw.Draw(canvas)
    number = f"slice {canonical_slice(grid, tile.index)}"
    draw_text(draw, at, number, tile.unit, colour=DIM)
    indent = text_width(number, tile.unit) + tile.unit
    keyed = [lesion for lesion in result.measurements.lesions if canonical_slice(grid, lesion.key_slice) == tile.index]
    text = _lesions_caption(keyed)
    if text:
        draw_text(draw, (at[0] + indent, at[1]), shortened(text, tile.unit, tile.size[0] - indent), tile.unit)


def _lesions_caption(lesions: Sequence[Lesion]) -> str:
    """E.g. `tumour 2: 36 mm, 5: 9 mm`."""
    parts = []
    for before, lesion in zip((None, *lesions), lesions, strict=False):
        name = "" if before is not None and before.label == lesion.label else f"{lesion.label} "
        length = "" if lesion.longest_diameter_mm is None else f": {lesion.longest_diameter_mm:.0f} mm"
        parts.append(f"{name}{lesion.id}{length}")
    return ", ".join(parts)
