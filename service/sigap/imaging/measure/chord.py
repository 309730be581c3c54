"""The longest straight line inside a set of pixels in a given direction."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

# Lines closer together than this, in pixels, are one.
_NARROW = 1e-9
_CROSSINGS = 1 << 18
"""Of edges and strips, at once: with all that is computed of each some 30 MB."""

Edges = NDArray[np.float64]


def longest_chord(mask: NDArray[np.bool_], direction: tuple[float, float]) -> float:
    """The length of the longest straight line in a direction that stays inside a mask's pixels.

    Pixels are squares, [r, r + 1] x [c, c + 1]. Between two neighbouring lines through pixel corners every parallel
    line crosses the same edges, and the lengths that it cuts out change linearly: the longest chord lies on one of
    those lines. Each strip between them is measured at both of its ends, approached from within. So the answer is
    exact, and a line that merely touches the pixels, at a corner or along an edge, joins nothing.

    Args:
        mask: (rows, columns).
        direction: step of length 1 along the chord, in rows and columns; in the unit of the answer.

    >>> longest_chord(np.ones((2, 5), bool), (0.0, 1.0))
    5.0
    """
    edges = _edges(mask)
    along = np.array(direction)
    # Which of the parallel lines a corner lies on, and how far along it: across = u_i j - u_j i.
    lines = along[0] * edges[:, :, 1] - along[1] * edges[:, :, 0]
    places = edges @ along / (along @ along)
    strips = _distinct(lines.ravel())
    spans = np.stack([np.searchsorted(strips, end - _NARROW) for end in (lines.min(axis=1), lines.max(axis=1))], axis=1)
    is_crossed = spans[:, 1] > spans[:, 0]  # what runs along the lines is not
    lines, places, spans = lines[is_crossed], places[is_crossed], spans[is_crossed]
    return max(
        _longest_between(lines[crossing], places[crossing], strips, np.clip(spans[crossing], start, stop))
        for start, stop in _blocks(spans, len(strips) - 1)
        if (crossing := (spans[:, 0] < stop) & (spans[:, 1] > start)).any()
    )


def _blocks(spans: NDArray[np.intp], count: int) -> Iterator[tuple[int, int]]:
    """Neighbouring strips, so many that edges cross them `_CROSSINGS` times: of noise, all would take gigabytes."""
    steps = np.bincount(spans[:, 0], minlength=count + 1) - np.bincount(spans[:, 1], minlength=count + 1)
    crossings = np.cumsum(np.cumsum(steps)[:count])
    start, done = 0, 0
    while start < count:
        stop = max(start + 1, int(np.searchsorted(crossings, done + _CROSSINGS, side="right")))
        yield start, stop
        start, done = stop, int(crossings[stop - 1])


def _longest_between(
    lines: NDArray[np.float64],
    places: NDArray[np.float64],
    strips: NDArray[np.float64],
    spans: NDArray[np.intp],
) -> float:
    """The longest chord in some strips, given all edges that cross them and, of each, which of the strips."""
    first, counts = spans[:, 0], spans[:, 1] - spans[:, 0]
    edge = np.repeat(np.arange(len(lines)), counts)
    strip = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts - first, counts)
    slope = (places[:, 1] - places[:, 0]) / (lines[:, 1] - lines[:, 0])
    at_low = places[edge, 0] + slope[edge] * (strips[strip] - lines[edge, 0])
    at_high = places[edge, 0] + slope[edge] * (strips[strip + 1] - lines[edge, 0])
    # A line enters and leaves the mask in turn: sorted, the crossings of a strip are pairs.
    order = np.lexsort((at_low + at_high, strip)).reshape(-1, 2)
    lengths = [ends[order[:, 1]] - ends[order[:, 0]] for ends in (at_low, at_high)]
    return float(np.max(lengths))


def _edges(mask: NDArray[np.bool_]) -> Edges:
    """(n, 2, 2) both ends, row and column, of the straight pieces of a mask's outline."""
    padded = np.zeros((mask.shape[0] + 2, mask.shape[1] + 2), np.int8)
    padded[1:-1, 1:-1] = mask
    down = _stretches(np.diff(padded, axis=0)[:, 1:-1])
    right = _stretches(np.diff(padded, axis=1)[1:-1].T)
    return np.concatenate([down, right[:, :, ::-1]]).astype(np.float64)


def _stretches(changes: NDArray[np.int8]) -> NDArray[np.intp]:
    """(n, 2, 2) both ends of each stretch of 1 or of -1 in a row; the sign changes where pixels touch at a corner."""
    stretches = []
    for sign in (1, -1):
        padded = np.zeros((len(changes), changes.shape[1] + 2), np.int8)
        padded[:, 1:-1] = changes == sign
        steps = np.diff(padded, axis=1)
        line, start = np.nonzero(steps == 1)
        _, stop = np.nonzero(steps == -1)
        stretches.append(np.stack([line, start, line, stop], axis=1).reshape(-1, 2, 2))
    return np.concatenate(stretches)


def _distinct(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ascending values, those equal but for rounding once."""
    ascending = np.sort(values)
    first_of_equals = np.ones(len(ascending), bool)
    first_of_equals[1:] = np.diff(ascending) > _NARROW
    distinct: NDArray[np.float64] = ascending[first_of_equals]
    return distinct
