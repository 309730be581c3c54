"""Scores by hand."""

from __future__ import annotations

import numpy as np
import pytest

from sigap_training.scores import bootstrap_interval, dice, dice_by_threshold, histogram, wilson_interval


def test_dice_by_hand() -> None:
    found, truth = np.array([[1, 1, 0, 0]], bool), np.array([[1, 0, 1, 1]], bool)
    assert dice(found, truth) == pytest.approx(2 / 5)
    assert dice(truth, truth) == 1
    assert dice(np.zeros(3, bool), np.zeros(3, bool)) == 1
    assert dice(np.ones(3, bool), np.zeros(3, bool)) == 0


def test_every_threshold_from_one_histogram() -> None:
    random = np.random.default_rng(1)
    probabilities = random.integers(0, 256, (4, 5, 6), np.uint8)
    truth = random.random((4, 5, 6)) < 0.3
    curve = dice_by_threshold(histogram(probabilities, truth))
    for lowest in (1, 77, 128, 255):
        assert curve[lowest] == pytest.approx(dice(probabilities >= lowest, truth))


def test_the_bootstrap_lies_around_the_mean_and_repeats() -> None:
    values = [0.1, 0.5, 0.9, 0.7]
    low, high = bootstrap_interval(values)
    assert 0.1 <= low < np.mean(values) < high <= 0.9
    assert bootstrap_interval(values) == (low, high)
    assert bootstrap_interval([0.4]) == pytest.approx((0.4, 0.4))


def test_wilson_by_hand() -> None:
    assert wilson_interval(0, 60) == pytest.approx((0, 0.0602), abs=1e-3)
    assert wilson_interval(30, 60) == pytest.approx((0.377, 0.623), abs=1e-3)
