"""COCO shapes as masks: polygons, RLE and uncompressed RLE, of single things and of crowds."""

from __future__ import annotations

import math
import warnings
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as rle
from pydantic import BaseModel, Field, NonNegativeInt


class RunLengths(BaseModel):
    """Runs of 0 and 1 by column, beginning with 0: plain numbers, or COCO's string of them.

    Attributes:
        size: rows and columns.
        counts: the runs; together they fill the picture.
    """

    size: tuple[int, int]
    counts: list[NonNegativeInt] | str


Polygons = Annotated[
    list[list[float]], Field(description="x, y, x, y, … of each, in pixels from the upper left corner")
]
Shape = RunLengths | Polygons


def draw(shape: Shape, height: int, width: int) -> NDArray[np.uint8]:
    """0 or 1 [H, W].

    pycocotools trusts what it is given: runs that do not fill the picture leave the rest of it undefined, four numbers
    are a box to it. So it is looked at before.

    Raises:
        ValueError: a shape that is none, or one of another picture's size.
    """
    if isinstance(shape, RunLengths):
        encoded = _encode_runs(shape, height, width)
    else:
        encoded = _encode_polygons(shape, height, width)
    with warnings.catch_warnings():
        # pycocotools 2.0.11 does not know the copy keyword of numpy 2; it copies, which is right.
        warnings.filterwarnings("ignore", message="__array__ implementation", category=DeprecationWarning)
        drawn: NDArray[np.uint8] = rle.decode(encoded)
    return drawn


def run_lengths(counts: str) -> list[int]:
    """COCO's string as numbers.

    Five bits a character from 48 up, a sixth says that more follow, lowest first, signed; from the fourth run on the
    difference to the run before the last.

    Raises:
        ValueError: it ends within a number, or a character is none of these.

    Source:
        rleFrString in pycocotools' maskApi.c.
    """
    runs: list[int] = []
    value, shift = 0, 0
    for character in counts:
        bits = ord(character) - 48
        if not 0 <= bits < 64:
            raise ValueError(f"a run length with the character {character!r}")
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            value -= 1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value, shift = 0, 0
    if shift:
        raise ValueError("run lengths that end within a number")
    return runs


def _encode_runs(shape: RunLengths, height: int, width: int) -> dict[str, Any]:
    if shape.size != (height, width):
        raise ValueError(f"a mask of {shape.size} on an image of {(height, width)}")
    runs = run_lengths(shape.counts) if isinstance(shape.counts, str) else shape.counts
    if min(runs, default=0) < 0 or sum(runs) != height * width:
        raise ValueError(f"runs of {sum(runs)} pixels on an image of {height * width}")
    encoded: dict[str, Any] = rle.frPyObjects({"size": list(shape.size), "counts": runs}, height, width)
    return encoded


def _encode_polygons(polygons: list[list[float]], height: int, width: int) -> dict[str, Any]:
    if not polygons:
        raise ValueError("no polygon and no mask")
    for polygon in polygons:
        if len(polygon) < 6 or len(polygon) % 2 or not all(map(math.isfinite, polygon)):
            raise ValueError(
                f"a polygon of {len(polygon)} numbers: three points or more are needed, of two numbers each"
            )
    encoded: dict[str, Any] = rle.merge(rle.frPyObjects(polygons, height, width))
    return encoded
