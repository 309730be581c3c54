from __future__ import annotations

import math
import tracemalloc

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from phantoms.scenes import grid, unknown_grid
from sigap.core.grid import Grid
from sigap.imaging.measure.chord import longest_chord
from sigap.imaging.measure.diameters import Plane, corner_hull, longest_diameter, perpendicular_diameter

SQUARE = Plane.of_pixels()


def drawn(*rows: str) -> np.ndarray:
    return np.array([[mark == "#" for mark in row] for row in rows])


def diameters(mask: NDArray[np.bool_], plane: Plane = SQUARE):
    return longest_diameter(mask, plane), perpendicular_diameter(mask, plane)


def test_a_pixel_is_as_long_as_its_diagonal():
    assert diameters(np.ones((1, 1), bool)) == pytest.approx((math.sqrt(2), math.sqrt(2)))


def test_a_rectangle():
    # Diagonal 5; the chord at right angles to it through a corner of the short side: 3 / cos(atan(3 / 4)) = 15 / 4.
    assert diameters(np.ones((3, 4), bool)) == pytest.approx((5, 15 / 4))


def test_unequal_pixel_sides():
    # 3 rows of 2 mm and 4 columns of 2 mm are 6 x 8 mm; 3 rows of 8/3 mm and 8 columns of 0.75 mm are 8 x 6 mm.
    for rows, columns, row_mm, column_mm in ((3, 4, 2.0, 2.0), (3, 8, 8 / 3, 0.75)):
        plane = Plane.of(grid((1, 20, 20), (1.0, row_mm, column_mm)))
        assert diameters(np.ones((rows, columns), bool), plane) == pytest.approx((10, 15 / 2))


def test_oblique_pixels():
    # Columns of 1 mm, rows of 1 mm at 60 degrees to them: n x n pixels are a rhombus, its diagonals n sqrt 3 and n.
    steps = np.array([math.sin(math.radians(60)), 0.5])
    oblique = Grid((1, 9, 9), (1.0, 1.0, 1.0), (1.0,), None, np.array([steps[1], steps[0], 0]), np.array([1.0, 0, 0]))
    assert diameters(np.ones((4, 4), bool), Plane.of(oblique)) == pytest.approx((4 * math.sqrt(3), 4))
    assert oblique.pixel_area_mm2 == pytest.approx(math.sqrt(3) / 2)


def test_an_l_has_its_chord_inside_the_pixels():
    # Feet of 1 pixel and 10 long: the longest diameter runs from (0, 0) or (0, 1) to the far corner of the foot.
    mask = np.zeros((10, 10), bool)
    mask[:, 0] = mask[9, :] = True
    longest, perpendicular = diameters(mask)
    assert longest == pytest.approx(math.sqrt(200))
    # At right angles to the diagonal, lines at 45 degrees: through the corner where the feet meet, sqrt 2 and no more.
    assert perpendicular == pytest.approx(math.sqrt(2))


def test_a_gap_ends_a_chord():
    mask = drawn("##########", "##########", "....##....", "##########")
    # Along a column through the gap's ends 2, through the bridge 4.
    assert longest_chord(mask, (1.0, 0.0)) == pytest.approx(4)
    mask[2] = False
    assert longest_chord(mask, (1.0, 0.0)) == pytest.approx(2)
    assert longest_diameter(mask, SQUARE) == pytest.approx(math.hypot(10, 4)), "all pieces that the slice shows"


def test_pixels_that_touch_at_a_corner_are_not_joined():
    assert longest_chord(drawn("#.", ".#"), (math.sqrt(0.5), math.sqrt(0.5))) == pytest.approx(math.sqrt(2))
    assert longest_chord(drawn("#.", "#.", ".#"), (1.0, 0.0)) == pytest.approx(2)
    # A line across the corner, where one pixel's end is the other's beginning.
    steep = (2 / math.sqrt(5), 1 / math.sqrt(5))
    assert longest_chord(drawn("#.", ".#"), steep) == pytest.approx(math.sqrt(1 + 0.25))


@pytest.mark.parametrize("spacing_mm", [(0.5, 0.5), (0.5, 0.8)])
def test_an_ellipse_comes_close_to_its_axes(spacing_mm: tuple[float, float]):
    rows, columns = np.indices((200, 200))
    mask = ((rows - 99.5) * spacing_mm[0] / 40) ** 2 + ((columns - 99.5) * spacing_mm[1] / 25) ** 2 <= 1
    longest, perpendicular = diameters(mask, Plane.of(grid((1, 200, 200), (1.0, *spacing_mm))))
    assert longest == pytest.approx(80, abs=1)
    assert perpendicular == pytest.approx(50, abs=1.5)


