"""Shares of the axis, gaps and changes of spacing: every expected number is computed by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sigap.imaging.slices import axis_shares

Distances = list[float]


def heights(*distances: float) -> list[float]:
    return [0.0, *np.cumsum(distances).tolist()]


@pytest.mark.parametrize(
    ("distances", "shares"),
    [
        ([5, 5, 5], [5, 5, 5, 5]),
        ([2], [2, 2]),
        ([4, 5], [4, 4.5, 5]),
        ([2, 4], [2, 2, 2]),  # of two distances the longer one is a gap beside the other
        ([2, 2, 2, 4, 4, 4], [2, 2, 2, 3, 4, 4, 4]),
        # A gap counts as its neighbours do: in the middle, at the feet, at the head.
        ([5, 5, 15, 5, 5], [5, 5, 5, 5, 5, 5]),
        ([15, 5, 5, 5], [5, 5, 5, 5, 5]),
        ([5, 5, 5, 10], [5, 5, 5, 5, 5]),
        ([5, 20], [5, 5, 5]),
    ],
)
def test_shares(distances: Distances, shares: Distances) -> None:
    assert axis_shares(heights(*distances)).shares_mm == pytest.approx(shares)


@pytest.mark.parametrize(
    ("distances", "gaps"),
    [
        ([5, 5, 10, 5, 5], {2: 5}),
        ([10, 5, 5, 5], {0: 5}),
        ([5, 5, 5, 10], {3: 5}),
        ([5, 5, 7.5, 5, 5], {}),  # exactly 1.5 times is not above it
        ([5, 5, 7.6, 5, 5], {2: 5}),
        ([5, 20], {1: 5}),
        ([5], {}),
        ([1, 1, 3, 1, 3, 1, 1], {2: 1, 4: 1}),
        ([1, 1, 2, 2, 1, 1], {2: 1, 3: 1}),
        # The contract's letter: a gap is a neighbour too, so one of two at an end hides the other.
        ([2, 1, 2, 1, 1, 1], {2: 1}),
        ([1, 1, 1, 2, 1, 2], {3: 1}),
        # The posterior fossa in thin slices: the step itself is no gap.
        ([2.5, 2.5, 2.5, 5, 5, 5, 5], {}),
        ([5, 5, 5, 10, 10, 10], {}),
        ([10, 10, 10, 5, 5, 5], {}),
        # Thin slices: a difference within the noise of positions is none.
        ([0.15, 0.15, 0.24, 0.15, 0.15], {}),
    ],
)
def test_gaps(distances: Distances, gaps: dict[int, float]) -> None:
    found = {gap.after: gap.counted_mm for gap in axis_shares(heights(*distances)).gaps}
    assert found == pytest.approx(gaps)


@pytest.mark.parametrize(
    ("distances", "changes"),
    [
        ([5] * 6, []),
        ([2.5] * 4 + [5] * 8, [(4, 2.5, 5)]),
        ([5] * 8 + [2.5] * 4, [(8, 5, 2.5)]),
        ([2.5] * 6 + [5] * 6 + [2.5] * 6, [(6, 2.5, 5), (12, 5, 2.5)]),
        ([5, 7], [(1, 5, 7)]),
        ([5, 5, 7, 7], [(2, 5, 7)]),
        ([1.25] * 5 + [1.4] * 5, [(5, 1.25, 1.4)]),
        # Noise: 0.1 mm, or 2 %.
        ([1.25] * 5 + [1.35] * 5, []),
        ([10] * 5 + [10.2] * 5, []),
        # One odd distance, and a rounding pattern, change nothing for good.
        ([5, 5, 6, 4, 5, 5, 5], []),
        ([5, 5, 5, 2, 5, 5, 5], []),
        ([2, 3] * 6, []),
        ([5, 5, 15, 5, 5], []),
        # Two blocks that touch: the step between them is the mean of both distances.
        ([2.5] * 10 + [3.75] + [5] * 12, [(11, 2.5, 5)]),
        ([8] * 9 + [5.5] + [3] * 9, [(10, 8, 3)]),
        # A short block in the middle.
        ([2.5] * 10 + [5] * 4 + [2.5] * 10, [(10, 2.5, 5), (14, 5, 2.5)]),
        ([2] * 6 + [3] * 4 + [5] * 6, [(6, 2, 3), (10, 3, 5)]),
        # A distance that jitters beside the step.
        ([2.5] * 7 + [2.62] + [5] * 8, [(8, 2.5, 5)]),
        # Small, but for good.
        ([5] * 8 + [5.3] * 8, [(8, 5, 5.3)]),
        # One or two odd distances, and those that swing, are no change.
        ([5] * 5 + [7] + [5] * 5, []),
        ([5] * 5 + [7] * 2 + [5] * 5, []),
        ([5, 5, 5, 5, 6, 4, 5, 5, 5, 5], []),
        ([1, 2] * 10, []),
    ],
)
def test_changes_of_spacing(distances: Distances, changes: list[tuple[int, float, float]]) -> None:
    found = [(one.at, one.before_mm, one.after_mm) for one in axis_shares(heights(*distances)).changes]
    assert found == [pytest.approx(change) for change in changes]


def test_a_gap_beside_a_change_hides_neither():
    axis = axis_shares(heights(*[2.5] * 5, 20, *[5] * 5))
    assert [gap.after for gap in axis.gaps] == [5]
    assert [(one.at, one.before_mm, one.after_mm) for one in axis.changes] == [(6, 2.5, 5)]


def test_a_single_slice_stands_for_its_thickness():
    assert axis_shares([7.0], thickness_mm=3).shares_mm == (3,)
    assert axis_shares([7.0], thickness_mm=3).spacing_mm == 3


def test_a_single_slice_of_unknown_thickness_stands_for_nothing_known():
    assert axis_shares([7.0]).shares_mm is None
    assert axis_shares([7.0]).spacing_mm is None


def test_spacing_is_the_median_and_gaps_do_not_move_it():
    assert axis_shares(heights(2, 2, 2, 4, 4)).spacing_mm == 2
    assert axis_shares(heights(5, 20)).spacing_mm == 5


@pytest.mark.parametrize(
    ("distances", "is_even"),
    [([5, 5.05, 4.95], True), ([5, 5.3, 5], False), ([5, 5, 10, 5, 5], False), ([100, 101.9, 100], True)],
)
def test_evenness(distances: Distances, is_even: object) -> None:
    assert axis_shares(heights(*distances)).is_even == is_even


@pytest.mark.parametrize("positions", [[], [1, 1], [2, 1], [0, 1, 1]])
def test_positions_must_ascend(positions: Distances) -> None:
    with pytest.raises(ValueError, match="ascending"):
        axis_shares(positions)


@given(st.lists(st.floats(0.2, 20), min_size=1, max_size=60))
def test_without_gaps_the_shares_fill_the_axis(distances: Distances) -> None:
    axis = axis_shares(heights(*distances))
    if not axis.gaps:
        outer = (axis.distances_mm[0] + axis.distances_mm[-1]) / 2
        assert sum(axis.shares_mm or ()) == pytest.approx(float(np.sum(axis.distances_mm) + outer))


@given(st.lists(st.floats(0.2, 20), min_size=1, max_size=40))
def test_feet_to_head_or_head_to_feet_is_the_same(distances: Distances) -> None:
    upwards, downwards = axis_shares(heights(*distances)), axis_shares(heights(*reversed(distances)))
    assert upwards.shares_mm == pytest.approx(tuple(reversed(downwards.shares_mm or ())))
    assert len(upwards.gaps) == len(downwards.gaps)


@pytest.mark.parametrize("tilt_degrees", [0, 20])
@pytest.mark.parametrize("spacing_mm", [0.625, 1, 1.25, 2.5, 5])
def test_positions_rounded_to_a_tenth_feign_no_change(tilt_degrees: float, spacing_mm: float) -> None:
    normal = np.array([0, np.sin(np.radians(tilt_degrees)), np.cos(np.radians(tilt_degrees))])
    for start in np.random.default_rng(1).uniform(-300, 300, (20, 3)):
        positions = np.round(start + np.arange(60)[:, None] * spacing_mm * normal, 1)
        assert axis_shares(positions @ normal).changes == ()
