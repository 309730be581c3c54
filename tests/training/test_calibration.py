"""Calibration and thresholds by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sigap_training.evaluation.calibration import Calibration, bce_dice_loss, draw_calibration, histogram
from sigap_training.evaluation.overlap import Overlap
from sigap_training.evaluation.threshold import ThresholdCurve, dice_by_threshold, draw_threshold, lowest_byte
from sigap_training.losses import bce_dice

SURE = np.array([[[0, 0, 0, 255]]], np.uint8)
TRUTH = np.array([[[0, 0, 0, 1]]], bool)


def test_a_histogram_counts_every_voxel_once() -> None:
    counts = histogram(np.array([[[0, 7, 7]], [[7, 255, 0]]], np.uint8), np.array([[[0, 1, 0]], [[1, 1, 0]]], bool))
    assert counts[0, [0, 7, 255]].tolist() == [2, 1, 0]
    assert counts[1, [0, 7, 255]].tolist() == [0, 2, 1]
    assert counts.sum() == 6


def test_a_model_that_is_sure_and_right_has_no_error() -> None:
    assert Calibration.of(histogram(SURE, TRUTH)).error() == 0


def test_a_model_that_is_sure_and_wrong_has_the_largest() -> None:
    assert Calibration.of(histogram(255 - SURE, TRUTH)).error() == 1


def test_error_by_hand() -> None:
    # Three voxels that say 0, none of them true; two that say 0.8 (204 of 255), one of them true.
    probabilities = np.array([[[0, 0, 0, 204, 204]]], np.uint8)
    calibration = Calibration.of(histogram(probabilities, np.array([[[0, 0, 0, 1, 0]]], bool)))
    assert calibration.voxels.tolist() == [3, 0, 0, 0, 0, 0, 0, 0, 2, 0]
    assert calibration.stated[8] == pytest.approx(0.8)
    assert calibration.observed[8] == 0.5
    assert calibration.error() == pytest.approx(0.3 * 2 / 5)
    assert calibration.error(1) == pytest.approx(0.3)
    assert calibration.as_json()["bins"][1] == {"voxels": 0, "stated": None, "observed": None}


def test_without_voxels_above_a_tenth_there_is_no_error_of_them() -> None:
    assert Calibration.of(histogram(np.zeros((1, 2, 2), np.uint8), np.zeros((1, 2, 2), bool))).error(1) is None


def test_the_loss_is_that_of_training() -> None:
    random = np.random.default_rng(2)
    probabilities, truth = random.integers(0, 256, (3, 5, 6), np.uint8), random.random((3, 5, 6)) < 0.3
    probabilities[0, 0, :2] = 0, 255
    stated = torch.from_numpy(np.clip(probabilities / 255, 1 / 510, 1 - 1 / 510))[:, None]
    expected = bce_dice(torch.logit(stated), torch.from_numpy(truth[:, None].astype(float)))
    assert bce_dice_loss(histogram(probabilities, truth))["sum"] == pytest.approx(float(expected))


def test_loss_by_hand() -> None:
    # A voxel outside and one inside that both say 0.2 (51 of 255): 0.2 of 0.4 and 1 are common.
    loss = bce_dice_loss(histogram(np.full((1, 1, 2), 51, np.uint8), np.array([[[0, 1]]], bool)))
    assert loss["binary_cross_entropy"] == pytest.approx(-(np.log(0.8) + np.log(0.2)) / 2)
    assert loss["dice"] == pytest.approx(1 - (2 * 0.2 + 1) / (0.4 + 1 + 1))
    assert loss["sum"] == loss["binary_cross_entropy"] + loss["dice"]


def test_every_threshold_from_one_histogram() -> None:
    random = np.random.default_rng(1)
    probabilities = random.integers(0, 256, (4, 5, 6), np.uint8)
    truth = random.random((4, 5, 6)) < 0.3
    curve = dice_by_threshold(histogram(probabilities, truth))
    for lowest in (1, 77, 128, 255):
        assert curve[lowest] == pytest.approx(Overlap.of(probabilities >= lowest, truth).dice)


def test_cases_with_and_without_the_label_count_apart() -> None:
    empty = histogram(np.array([[[0, 100]]], np.uint8), np.zeros((1, 1, 2), bool))
    curve = ThresholdCurve.of([histogram(SURE, TRUTH), empty], chosen=0.5)
    assert curve.a_case[lowest_byte(0.5)] == 1
    assert curve.called_without[[1, 100, 101]].tolist() == [1, 1, 0]
    row = curve.as_json()["curve"][1]
    assert row["threshold"] == 0.1
    assert (row["a_case"], row["called_without"]) == (1, 1)
    assert row["pooled"] == pytest.approx(2 / 3)


def test_without_a_case_that_has_it_there_is_no_curve_a_case() -> None:
    curve = ThresholdCurve.of([histogram(SURE, np.zeros((1, 1, 4), bool))], chosen=0.5)
    assert curve.as_json()["curve"][0]["a_case"] is None


def test_figures_are_pictures(tmp_path: Path) -> None:
    counts = histogram(SURE, TRUTH)
    draw_calibration(Calibration.of(counts), tmp_path / "new" / "calibration.png", title="of a test")
    draw_threshold(ThresholdCurve.of([counts], chosen=0.5), tmp_path / "threshold.png", title="of a test")
    empty = ThresholdCurve.of([histogram(SURE, np.zeros((1, 1, 4), bool))], chosen=0.5)
    draw_threshold(empty, tmp_path / "empty.png", title="of a test without the label")
    for name in ("new/calibration.png", "threshold.png", "empty.png"):
        with Image.open(tmp_path / name) as picture:
            assert picture.width > 400
