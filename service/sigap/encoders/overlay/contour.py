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

_SUPERSAMPLE = 4
_BAND_PIXELS = 1 << 20
_HALO_OPACITY = 0.65
_HALO: Colour = (0, 0, 0)


def draw_outline(
    canvas: Image.Image, mask: NDArray[np.bool_], *, at: Place, size: Place, colour: Colour, width_px: float
) -> None:
    """Draw a mask's outline over its picture, anti-aliased, with a dark halo that keeps it visible on bright bone.

    It runs midway between the centres of the pixels inside and outside, so its place does not depend on the picture's
    scale. Bands of rows keep memory small for pictures of any size.

    Args:
        canvas: RGB; drawn upon.
        mask: (rows, columns).
        at: x, y of the picture's top left corner on the canvas.
        size: width and height that the picture has there.
        colour: of the line.
        width_px: of the line.
    """
    rows = len(mask)
    scale = size[1] / rows
    reach = math.ceil((width_px + 2) / scale) + 2
    band = max(reach, _BAND_PIXELS // max(mask.shape[1], size[0] * math.ceil(scale)))
    for first in range(0, rows, band):
        last = min(first + band, rows)
        top, bottom = round(first * scale), round(last * scale)
        lines = list(_outlines(mask, max(0, first - reach), min(rows, last + reach), size))
        if lines:
            _draw_lines(canvas, lines, at=at, span=(top, bottom), width=size[0], colour=colour, width_px=width_px)


def _outlines(mask: NDArray[np.bool_], first: int, last: int, size: Place) -> Iterator[NDArray[np.float64]]:
    """(n, 2) x, y on the picture of each outline within some rows; cut edges close just outside of these."""
    part = mask[first:last]
    marked = np.flatnonzero(part.any(axis=0))
    if not marked.size:
        return
    left = int(marked[0])
    padded = np.pad(part[:, left : int(marked[-1]) + 1], 1)
    for line in find_contours(padded, 0.5):  # type: ignore[no-untyped-call]  # scikit-image has no annotations
        centres = line[:, ::-1] - 1 + (left, first)
        yield (centres + 0.5) * (size[0] / mask.shape[1], size[1] / mask.shape[0])


def _draw_lines(
    canvas: Image.Image,
    lines: list[NDArray[np.float64]],
    *,
    at: Place,
    span: tuple[int, int],
    width: int,
    colour: Colour,
    width_px: float,
) -> None:
    """Draw lines within rows `span` of a picture that is `width` wide."""
    margin = math.ceil(width_px) + 2
    left = max(0, math.floor(min(line[:, 0].min() for line in lines)) - margin)
    right = min(width, math.ceil(max(line[:, 0].max() for line in lines)) + margin)
    top = max(span[0], math.floor(min(line[:, 1].min() for line in lines)) - margin)
    bottom = min(span[1], math.ceil(max(line[:, 1].max() for line in lines)) + margin)
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
