"""Losses against values by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from pydantic import TypeAdapter, ValidationError

from sigap_training.losses import Loss, bce_dice, cross_entropy, finding_loss, focal_tversky, presence_loss, pseudo_loss

SURE = 50.0  # a logit whose sigmoid is one to the last bit


def _logits(*shares: float) -> torch.Tensor:
    return torch.logit(torch.tensor(shares, dtype=torch.float32).clamp(1e-20, 1)).clamp(-SURE, SURE).view(1, 1, 1, -1)


def _target(*shares: float) -> torch.Tensor:
    return torch.tensor(shares, dtype=torch.float32).view(1, 1, 1, -1)


def test_focal_tversky_by_hand() -> None:
    # Three hits, one false pixel, two missed; 1 is added above and below.
    tversky = (3 + 1) / (3 + 0.7 * 2 + 0.3 * 1 + 1)
    loss = focal_tversky(_logits(1, 1, 1, 1, 0, 0, 0), _target(1, 1, 1, 0, 1, 1, 0), fn_weight=0.7, gamma=4 / 3)
    assert float(loss) == pytest.approx((1 - tversky) ** 0.75, abs=1e-5)


def test_focal_tversky_is_over_the_whole_batch() -> None:
    logits, target = _logits(1, 1, 0, 0).view(2, 1, 1, 2), _target(1, 0, 1, 0).view(2, 1, 1, 2)
    tversky = (1 + 1) / (1 + 0.6 + 0.4 + 1)
    assert float(focal_tversky(logits, target, fn_weight=0.6, gamma=2.0)) == pytest.approx((1 - tversky) ** 0.5)


def test_a_missed_pixel_costs_more_than_a_false_one() -> None:
    missed = focal_tversky(_logits(1, 0, 0), _target(1, 1, 0))
    false = focal_tversky(_logits(1, 1, 0), _target(1, 0, 0))
    assert missed > false


def test_half_and_half_is_dice() -> None:
    missed = focal_tversky(_logits(1, 0, 0), _target(1, 1, 0), fn_weight=0.5, gamma=1.0)
    assert float(missed) == pytest.approx(1 - (1 + 1) / (1 + 0.5 + 1))


def test_bce_dice_by_hand() -> None:
    dice = (2 * 0.5 + 1) / (1.0 + 1.0 + 1)  # both pixels at one half, one of them true
    assert float(bce_dice(_logits(0.5, 0.5), _target(1, 0))) == pytest.approx(math.log(2) + 1 - dice, abs=1e-5)


def test_a_weighted_class_counts_more_where_it_is() -> None:
    by_hand = (3 * -math.log(0.25) - math.log(0.5)) / 2
    assert float(cross_entropy(_logits(0.25, 0.5), _target(1, 0), 3.0)) == pytest.approx(by_hand, abs=1e-5)


def test_a_perfect_answer_costs_next_to_nothing() -> None:
    logits, target = _logits(1, 0, 0), _target(1, 0, 0)
    assert float(bce_dice(logits, target)) == pytest.approx(0, abs=1e-4)
    assert float(focal_tversky(logits, target)) < 1e-3


class TestFindingLoss:
    def test_it_averages_over_what_is_known(self) -> None:
        logits = torch.logit(torch.tensor([[0.8, 0.5], [0.3, 0.9]]))
        loss = finding_loss(logits, torch.tensor([[1, -1], [0, -1]], dtype=torch.int8))
        assert float(loss) == pytest.approx((-math.log(0.8) - math.log(0.7)) / 2)

    def test_the_unknown_has_no_gradient(self) -> None:
        logits = torch.zeros(2, 2, requires_grad=True)
        finding_loss(logits, torch.tensor([[1, -1], [-1, 0]], dtype=torch.int8)).backward()
        assert logits.grad is not None
        assert logits.grad.tolist() == [[-0.25, 0.0], [0.0, 0.25]]

    def test_where_nothing_is_known_it_is_nothing_that_can_go_backward(self) -> None:
        logits = torch.randn(2, 3, requires_grad=True)
        loss = finding_loss(logits, torch.full((2, 3), -1, dtype=torch.int8))
        loss.backward()
        assert float(loss.detach()) == 0
        assert logits.grad is not None
        assert not logits.grad.any()


class TestPseudoLoss:
    def test_only_sure_pixels_count(self) -> None:
        logits = torch.zeros(1, 1, 1, 4, requires_grad=True)
        loss = pseudo_loss(logits, _logits(0.9, 0.6, 0.4, 0.1), sure=0.75)
        loss.backward()
        assert float(loss.detach()) == pytest.approx(math.log(2))
        assert logits.grad is not None
        assert logits.grad.flatten().tolist() == [-0.25, 0.0, 0.0, 0.25]

    def test_a_slice_in_which_the_teacher_found_nothing_does_not_count(self) -> None:
        """It is known to hold something: the teacher's empty mask is wrong."""
        logits = torch.zeros(2, 1, 1, 2, requires_grad=True)
        teacher = torch.cat([_logits(0.6, 0.1), _logits(0.9, 0.1)])
        pseudo_loss(logits, teacher).backward()
        assert logits.grad is not None
        assert logits.grad.flatten().tolist() == [0.0, 0.0, -0.25, 0.25]

    def test_a_teacher_without_any_idea_teaches_nothing(self) -> None:
        logits = torch.randn(2, 1, 2, 2, requires_grad=True)
        loss = pseudo_loss(logits, torch.zeros(2, 1, 2, 2))
        loss.backward()
        assert float(loss.detach()) == 0


