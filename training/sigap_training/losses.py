"""Losses over logits of which some channels of some slices are not known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from monai.losses import DiceLoss, TverskyLoss
from pydantic import ConfigDict, Field
from torch import Tensor
from torch.nn import functional as F

Part = Annotated[float, Field(gt=0, lt=1)]
Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]


def focal_tversky(logits: Tensor, target: Tensor, *, fn_weight: float = 0.7, gamma: float = 4 / 3) -> Tensor:
    """(1 - TI)^(1 / gamma), TI over all pixels given.

    TI weighs missed pixels by `fn_weight`, false ones by 1 - `fn_weight`.

    Args:
        logits: [N, 1, H, W].
        target: the same shape, 0..1.
        fn_weight: above a half it favours sensitivity.
        gamma: above one it turns to the badly segmented.

    Returns:
        A scalar.

    Source:
        Abraham & Khan 2018, A novel focal Tversky loss function (arXiv:1810.07842), equations 2 to 4, and
        its gamma.
    """
    tversky = TverskyLoss(sigmoid=True, alpha=1 - fn_weight, beta=fn_weight, batch=True, smooth_nr=1.0, smooth_dr=1.0)
    complement: Tensor = tversky(logits, target)
    return complement.clamp_min(1e-7) ** (1 / gamma)


def cross_entropy(logits: Tensor, target: Tensor, positive_weight: float = 1.0) -> Tensor:
    """Binary cross-entropy, pixels of the label counted `positive_weight` times; [N, 1, H, W] each. A scalar."""
    return F.binary_cross_entropy_with_logits(logits, target, pos_weight=logits.new_tensor(positive_weight))


def bce_dice(logits: Tensor, target: Tensor, *, positive_weight: float = 1.0, by_slice: bool = False) -> Tensor:
    """Binary cross-entropy plus one minus Dice; [N, 1, H, W] each. A scalar.

    Dice is that of all pixels given, or the mean of the slices': a small bleed then counts as much as a large one, and
    in a slice without any the first false pixels cost most.
    """
    dice: Tensor = DiceLoss(sigmoid=True, batch=not by_slice, smooth_nr=1.0, smooth_dr=1.0)(logits, target)
    return cross_entropy(logits, target, positive_weight) + dice


def finding_loss(logits: Tensor, findings: Tensor) -> Tensor:
    """Binary cross-entropy of what is known of whole slices; [N, F] each, findings 0, 1 or negative for unknown."""
    told = findings >= 0
    if not told.any():
        return logits.sum() * 0
    return F.binary_cross_entropy_with_logits(logits[told], findings[told].to(logits.dtype))


def pseudo_loss(logits: Tensor, teacher: Tensor, *, sure: float = 0.75) -> Tensor:
    """Binary cross-entropy against a teacher's mask where it is sure, on slices in which it found anything.

    Args:
        logits: [N, C, H, W], of slices that are known to hold something somewhere.
        teacher: logits of the same shape.
        sure: pixels between 1 - `sure` and `sure` are left out.
    """
    probability = torch.sigmoid(teacher)
    has_found = (probability.amax(dim=(1, 2, 3), keepdim=True) > sure).to(logits.dtype)
    weights = has_found * ((probability > sure) | (probability < 1 - sure)).to(logits.dtype)
    losses = F.binary_cross_entropy_with_logits(logits, (probability > sure).to(logits.dtype), reduction="none")
    return (losses * weights).sum() / weights.sum().clamp_min(1)


def presence_loss(logits: Tensor, is_present: Tensor, *, part: float = 0.002) -> Tensor:
    """Cross-entropy of each slice's most suspicious pixels: what is there must be called somewhere, else nowhere.

    Both answers are needed: told of slices with blood alone, a network finds some in every slice.

    Args:
        logits: [N, C, H, W].
        is_present: [N], whether the slice holds something somewhere.
        part: how much of a slice, at least, it is taken to fill.
    """
    pixels = logits.flatten(1)
    top = pixels.topk(max(1, round(part * pixels.shape[1])), dim=1).values
    target = is_present[:, None].to(top.dtype).expand_as(top)
    return F.binary_cross_entropy_with_logits(top, target)


@dataclass(frozen=True)
class Loss:
    """The loss of a recipe.

    Attributes:
        kinds: for each channel `bce_dice`, `bce_slice_dice` (Dice slice by slice), `focal_tversky`, or
            `focal_tversky_bce`: with cross-entropy, as alone it is blind to empty slices.
        fn_weight, fp_weight: of the focal Tversky loss, for missed and false pixels; together one.
        positive_weight: how many times a pixel of the label counts in cross-entropy: against rare classes.
        finding_weight: of the second head, for slices as a whole.
        presence_weight: of finding anything at all, where a slice's yes or no is all that is known of it, or the no.
        pseudo_weight: of the moving average's own masks on slices that hold something but have no mask.
        pseudo_from: share of the training after which both count.

    Their bounds hold for what is read from a recipe.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    kinds: tuple[str, ...]
    fn_weight: Part = 0.7
    fp_weight: Part | None = None
    positive_weight: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0
    finding_weight: Weight = 0.0
    presence_weight: Weight = 0.0
    pseudo_weight: Weight = 0.0
    pseudo_from: Annotated[float, Field(ge=0, le=1)] = 0.3

    def __post_init__(self) -> None:
        if self.fp_weight is not None and abs(self.fn_weight + self.fp_weight - 1) > 1e-6:
            raise ValueError(f"fn_weight {self.fn_weight} and fp_weight {self.fp_weight} do not add up to 1")
        strange = set(self.kinds) - {"bce_dice", "bce_slice_dice", "focal_tversky", "focal_tversky_bce"}
        if strange:
            raise ValueError(f"no loss is called {', '.join(sorted(strange))}")

    def __call__(self, logits: Tensor, masks: Tensor, known: Tensor) -> Tensor:
        """Add up the channels, each over the slices whose mask is known.

        Args:
            logits: [N, C, H, W].
            masks: the same shape, 0..1.
            known: bool [N, C].
        """
        total = logits.sum() * 0
        for channel, kind in enumerate(self.kinds):
            rows, place = known[:, channel], slice(channel, channel + 1)
            if rows.any():
                total = total + self._masked(kind, logits[rows, place], masks[rows, place])
        return total

    def _masked(self, kind: str, logits: Tensor, masks: Tensor) -> Tensor:
        if kind in {"bce_dice", "bce_slice_dice"}:
            by_slice = kind == "bce_slice_dice"
            return bce_dice(logits, masks, positive_weight=self.positive_weight, by_slice=by_slice)
        loss = focal_tversky(logits, masks, fn_weight=self.fn_weight)
        return loss if kind == "focal_tversky" else loss + cross_entropy(logits, masks, self.positive_weight)
