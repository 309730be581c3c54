"""COCO's shapes drawn, on pictures small enough to count by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from pycocotools import mask as rle

from sigap_training.coco_masks import RunLengths, draw, run_lengths


def test_runs_go_down_the_columns() -> None:
    drawn = draw(RunLengths(size=(3, 4), counts=[4, 2, 6]), 3, 4)
    assert drawn.tolist() == [[0, 0, 0, 0], [0, 1, 0, 0], [0, 1, 0, 0]]


def test_a_square_polygon_covers_its_pixels() -> None:
    drawn = draw([[1, 1, 3, 1, 3, 4, 1, 4]], 5, 6)
    expected = np.zeros((5, 6), np.uint8)
    expected[1:4, 1:3] = 1
    np.testing.assert_array_equal(drawn, expected)


def test_several_polygons_are_one_shape_and_are_cut_at_the_edge() -> None:
    drawn = draw([[0, 0, 2, 0, 2, 2, 0, 2], [4, 3, 9, 3, 9, 9, 4, 9]], 5, 6)
    expected = np.zeros((5, 6), np.uint8)
    expected[:2, :2] = expected[3:, 4:] = 1
    np.testing.assert_array_equal(drawn, expected)


@given(arrays.arrays(np.uint8, arrays.array_shapes(min_dims=2, max_dims=2, max_side=40), elements=st.integers(0, 1)))
def test_strings_say_what_was_encoded(mask: np.ndarray) -> None:
    counts = rle.encode(np.asfortranarray(mask))["counts"].decode()
    np.testing.assert_array_equal(draw(RunLengths(size=mask.shape, counts=counts), *mask.shape), mask)
    column_major = mask.ravel(order="F")
    changes = np.flatnonzero(np.diff(np.concatenate([[0], column_major])))
    assert run_lengths(counts) == np.diff(np.concatenate([[0], changes, [mask.size]])).tolist()


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        (RunLengths(size=(4, 3), counts=[12]), r"a mask of \(4, 3\) on an image of \(3, 4\)"),
        (RunLengths(size=(3, 4), counts=[4, 4]), "runs of 8 pixels on an image of 12"),
        (RunLengths(size=(3, 4), counts=[4, 40]), "runs of 44 pixels"),
        (RunLengths(size=(3, 4), counts=[]), "runs of 0 pixels"),
        (RunLengths(size=(3, 4), counts=""), "runs of 0 pixels"),
        (RunLengths(size=(3, 4), counts="44"), "runs of 8 pixels"),
        (RunLengths(size=(3, 4), counts="O<"), "runs of 11 pixels"),
        (RunLengths(size=(3, 4), counts="\N{DEGREE SIGN}"), "the character"),
        (RunLengths(size=(3, 4), counts="4P"), "end within a number"),
        ([], "no polygon"),
        ([[]], "a polygon of 0 numbers"),
        ([[1, 1, 2, 2]], "a polygon of 4 numbers"),
        ([[1, 1, 2, 2, 3, 3, 4]], "a polygon of 7 numbers"),
        ([[0, 0, 2, 0, 2, 2], [1, 1]], "a polygon of 2 numbers"),
        ([[0, 0, 2, 0, float("nan"), 2]], "a polygon of 6 numbers"),
    ],
)
def test_shapes_that_are_none_are_refused(shape: RunLengths | list[list[float]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        draw(shape, 3, 4)