class TestLoss:
    def test_unlabelled_tumour_is_skipped(self) -> None:
        loss = Loss(kinds=("bce_dice", "focal_tversky"))
        logits = torch.randn(2, 2, 4, 4, requires_grad=True)
        known = torch.tensor([[True, True], [True, False]])
        loss(logits, torch.zeros(2, 2, 4, 4), known).backward()
        assert logits.grad is not None
        assert logits.grad[0, 1].abs().sum() > 0
        assert logits.grad[1, 1].abs().sum() == 0
        assert logits.grad[1, 0].abs().sum() > 0

    def test_what_is_unknown_does_not_dilute_what_is_known(self) -> None:
        loss = Loss(kinds=("bce_dice",))
        logits, masks = torch.randn(3, 1, 4, 4), torch.rand(3, 1, 4, 4).round()
        some = loss(logits, masks, torch.tensor([[True], [False], [True]]))
        torch.testing.assert_close(some, bce_dice(logits[[0, 2]], masks[[0, 2]]))

    def test_a_batch_of_which_nothing_is_known_costs_nothing(self) -> None:
        logits = torch.randn(2, 1, 4, 4, requires_grad=True)
        nothing = torch.zeros(2, 1, dtype=torch.bool)
        loss = Loss(kinds=("bce_dice",))(logits, torch.zeros(2, 1, 4, 4), nothing)
        loss.backward()
        assert float(loss.detach()) == 0

    def test_channels_add_up_each_with_its_kind(self) -> None:
        logits, masks = torch.randn(2, 3, 4, 4), torch.rand(2, 3, 4, 4).round()
        kinds = ("bce_dice", "focal_tversky", "focal_tversky_bce")
        total = Loss(kinds=kinds, fn_weight=0.6, positive_weight=2.0)(logits, masks, torch.ones(2, 3) > 0)
        parts = [
            bce_dice(logits[:, :1], masks[:, :1], positive_weight=2.0),
            focal_tversky(logits[:, 1:2], masks[:, 1:2], fn_weight=0.6),
            focal_tversky(logits[:, 2:], masks[:, 2:], fn_weight=0.6),
            cross_entropy(logits[:, 2:], masks[:, 2:], 2.0),
        ]
        torch.testing.assert_close(total, torch.stack(parts).sum())

    def test_the_two_weights_add_up_to_one(self) -> None:
        assert Loss(kinds=("focal_tversky",), fn_weight=0.7, fp_weight=0.3).fn_weight == 0.7
        with pytest.raises(ValueError, match=r"fn_weight 0\.7 and fp_weight 0\.4 do not add up to 1"):
            Loss(kinds=("focal_tversky",), fn_weight=0.7, fp_weight=0.4)

    def test_an_unknown_kind_is_named(self) -> None:
        with pytest.raises(ValueError, match="hinge"):
            Loss(kinds=("bce_dice", "hinge"))


@pytest.mark.parametrize(
    ("entry", "values"),
    [
        ("fn_weight", [0, 1, 7, -0.1, math.nan]),
        ("fp_weight", [0, 1, math.nan]),
        ("positive_weight", [0, -1, math.inf]),
        ("finding_weight", [-0.1, math.nan, math.inf]),
        ("pseudo_weight", [-0.1, math.inf]),
        ("pseudo_from", [-0.1, 1.1]),
    ],
)
def test_a_weight_beyond_its_bounds_is_refused_by_name(entry: str, values: list[Any]) -> None:
    for value in values:
        with pytest.raises(ValidationError, match=rf"(?m)^{entry}"):
            TypeAdapter(Loss).validate_python({"kinds": ["bce_dice"], entry: value})


def test_weights_at_their_bounds_are_taken() -> None:
    edges = {"finding_weight": 0, "pseudo_weight": 0, "pseudo_from": 1, "fp_weight": 0.3}
    assert TypeAdapter(Loss).validate_python({"kinds": ["bce_dice"], **edges}).pseudo_from == 1


def test_what_is_there_must_be_called_somewhere_else_nowhere() -> None:
    """The more suspicious half of each slice counts: 0.5 and 0.2 of a yes, 0.1 and 0.4 of a no."""
    logits = torch.cat([_logits(0.5, 0.2, 0.1, 0.01), _logits(0.1, 0.4, 0.05, 0.05)])
    by_hand = -(math.log(0.5) + math.log(0.2) + math.log(0.9) + math.log(0.6)) / 4
    assert float(presence_loss(logits, torch.tensor([True, False]), part=0.5)) == pytest.approx(by_hand, abs=1e-5)


def test_presence_moves_the_most_suspicious_pixels_alone() -> None:
    logits = _logits(0.01, 0.2, 0.1, 0.05).requires_grad_()
    presence_loss(logits, torch.tensor([True]), part=0.01).backward()
    assert logits.grad is not None
    assert (logits.grad.flatten() != 0).tolist() == [False, True, False, False]
