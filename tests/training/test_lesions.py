"""Lesions by hand."""

from __future__ import annotations

import numpy as np
import pytest

from sigap_training.evaluation.lesions import Lesions, detect


def masks() -> tuple[np.ndarray, np.ndarray]:
    """Truth: 8, 125 and 1000 voxels; found: one voxel of the second, a corner touching the third, a false pair."""
    truth, found = np.zeros((12, 40, 40), bool), np.zeros((12, 40, 40), bool)
    truth[0:2, 0:2, 0:2] = True
    truth[0:5, 10:15, 10:15] = True
    truth[1:11, 20:30, 20:30] = True
    found[4, 14, 14] = True
    found[1:3, 19:21, 20:22] = True
    found[11, 39, 38:40] = True
    return found, truth


def test_a_hit_is_any_common_voxel() -> None:
    lesions = Lesions.of(*masks())
    assert sorted(lesions.truth_voxels.tolist()) == [8, 125, 1000]
    assert lesions.truth_voxels[lesions.is_hit].tolist() == [125, 1000]
    assert sorted(lesions.found_voxels.tolist()) == [1, 2, 8]
    assert sorted(lesions.found_voxels[lesions.is_right].tolist()) == [1, 8]


def test_corners_connect() -> None:
    mask = np.zeros((2, 2, 2), bool)
    mask[0, 0, 0] = mask[1, 1, 1] = True
    assert Lesions.of(mask, mask).truth_voxels.tolist() == [2]


def test_a_found_piece_over_two_lesions_hits_both_and_is_one_right_piece() -> None:
    truth, found = np.zeros((1, 1, 7), bool), np.zeros((1, 1, 7), bool)
    truth[0, 0, [1, 5]] = True
    found[0, 0, 1:6] = True
    lesions = Lesions.of(found, truth)
    assert lesions.is_hit.tolist() == [True, True]
    assert lesions.is_right.tolist() == [True]


@pytest.mark.parametrize(
    ("size", "truth", "hit", "found", "false"),
    [
        ("all", 3, 2, 3, 1),
        (">= 100", 2, 2, 0, 0),
        ("< 100", 1, 0, 3, 1),
        ("100-999", 1, 1, 0, 0),
        (">= 1000", 1, 1, 0, 0),
    ],
)
def test_each_counts_in_its_own_size_class(size: str, truth: int, hit: int, found: int, false: int) -> None:
    seen = detect([Lesions.of(*masks())], ["a"], size)
    assert (seen.truth, seen.hit, seen.found, seen.false) == (truth, hit, found, false)


def test_figures_by_hand() -> None:
    seen = detect([Lesions.of(*masks())], ["a"], "all")
    assert seen.recall.value == pytest.approx(2 / 3)
    assert seen.precision.value == pytest.approx(2 / 3)
    assert seen.f1.value == pytest.approx(2 / 3)
    assert seen.false_a_patient.value == 1
    assert seen.recall.reason == "one patient"


def test_false_ones_are_counted_by_patient_not_by_case() -> None:
    nothing = Lesions.of(np.zeros((1, 2, 2), bool), np.zeros((1, 2, 2), bool))
    seen = detect([Lesions.of(*masks()), nothing, nothing], ["a", "a", "b"], "all")
    assert seen.false_a_patient.value == pytest.approx(1 / 2)


def test_nothing_true_and_nothing_found() -> None:
    nothing = np.zeros((1, 3, 3), bool)
    seen = detect([Lesions.of(nothing, nothing)], ["a"], "all")
    assert (seen.recall.value, seen.precision.value, seen.f1.value) == (None, None, None)
    missed = detect([Lesions.of(nothing, ~nothing)], ["a"], "all")
    assert (missed.recall.value, missed.precision.value, missed.f1.value) == (0, None, 0)
