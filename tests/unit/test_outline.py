"""Outlines enclose exactly the pixels of a mask, holes and corners that touch included."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from sigap.encoders.outline import outlines


def mask(*lines: str) -> NDArray[np.bool_]:
    return np.array([[letter == "#" for letter in line] for line in lines])


def area(corners: NDArray[np.int64]) -> float:
    """Signed; positive for clockwise as drawn, rows downwards."""
    rows, columns = corners.T.astype(float)
    return float((columns * np.roll(rows, -1) - np.roll(columns, -1) * rows).sum() / 2)


def filled(polygons: list[NDArray[np.int64]], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """By the even-odd rule, at the pixels' centres."""
    inside = np.zeros(shape, bool)
    rows, columns = (places + 0.5 for places in np.indices(shape))
    for corners in polygons:
        ends = np.roll(corners, -1, axis=0)
        for (row, column), (to_row, to_column) in zip(corners.tolist(), ends.tolist(), strict=True):
            if row != to_row:
                crosses = (row > rows) != (to_row > rows)
                inside ^= crosses & (columns < column + (rows - row) * (to_column - column) / (to_row - row))
    return inside


def test_one_pixel_is_a_square_clockwise() -> None:
    (corners,) = outlines(mask("...", ".#.", "..."))
    assert corners.tolist() == [[1, 1], [1, 2], [2, 2], [2, 1]]
    assert area(corners) == 1


def test_straight_edges_have_no_corners_in_between() -> None:
    (corners,) = outlines(np.ones((3, 5), bool))
    assert corners.tolist() == [[0, 0], [0, 5], [3, 5], [3, 0]]


def test_pixels_that_touch_at_a_corner_are_two() -> None:
    found = outlines(mask("#.", ".#"))
    assert [area(corners) for corners in found] == [1, 1]


def test_holes_that_touch_at_a_corner_and_the_outline_at_its_own_first_corner() -> None:
    shape = mask("#####", "#.###", "##.##", "#####")
    assert [area(corners) for corners in outlines(shape)] == [18]
    pinched = mask(".##", "#..", "##.")
    assert sorted(area(corners) for corners in outlines(pinched)) == [2, 3]


def test_a_hole_is_joined_by_a_channel_there_and_back() -> None:
    (corners,) = outlines(mask("###", "#.#", "###"))
    assert area(corners) == 8
    assert len(corners) == 4 + 4 + 2


def test_nothing_has_no_outline() -> None:
    assert outlines(np.zeros((3, 4), bool)) == []


@pytest.mark.parametrize("seed", range(40))
def test_filled_again_it_is_the_mask(seed: int) -> None:
    generator = np.random.default_rng(seed)
    scattered = generator.random((13, 17)) < generator.uniform(0.1, 0.95)
    found = outlines(scattered)
    assert np.array_equal(filled(found, scattered.shape), scattered)
    assert sum(area(corners) for corners in found) == np.count_nonzero(scattered)
    assert all(area(corners) > 0 for corners in found)
