"""Overlap by hand."""

from __future__ import annotations

import numpy as np
import pytest

from sigap_training.evaluation.overlap import POOLED, Overlap


def test_four_voxels_by_hand() -> None:
    found, truth = np.array([[[1, 1, 0, 0, 0]]], bool), np.array([[[1, 0, 1, 1, 0]]], bool)
    overlap = Overlap.of(found, truth)
    assert overlap == Overlap(both=1, found_only=1, truth_only=2, neither=1)
    assert overlap.dice == pytest.approx(2 / 5)
    assert overlap.accuracy == pytest.approx(2 / 5)
    assert overlap.precision == pytest.approx(1 / 2)
    assert overlap.recall == pytest.approx(1 / 3)


def test_empty_masks() -> None:
    nothing, something = np.zeros((1, 1, 3), bool), np.ones((1, 1, 3), bool)
    both_empty = Overlap.of(nothing, nothing)
    assert (both_empty.dice, both_empty.accuracy, both_empty.precision, both_empty.recall) == (1, 1, None, None)
    assert Overlap.of(something, nothing).dice == 0
    assert Overlap.of(something, nothing).recall is None
    assert Overlap.of(nothing, something).precision is None
    assert Overlap.of(nothing, something).is_true


def test_pooled_figures_are_those_of_all_voxels_in_one_mask() -> None:
    random = np.random.default_rng(2)
    found, truth = random.random((2, 3, 4, 5)) < 0.4, random.random((2, 3, 4, 5)) < 0.3
    cases = [Overlap.of(mine, true) for mine, true in zip(found, truth, strict=True)]
    sums = np.array([case.as_row() for case in cases]).sum(axis=0)
    whole = Overlap.of(found.reshape(6, 4, 5), truth.reshape(6, 4, 5))
    for name in ("dice", "accuracy", "precision", "recall"):
        assert POOLED[name](sums) == pytest.approx(getattr(whole, name))


def test_pooled_figures_of_nothing_are_undefined_but_for_accuracy() -> None:
    sums = np.array(Overlap(0, 0, 0, 9).as_row())
    assert np.isnan(POOLED["dice"](sums))
    assert np.isnan(POOLED["precision"](sums))
    assert np.isnan(POOLED["recall"](sums))
    assert POOLED["accuracy"](sums) == 1
