"""Losses against values by hand."""

from __future__ import annotations

import math

import pytest
import torch

from sigap_training.losses import Loss, bce_dice, focal_tversky, slice_label

SURE = 50.0  # a logit whose sigmoid is one to the last bit


def _logits(*shares: float) -> torch.Tensor:
    return torch.logit(torch.tensor(shares, dtype=torch.float32).clamp(1e-20, 1)).clamp(-SURE, SURE).view(1, 1, 1, -1)


def _target(*shares: float) -> torch.Tensor:
    return torch.tensor(shares, dtype=torch.float32).view(1, 1, 1, -1)


def test_focal_tversky_by_hand() -> None:
    # Two hits, one false pixel, one missed; 1 is added above and below.
    tversky = (2 + 1) / (2 + 0.7 * 1 + 0.3 * 1 + 1)
    loss = focal_tversky(_logits(1, 1, 1, 0, 0), _target(1, 1, 0, 1, 0), fn_weight=0.7, gamma=4 / 3)
    assert float(loss) == pytest.approx((1 - tversky) ** 0.75, abs=1e-5)


def test_a_missed_pixel_costs_more_than_a_false_one() -> None:
    missed = focal_tversky(_logits(1, 0, 0), _target(1, 1, 0))
    false = focal_tversky(_logits(1, 1, 0), _target(1, 0, 0))
    assert missed > false


def test_bce_dice_by_hand() -> None:
    dice = (2 * 0.5 + 1) / (1.0 + 1.0 + 1)  # both pixels at one half, one of them true
    assert float(bce_dice(_logits(0.5, 0.5), _target(1, 0))) == pytest.approx(math.log(2) + 1 - dice, abs=1e-5)


def test_a_perfect_answer_costs_next_to_nothing() -> None:
    logits, target = _logits(1, 0, 0), _target(1, 0, 0)
    assert float(bce_dice(logits, target)) == pytest.approx(0, abs=1e-4)
    assert float(focal_tversky(logits, target)) < 1e-3


def test_a_slice_label_asks_for_its_brightest_pixels_only() -> None:
    logits = torch.tensor([[2.0, 0.0, -9.0, -9.0]]).view(1, 1, 2, 2)
    assert float(slice_label(logits, torch.ones(1), share=0.5)) == pytest.approx(math.log(1 + math.exp(-1)), abs=1e-5)


def test_unlabelled_tumour_is_skipped() -> None:
    loss = Loss(kinds=("bce_dice", "focal_tversky"))
    logits = torch.randn(2, 2, 4, 4, requires_grad=True)
    masks = torch.zeros(2, 2, 4, 4)
    known = torch.tensor([[True, True], [True, False]])
    loss(logits, masks, known, torch.tensor([[1, 1], [1, -1]])).backward()
    assert logits.grad is not None
    assert logits.grad[0, 1].abs().sum() > 0
    assert logits.grad[1, 1].abs().sum() == 0
    assert logits.grad[1, 0].abs().sum() > 0


def test_a_batch_of_which_nothing_is_known_costs_nothing() -> None:
    logits = torch.randn(2, 1, 4, 4, requires_grad=True)
    nothing = torch.zeros(2, 1, dtype=torch.bool)
    loss = Loss(kinds=("bce_dice",), slice_weight=1.0)(logits, torch.zeros(2, 1, 4, 4), nothing, torch.full((2, 1), -1))
    loss.backward()
    assert float(loss.detach()) == 0


def test_an_unknown_kind_is_named() -> None:
    with pytest.raises(ValueError, match="'hinge'"):
        Loss(kinds=("hinge",))(torch.zeros(1, 1, 2, 2), torch.zeros(1, 1, 2, 2), torch.ones(1, 1) > 0, torch.ones(1, 1))