def test_without_spacing_there_is_no_plane():
    assert Plane.of(unknown_grid((1, 4, 4))) is None


def sampled_chord(mask: NDArray[np.bool_], direction: tuple[float, float]):
    """The longest chord by brute force: parallel lines 0.04 pixels apart, each walked in steps of 0.01."""
    across = np.array([-direction[1], direction[0]])
    reach = sum(mask.shape)
    lines, steps = np.arange(-reach, reach, 0.04) + 1e-7, np.arange(-reach, reach, 0.01)
    points = np.floor(lines[:, None, None] * across + steps[:, None] * np.array(direction)).astype(int) + 1
    padded = np.pad(mask, 1)
    rows, columns = (np.clip(points[..., axis], 0, padded.shape[axis] - 1).ravel() for axis in (0, 1))
    walked = padded[rows, columns]
    # A step may pass over a corner where two pixels merely touch: one chord ends there and another begins.
    beside = padded[rows[:-1], columns[1:]] | padded[rows[1:], columns[:-1]]
    corners = np.flatnonzero(walked[:-1] & walked[1:] & ~beside)
    changes = np.sort(np.concatenate([np.flatnonzero(walked[:-1] != walked[1:]), corners, corners]))
    return float((changes[1::2] - changes[0::2]).max() * 0.01)


@given(
    mask=arrays(bool, st.tuples(st.integers(1, 4), st.integers(1, 4))),
    degrees=st.one_of(st.integers(10, 80), st.integers(100, 170)),
)
@example(mask=np.array([[1, 0, 1, 1], [1, 1, 1, 1], [1, 0, 1, 1], [1, 1, 0, 1]], bool), degrees=155)
@settings(max_examples=25, deadline=None)
def test_chords_are_those_that_brute_force_finds(mask: NDArray[np.bool_], degrees: int):
    assume(mask.any())
    direction = (math.cos(math.radians(degrees)), math.sin(math.radians(degrees)))
    # Half a step at each end; from one line to the next an edge at 10 degrees or more takes less than 0.04 x 6 off.
    assert -0.02 <= longest_chord(mask, direction) - sampled_chord(mask, direction) <= 0.26


@pytest.mark.parametrize("direction", [(1.0, 0.0), (0.6, 0.8), (math.cos(1), math.sin(1))])
def test_a_mask_like_noise_is_measured_a_few_strips_at_a_time(
    monkeypatch: pytest.MonkeyPatch, direction: tuple[float, float]
):
    """One slice of it may have a hundred million crossings of edges and lines."""
    mask = np.random.default_rng(0).random((40, 37)) < 0.6
    whole = longest_chord(mask, direction)
    monkeypatch.setattr("sigap.imaging.measure.chord._CROSSINGS", 50)
    assert longest_chord(mask, direction) == whole
    monkeypatch.undo()
    large = np.random.default_rng(0).random((160, 160)) < 0.6
    tracemalloc.start()
    longest_chord(large, direction)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 60 << 20


@given(mask=arrays(bool, st.tuples(st.integers(1, 7), st.integers(1, 7))))
@settings(deadline=None)
def test_the_longest_diameter_is_that_of_all_corner_pairs(mask: NDArray[np.bool_]):
    assume(mask.any())
    corners = np.unique(np.concatenate([np.argwhere(mask) + step for step in ((0, 0), (0, 1), (1, 0), (1, 1))]), axis=0)
    plane = Plane.of(grid((1, 9, 9), (1.0, 0.7, 1.3)))
    steps = corners[:, None] - corners[None]
    assert longest_diameter(mask, plane) == pytest.approx(math.sqrt(plane.square(steps[..., 0], steps[..., 1]).max()))
    assert {tuple(point) for point in corner_hull(mask)} <= {tuple(point) for point in corners}


@given(mask=arrays(bool, st.tuples(st.integers(1, 7), st.integers(1, 7))))
@settings(deadline=None)
def test_mirrors_and_turns_change_no_diameter(mask: NDArray[np.bool_]):
    assume(mask.any())
    plane, turned = (Plane.of(grid((1, 9, 9), (1.0, *sides))) for sides in ((0.7, 1.3), (1.3, 0.7)))
    expected = pytest.approx(diameters(mask, plane))
    assert diameters(mask[::-1], plane) == expected
    assert diameters(mask[:, ::-1], plane) == expected
    assert diameters(mask.T, turned) == expected
