"""The connected pieces of a mask, found from its runs of voxels.

A run is an unbroken stretch of voxels in one row. Organs and lesions have a thousandth as many runs as the volume has
voxels, so nothing here is as large as an array of labels, which alone would take twice the volume's memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from sigap.core.levels import Box
from sigap.imaging.postprocess.region import Region

# (slices, rows) from a run to the later rows that may hold a neighbour of it.
_LATER_ROWS = {6: ((0, 1), (1, 0)), 26: ((0, 1), (1, -1), (1, 0), (1, 1))}


class Pieces:
    """Numbered connected pieces of a 3-D mask.

    Attributes:
        shape: of the mask.
        count: pieces; they are numbered from 1.

    >>> pieces = Pieces(np.array([[[1, 0, 0], [0, 1, 0], [0, 0, 0], [1, 1, 1]]], dtype=bool))
    >>> pieces.count, sorted(pieces.weights(np.array([1]))[1:].tolist())
    (2, [2, 3])
    """

    def __init__(self, mask: NDArray[np.bool_], connectivity: Literal[6, 26] = 26) -> None:
        self.shape = mask.shape
        # One blank column and one blank row a slice keep neighbours of the edge from wrapping round to the other side.
        self._pitch = (mask.shape[1] + 1, mask.shape[2] + 1)
        self._starts, self._stops = self._runs(mask)
        numbers = np.zeros(0, np.int32)
        self.count = 0
        if len(self._starts):
            first, second = self._neighbours(connectivity)
            links = coo_array((np.ones(len(first), np.int8), (first, second)), shape=(len(self._starts),) * 2)
            self.count, numbers = connected_components(links, directed=False)
        self._numbers = numbers + 1
        self._order: tuple[NDArray[np.intp], NDArray[np.intp]] | None = None

    def weights(self, slice_weights: NDArray[np.int64]) -> NDArray[np.int64]:
        """(count + 1,) for each piece the sum of its voxels' slice weights; [0] is 0. Exact up to 2^53."""
        per_run = (self._stops - self._starts) * slice_weights[self._places(self._starts)[0]]
        return np.bincount(self._numbers, per_run, minlength=self.count + 1).astype(np.int64)

    def boxes(self) -> NDArray[np.int64]:
        """(count + 1, 3, 2): each piece's first and one past its last slice, row and column; [0] means nothing."""
        slices, rows, columns = self._places(self._starts)
        boxes = np.empty((self.count + 1, 3, 2), np.int64)
        boxes[..., 0], boxes[..., 1] = np.iinfo(np.int64).max, 0
        ends = columns + self._stops - self._starts
        for axis, (first, last) in enumerate(((slices, slices + 1), (rows, rows + 1), (columns, ends))):
            np.minimum.at(boxes[:, axis, 0], self._numbers, first)
            np.maximum.at(boxes[:, axis, 1], self._numbers, last)
        return boxes

    def select(self, chosen: NDArray[np.bool_]) -> Region:
        """Some pieces, at least one, by a (count + 1,) table whose [0] is False; its box counts within the mask."""
        boxes = self.boxes()[chosen]
        firsts, lasts = boxes[..., 0].min(axis=0).tolist(), boxes[..., 1].max(axis=0).tolist()
        mask = np.zeros([last - first for first, last in zip(firsts, lasts, strict=True)], bool)
        self._paint(np.flatnonzero(chosen[self._numbers]), mask, firsts)
        slices, rows, columns = (slice(first, last) for first, last in zip(firsts, lasts, strict=True))
        return Region((slices, rows, columns), mask)

    def piece(self, number: int, box: Box) -> NDArray[np.bool_]:
        """One piece's mask over its own box."""
        if self._order is None:
            order = np.argsort(self._numbers, kind="stable")
            self._order = order, np.searchsorted(self._numbers[order], np.arange(self.count + 2))
        order, ends = self._order
        mask = np.zeros(tuple(axis.stop - axis.start for axis in box), bool)
        self._paint(order[ends[number] : ends[number + 1]], mask, (box[0].start, box[1].start, box[2].start))
        return mask

    def at(self, voxel: tuple[int, int, int]) -> int:
        """The number of the piece that holds a voxel of the mask."""
        place = (voxel[0] * self._pitch[0] + voxel[1]) * self._pitch[1] + voxel[2]
        return int(self._numbers[np.searchsorted(self._starts, place, side="right") - 1])

    def _runs(self, mask: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """First voxel of each run and the one past its last, ascending, counted over the padded rows."""
        height, width = self._pitch
        edges = np.zeros((height - 1, width), bool)
        found = [np.zeros(0, np.int64)]
        for place, plane in enumerate(mask):
            if plane.any():
                edges[:, 0], edges[:, -1] = plane[:, 0], plane[:, -1]
                np.not_equal(plane[:, 1:], plane[:, :-1], out=edges[:, 1:-1])
                found.append(np.flatnonzero(edges) + place * height * width)
        both = np.concatenate(found)
        return both[0::2], both[1::2]

    def _places(self, starts: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Slice, row and first column of some runs."""
        rows, columns = np.divmod(starts, self._pitch[1])
        slices, rows = np.divmod(rows, self._pitch[0])
        return slices, rows, columns

    def _neighbours(self, connectivity: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Pairs of runs that touch: in neighbouring rows, in one column or, of 26 neighbours, beside each other."""
        firsts, seconds = [], []
        beside = connectivity == 26
        for slices, rows in _LATER_ROWS[connectivity]:
            shift = (slices * self._pitch[0] + rows) * self._pitch[1]
            lowest = np.searchsorted(self._stops, self._starts + shift, side="left" if beside else "right")
            highest = np.searchsorted(self._starts, self._stops + shift, side="right" if beside else "left")
            counts = np.maximum(highest - lowest, 0)
            ends = np.cumsum(counts)
            firsts.append(np.repeat(np.arange(len(counts), dtype=np.int32), counts))
            seconds.append((np.arange(ends[-1]) + np.repeat(lowest - ends + counts, counts)).astype(np.int32))
        return np.concatenate(firsts), np.concatenate(seconds)

    def _paint(self, runs: NDArray[np.intp], mask: NDArray[np.bool_], first: Sequence[int]) -> None:
        """Set the voxels of some runs, ascending, in a new mask whose voxel [0, 0, 0] is `first`."""
        slices, rows, columns = (
            places - start for places, start in zip(self._places(self._starts[runs]), first, strict=True)
        )
        lengths = self._stops[runs] - self._starts[runs]
        begins = rows * mask.shape[2] + columns
        bounds = np.searchsorted(slices, np.arange(len(mask) + 1))
        for plane, low, high in zip(mask.reshape(len(mask), -1), bounds[:-1], bounds[1:], strict=True):
            if low < high:
                length = lengths[low:high]
                ends = np.cumsum(length)
                plane[np.arange(ends[-1]) + np.repeat(begins[low:high] - ends + length, length)] = True
