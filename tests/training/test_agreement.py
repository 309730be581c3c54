"""Bland-Altman by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sigap_training.evaluation.agreement import Agreement, draw_agreement


def test_bias_and_limits_by_hand() -> None:
    agreement = Agreement("mL", np.array([11.0, 18.0, 33.0]), np.array([10.0, 20.0, 30.0]), ["a", "b", "c"])
    assert agreement.bias.value == pytest.approx(2 / 3)
    assert agreement.absolute.value == pytest.approx(2)
    spread = np.sqrt(((1 - 2 / 3) ** 2 + (-2 - 2 / 3) ** 2 + (3 - 2 / 3) ** 2) / 2)
    assert agreement.limits == pytest.approx((2 / 3 - 1.96 * spread, 2 / 3 + 1.96 * spread))


def test_two_cases_have_no_limits() -> None:
    agreement = Agreement("mL", np.array([1.0, 2.0]), np.array([1.0, 1.0]), ["a", "b"])
    assert agreement.limits is None
    assert agreement.as_json()["limits_of_agreement"] is None
    assert agreement.as_json()["limits_reason"] == "fewer than 3 cases"


@pytest.mark.parametrize("count", [1, 5])
def test_the_plot_is_a_picture(tmp_path: Path, count: int) -> None:
    truth = np.arange(count, dtype=float)
    draw_agreement(Agreement("mL", truth + 1, truth, ["a"] * count), tmp_path / "plot.png", title="of a test")
    with Image.open(tmp_path / "plot.png") as picture:
        assert picture.width > 400
