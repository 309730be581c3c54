"""Outlines of masks, drawn at the picture's resolution."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from skimage.measure import find_contours

Colour = tuple[int, int, int]
Place = tuple[int, int]
Span = tuple[int, int]

_SUPERSAMPLE = 4
_BAND_PIXELS = 1 << 20
# More than a usual picture has, so that only a line-shaped one is cut across.
_BAND_COLUMNS = 1 << 14
_HALO_OPACITY = 0.65
_HALO: Colour = (0, 0, 0)


def draw_outline(
    canvas: Image.Image, mask: NDArray[np.bool_], *, at: Place, size: Place, colour: Colour, width_px: float
) -> None:
    """Draw a mask's outline over its picture, anti-aliased, with a dark halo that keeps it visible on bright bone.

    It runs midway between the centres of the pixels inside and outside, so its place does not depend on the picture's
    scale. Bands of rows and of columns keep memory small for pictures of any size and shape.

    Args:
        canvas: RGB; drawn upon.
        mask: (rows, columns).
        at: x, y of the picture's top left corner on the canvas.
        size: width and height that the picture has there.
        colour: of the line.
        width_px: of the line.
    """
    rows, columns = mask.shape
    scale = size[1] / rows
    band_columns = min(columns, _BAND_COLUMNS)
    band_rows = _BAND_PIXELS // max(band_columns, math.ceil(size[0] / columns * band_columns) * math.ceil(scale))
    for high, down in _bands(rows, size[1], band_rows, width_px):
        for wide, across in _bands(columns, size[0], band_columns, width_px):
            lines = list(_outlines(mask, high, wide, size))
            if lines:
                _draw_lines(canvas, lines, at=at, down=down, across=across, colour=colour, width_px=width_px)


def _bands(length: int, drawn_length: int, band: int, width_px: float) -> Iterator[tuple[Span, Span]]:
    """Cut a side into bands: pixels of the mask that a line reaches a band from, and pixels of the picture in it."""
    scale = drawn_length / length
    reach = math.ceil((width_px + 2) / scale) + 2
    step = max(reach, band)
    for first in range(0, length, step):
        last = min(first + step, length)
        yield (max(0, first - reach), min(length, last + reach)), (round(first * scale), round(last * scale))


def _outlines(mask: NDArray[np.bool_], high: Span, wide: Span, size: Place) -> Iterator[NDArray[np.float64]]:
    """(n, 2) x, y on the picture of each outline in some rows and columns; cut edges close just outside of these."""
    first = high[0]
    part = mask[slice(*high), slice(*wide)]
    marked = np.flatnonzero(part.any(axis=0))
    if not marked.size:
        return
    left = wide[0] + int(marked[0])
    padded = np.pad(part[:, int(marked[0]) : int(marked[-1]) + 1], 1)
    for line in find_contours(padded, 0.5):  # type: ignore[no-untyped-call]  # scikit-image has no annotations
        centres = line[:, ::-1] - 1 + (left, first)
        yield (centres + 0.5) * (size[0] / mask.shape[1], size[1] / mask.shape[0])


def _draw_lines(
    canvas: Image.Image,
    lines: list[NDArray[np.float64]],
    *,
    at: Place,
    down: Span,
    across: Span,
    colour: Colour,
    width_px: float,
) -> None:
    """Draw lines within the rows `down` and the columns `across` of a picture."""
    margin = math.ceil(width_px) + 2
    left = max(across[0], math.floor(min(line[:, 0].min() for line in lines)) - margin)
    right = min(across[1], math.ceil(max(line[:, 0].max() for line in lines)) + margin)
    top = max(down[0], math.floor(min(line[:, 1].min() for line in lines)) - margin)
    bottom = min(down[1], math.ceil(max(line[:, 1].max() for line in lines)) + margin)
    if left >= right or top >= bottom:
        return
    place = (at[0] + left, at[1] + top)
    for ink, thickness, opacity in ((_HALO, width_px + 2, _HALO_OPACITY), (colour, width_px, 1.0)):
        coverage = Image.new("L", ((right - left) * _SUPERSAMPLE, (bottom - top) * _SUPERSAMPLE))
        draw = ImageDraw.Draw(coverage)
        for line in lines:
            points = (line - (left, top)) * _SUPERSAMPLE
            draw.line(points.ravel().tolist(), fill=round(255 * opacity), width=round(thickness * _SUPERSAMPLE))
        canvas.paste(ink, place, coverage.reduce(_SUPERSAMPLE))
