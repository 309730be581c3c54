"""The outline of a mask along the edges of its pixels, so that it encloses exactly the mask."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Corners = NDArray[np.int64]
_RIGHT = 0
"""Of the four directions, clockwise."""


def outlines(mask: NDArray[np.bool_]) -> list[Corners]:
    """One closed outline for each part of a mask that is connected by edges.

    A hole is joined to the outline around it by a channel without width, there and back (a keyhole, DICOM PS3.3
    C.8.8.6.3), so that every outline is one polygon and its area is that of its pixels.

    Args:
        mask: (rows, columns).

    Returns:
        For each part (n, 2), row and column of the corners, clockwise as drawn; pixel [r, c] reaches from corner (r, c)
        to corner (r + 1, c + 1). The first corner is not repeated at the end.
    """
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    if not rows.size:
        return []
    first = np.array([rows[0], columns[0]])
    inside = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    parts, count = ndimage.label(inside)
    loops: list[list[Corners]] = [[] for _ in range(count)]
    for corners, part in _loops(inside, parts):
        loops[part - 1].append(corners + first)
    return [_joined(found) for found in loops]


def _loops(mask: NDArray[np.bool_], parts: NDArray[np.int32]) -> Iterator[tuple[Corners, int]]:
    """Every closed loop and the part whose edge it is; of each part the outer one comes first."""
    edges = _edges(mask)
    left = tuple(bytearray(edge.tobytes()) for edge in edges)
    width = mask.shape[1] + 1
    for place in np.flatnonzero(edges[_RIGHT]).tolist():
        if left[_RIGHT][place]:
            row, column = divmod(place, width)
            yield _walk(left, place, width), int(parts[row, column])


def _edges(mask: NDArray[np.bool_]) -> list[NDArray[np.bool_]]:
    """For each direction (rows + 1, columns + 1): whether an edge leaves a corner that way, the mask on its right."""
    padded = np.pad(mask, 1)
    lower_right, lower_left = padded[1:, 1:], padded[1:, :-1]
    upper_right, upper_left = padded[:-1, 1:], padded[:-1, :-1]
    return [
        lower_right & ~upper_right,
        lower_left & ~lower_right,
        upper_left & ~lower_left,
        upper_right & ~upper_left,
    ]


def _walk(left: tuple[bytearray, ...], start: int, width: int) -> Corners:
    """Follow edges from a corner back to it, and take them out.

    Where two go on, the one to the right is taken: parts that touch at a corner alone are two.
    """
    steps = (1, width, -1, -width)
    place, direction = start, _RIGHT
    corners = [start]
    while True:
        place += steps[direction]
        turned = (direction + 1) % 4
        if not left[turned][place]:
            turned = direction if left[direction][place] else (direction + 3) % 4
        left[turned][place] = 0
        if turned != direction:
            if place == start and turned == _RIGHT:
                return np.stack(np.divmod(np.array(corners), width), axis=1)
            corners.append(place)
        direction = turned


def _joined(loops: list[Corners]) -> Corners:
    """The outer loop with its holes, each by way of the nearest corner."""
    whole, *holes = loops
    for hole in holes:
        nearest = int(np.argmin(((whole - hole[0]) ** 2).sum(axis=1)))
        whole = np.concatenate([whole[: nearest + 1], hole, hole[:1], whole[nearest:]])
    return whole
