"""The two diameters of a lesion's cross-section in one slice."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sigap.core.grid import Grid
from sigap.imaging.measure.chord import longest_chord

# Lengths that differ by rounding alone are equal.
_EQUAL = 1e-12


@dataclass(frozen=True)
class Plane:
    """The metric of a slice: a step of i rows and j columns is sqrt(rows i² + 2 across i j + columns j²) long.

    Attributes:
        rows, columns: squared length of a step to the next row, to the next column.
        across: scalar product of the two; 0 where they are perpendicular.
    """

    rows: float
    columns: float
    across: float

    @classmethod
    def of(cls, grid: Grid) -> Plane | None:
        """In mm; None without pixel spacing."""
        _, row_mm, column_mm = grid.spacing_mm
        if row_mm is None or column_mm is None:
            return None
        across = 0.0
        if grid.row_step_lps_mm is not None and grid.column_step_lps_mm is not None:
            cosine = float(np.dot(grid.row_step_lps_mm, grid.column_step_lps_mm)) / (row_mm * column_mm)
            # Headers hold few digits: a right angle may come out as 90.00001 degrees.
            across = cosine * row_mm * column_mm if abs(cosine) > 1e-5 else 0.0
        return cls(row_mm**2, column_mm**2, across)

    @classmethod
    def of_pixels(cls) -> Plane:
        """In pixels, all square."""
        return cls(1.0, 1.0, 0.0)

    def square(self, rows: NDArray[np.int64], columns: NDArray[np.int64]) -> NDArray[np.float64]:
        """Squared lengths of steps; of equal steps, mirrored or not, equal to the last bit."""
        squares: NDArray[np.float64] = (
            self.rows * rows**2 + self.columns * columns**2 + 2 * self.across * (rows * columns)
        )
        return squares

    def perpendicular(self, row: int, column: int) -> tuple[float, float]:
        """The step of length 1 at right angles to another, in rows and columns."""
        # Of (i, j) at right angles to (row, column): rows row i + across (row j + column i) + columns column j = 0.
        step = -(self.across * row + self.columns * column), self.rows * row + self.across * column
        length = (self.rows * step[0] ** 2 + 2 * self.across * step[0] * step[1] + self.columns * step[1] ** 2) ** 0.5
        return step[0] / length, step[1] / length


def longest_diameter(mask: NDArray[np.bool_], plane: Plane) -> float:
    """The greatest distance of two outer pixel corners of a cross-section.

    Args:
        mask: (rows, columns), with at least one pixel; of all pieces that the slice shows of the lesion.
        plane: its metric.

    >>> longest_diameter(np.ones((3, 4), bool), Plane.of_pixels())
    5.0
    """
    return float(_farthest(mask, plane)[0])


def perpendicular_diameter(mask: NDArray[np.bool_], plane: Plane) -> float:
    """The longest chord inside a cross-section at right angles to its longest diameter.

    Of several longest diameters, as a square has, the one with the longest chord counts.

    >>> perpendicular_diameter(np.ones((2, 2), bool), Plane.of_pixels()) == 8 ** 0.5
    True
    """
    _, steps = _farthest(mask, plane)
    directions = {plane.perpendicular(int(row), int(column)) for row, column in steps}
    return max(longest_chord(mask, direction) for direction in directions)


def _farthest(mask: NDArray[np.bool_], plane: Plane) -> tuple[float, NDArray[np.int64]]:
    """The longest diameter and the step or, among equals, (n, 2) steps from one of its corners to the other."""
    corners = corner_hull(mask)
    first, second = np.triu_indices(len(corners), 1)
    steps = corners[second] - corners[first]
    squares = plane.square(steps[:, 0], steps[:, 1])
    longest = squares.max()
    return float(longest) ** 0.5, np.unique(steps[squares >= longest * (1 - _EQUAL)], axis=0)


def corner_hull(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """(n, 2) row and column of the pixel corners on a mask's convex hull; pixel (r, c) has corners r..r+1, c..c+1."""
    rows = np.flatnonzero(mask.any(axis=1))
    lefts = mask[rows].argmax(axis=1)
    rights = mask.shape[1] - mask[rows, ::-1].argmax(axis=1)
    left: dict[int, int] = {}
    right: dict[int, int] = {}
    for row, start, stop in zip(rows.tolist(), lefts.tolist(), rights.tolist(), strict=True):
        for corner in (row, row + 1):
            left[corner] = min(left.get(corner, start), start)
            right[corner] = max(right.get(corner, stop), stop)
    chain = _convex([(row, -column) for row, column in left.items()])
    points = [(row, -column) for row, column in chain] + _convex(list(right.items()))
    return np.array(points, np.int64)


def _convex(points: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The upper side of the convex hull of points with ascending rows: Andrew's monotone chain, in whole numbers."""
    chain: list[tuple[int, int]] = []
    for row, height in points:
        while len(chain) > 1:
            (row0, height0), (row1, height1) = chain[-2:]
            if (row1 - row0) * (height - height0) < (height1 - height0) * (row - row0):
                break
            chain.pop()
        chain.append((row, height))
    return chain
