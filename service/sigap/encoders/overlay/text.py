"""Words on a picture: one built-in font, lines that wrap."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from sigap.encoders.overlay.contour import Colour, Place

INK: Colour = (226, 230, 235)
DIM: Colour = (140, 148, 158)
AMBER: Colour = (255, 193, 84)

_SUPERSCRIPT_SIZE = 0.65


@dataclass(frozen=True)
class Item:
    """A piece of text that stays on one line, with a patch of colour before it where one is given."""

    text: str
    colour: Colour = INK
    patch: Colour | None = None


@dataclass(frozen=True)
class Row:
    """Items that follow one another and go on below where there is no more room."""

    items: Sequence[Item]
    size: int
    gap: int


def sentence(text: str, size: int, colour: Colour = INK) -> Row:
    """A row of words."""
    return Row([Item(word, colour) for word in text.split()], size, round(size * 0.28))


def text_width(text: str, size: int) -> int:
    """How wide `draw_text` will draw a text."""
    lengths: list[float] = [_font(part_size).getlength(part) for part, part_size in _parts(text, size)]
    return math.ceil(sum(lengths))


def draw_text(
    draw: ImageDraw.ImageDraw, at: Place, text: str, size: int, *, colour: Colour = INK, halo: int = 0
) -> None:
    """Draw one line with its top left corner at a place. Pillow's own font has no `²`: a small 2 stands for it."""
    x, y = float(at[0]), at[1]
    for part, part_size in _parts(text, size):
        draw.text((x, y), part, fill=colour, font=_font(part_size), stroke_width=halo, stroke_fill=(0, 0, 0))
        x += _font(part_size).getlength(part)


def halo_of(size: int) -> int:
    """How thick a dark halo text of a size needs to be read on bone."""
    return max(2, size // 8)


def shortened(text: str, size: int, width: int) -> str:
    """The text, its end cut off where it is too wide."""
    if text_width(text, size) <= width:
        return text
    while text and text_width(text + "…", size) > width:
        text = text[:-1]
    return text.rstrip() + "…"


def rows_height(rows: Iterable[Row], width: int) -> int:
    """How tall `draw_rows` will draw them."""
    return _flow(None, rows, (0, 0), width)


def draw_rows(canvas: Image.Image, rows: Iterable[Row], at: Place, width: int) -> None:
    """Draw rows below one another, wrapped to a width."""
    _flow(ImageDraw.Draw(canvas), rows, at, width)


def _flow(draw: ImageDraw.ImageDraw | None, rows: Iterable[Row], at: Place, width: int) -> int:
    left, y = at
    for row in rows:
        x, step = left, round(row.size * 1.5)
        for item in row.items:
            taken = text_width(item.text, row.size) + (round(row.size * 1.3) if item.patch else 0)
            if x > left and x + taken > left + width:
                x, y = left, y + step
            if draw is not None:
                _draw_item(draw, item, (x, y), row.size)
            x += taken + row.gap
        y += step
    return y - at[1]


def _draw_item(draw: ImageDraw.ImageDraw, item: Item, at: Place, size: int) -> None:
    x, y = at
    if item.patch:
        top, side = y + round(size * 0.28), round(size * 0.8)
        draw.rounded_rectangle((x, top, x + side, top + side), radius=max(2, size // 6), fill=item.patch)
        x += round(size * 1.3)
    draw_text(draw, (x, y), item.text, size, colour=item.colour)


def _parts(text: str, size: int) -> list[tuple[str, int]]:
    parts = []
    for position, part in enumerate(text.split("²")):
        if position:
            parts.append(("2", max(1, round(size * _SUPERSCRIPT_SIZE))))
        parts.append((part, size))
    return parts


@lru_cache(maxsize=64)
def _font(size: int) -> Any:
    return ImageFont.load_default(size)
