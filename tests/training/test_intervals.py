"""Intervals by hand, and when there is none."""

from __future__ import annotations

import math

import numpy as np
import pytest

from sigap_training.evaluation.intervals import Estimate, bootstrap, mean, ratio, share, wilson


def test_wilson_by_hand() -> None:
    assert wilson(0, 60) == pytest.approx((0, 0.0602), abs=1e-3)
    assert wilson(30, 60) == pytest.approx((0.377, 0.623), abs=1e-3)


def test_the_bootstrap_lies_around_the_mean_and_repeats() -> None:
    found = mean([0.1, 0.5, 0.9, 0.7, 0.3], list("abcde"))
    assert found.value == pytest.approx(0.5)
    assert found.low is not None
    assert found.high is not None
    assert 0.1 <= found.low < 0.5 < found.high <= 0.9
    assert mean([0.1, 0.5, 0.9, 0.7, 0.3], list("abcde")) == found


def test_two_patients_are_drawn_with_all_their_cases() -> None:
    # Patient a has mean 0, patient b mean 1: draws give 0, 2/3 or 1/3-ish mixtures, never anything between a's cases.
    found = mean([0.0, 0.0, 0.0, 1.0], ["a", "a", "a", "b"])
    assert found.value == pytest.approx(0.25)
    assert (found.low, found.high) == (0.0, 1.0)
    assert found.patients == 2
    assert found.reason == "rough: 2 patients"


def test_more_slices_of_a_patient_make_nothing_surer() -> None:
    few = mean([0.2, 0.4, 0.6, 0.8, 1.0], list("abcde"))
    many = mean(
        [value for value in (0.2, 0.4, 0.6, 0.8, 1.0) for _ in range(50)], [who for who in "abcde" for _ in range(50)]
    )
    assert (many.low, many.high) == pytest.approx((few.low, few.high))


def test_one_patient_has_no_interval() -> None:
    assert mean([0.2, 0.9], ["a", "a"]) == Estimate(0.55, count=2, patients=1, reason="one patient")
    assert share([True, False], ["a", "a"]) == Estimate(0.5, count=2, patients=1, reason="one patient")


def test_patients_that_are_all_alike_have_no_interval() -> None:
    found = mean([0.0, 0.0, 0.0], list("abc"))
    assert (found.value, found.low, found.high, found.reason) == (0.0, None, None, "all patients alike")


def test_undefined_values_are_left_out_and_counted_out() -> None:
    found = mean([None, 1.0, None], list("abc"))
    assert (found.value, found.count, found.patients) == (1.0, 1, 1)
    assert mean([None], ["a"]) == Estimate(None, reason="none to count")
    assert mean([], []) == Estimate(None, reason="none to count")


def test_draws_in_which_a_figure_is_undefined_are_left_out() -> None:
    # Only patient a has anything in the denominator: draws without it are nan.
    rows = np.array([[1.0, 2.0], [0.0, 0.0], [0.0, 0.0]])
    found = bootstrap(rows, list("abc"), ratio)
    assert found.value == 0.5
    assert found.reason == "all patients alike"


def test_a_share_of_one_slice_a_patient_has_wilsons_interval() -> None:
    found = share([True] * 3 + [False], list("abcd"))
    assert (found.value, found.count, found.patients, found.reason) == (0.75, 4, 4, None)
    assert (found.low, found.high) == pytest.approx(wilson(3, 4))
    assert share([], []).value is None


def test_a_share_of_several_slices_a_patient_is_as_sure_as_its_patients() -> None:
    # Five patients of 100 slices each, of which a patient's are all hit or all missed.
    found = share([who in "abc" for who in "abcde" for _ in range(100)], [who for who in "abcde" for _ in range(100)])
    assert (found.value, found.count, found.patients, found.reason) == (0.6, 500, 5, None)
    assert found == mean([1.0] * 300 + [0.0] * 200, [who for who in "abcde" for _ in range(100)])
    assert found.low is not None
    assert found.low <= 0.2 < wilson(300, 500)[0]


def test_slices_that_are_all_hit_have_the_interval_of_as_many_as_patients() -> None:
    found = share([True] * 40, [who for who in "abcd" for _ in range(10)])
    assert (found.value, found.low, found.high) == (1.0, *wilson(4, 4))
    assert found.low == pytest.approx(4 / (4 + 1.959964**2))
    assert found.reason == "all patients alike: as of one each of 4"


def test_a_ratio_by_nothing_is_undefined() -> None:
    assert math.isnan(float(ratio(np.array([3.0, 0.0]))))
