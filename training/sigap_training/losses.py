"""Losses over logits of which some channels of some slices are not known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from monai.losses import DiceLoss, TverskyLoss
from pydantic import ConfigDict
from torch import Tensor
from torch.nn import functional as F


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


def bce_dice(logits: Tensor, target: Tensor) -> Tensor:
    """Binary cross-entropy plus one minus Dice over all pixels given; [N, 1, H, W] each. A scalar."""
    dice: Tensor = DiceLoss(sigmoid=True, batch=True, smooth_nr=1.0, smooth_dr=1.0)(logits, target)
    return F.binary_cross_entropy_with_logits(logits, target) + dice


def slice_label(logits: Tensor, positive: Tensor, *, share: float = 0.002) -> Tensor:
    """Cross-entropy of a slice's yes or no against the mean logit of its brightest `share` of pixels.

    Weak supervision: a slice known to hold blood must show some, wherever it is.

    Args:
        logits: [N, 1, H, W].
        positive: [N], 0 or 1.
        share: of the pixels that must be marked in a positive slice.
    """
    pixels = logits.flatten(1)
    top = pixels.topk(max(1, round(share * pixels.shape[1])), dim=1).values.mean(dim=1)
    return F.binary_cross_entropy_with_logits(top, positive)


@dataclass(frozen=True)
class Loss:
    """The loss of a recipe.

    Attributes:
        kinds: for each channel `bce_dice` or `focal_tversky`; to this cross-entropy is added, as alone it is blind
            to empty slices.
        fn_weight: of the focal Tversky loss.
        slice_weight: of the slice labels; 0 leaves them out.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    kinds: tuple[str, ...]
    fn_weight: float = 0.7
    slice_weight: float = 0.0

    def __call__(self, logits: Tensor, masks: Tensor, known: Tensor, positive: Tensor) -> Tensor:
        """Add up the channels, each over the slices whose mask is known.

        Args:
            logits: [N, C, H, W].
            masks: the same shape, 0..1.
            known: bool [N, C].
            positive: [N, C]: 0, 1 or negative for unknown.
        """
        total = logits.sum() * 0
        for channel, kind in enumerate(self.kinds):
            rows, place = known[:, channel], slice(channel, channel + 1)
            if rows.any():
                total = total + self._masked(kind, logits[rows, place], masks[rows, place])
            told = positive[:, channel] >= 0
            if self.slice_weight > 0 and told.any():
                yes = positive[told, channel].to(logits.dtype)
                total = total + self.slice_weight * slice_label(logits[told, place], yes)
        return total

    def _masked(self, kind: str, logits: Tensor, masks: Tensor) -> Tensor:
        if kind == "bce_dice":
            return bce_dice(logits, masks)
        if kind == "focal_tversky":
            cross_entropy = F.binary_cross_entropy_with_logits(logits, masks)
            return focal_tversky(logits, masks, fn_weight=self.fn_weight) + cross_entropy
        raise ValueError(f"no loss is called {kind!r}")
