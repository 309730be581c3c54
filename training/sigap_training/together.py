"""Exported models that answer as one: the mean of their logits."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Together(nn.Module):
    """Windowed bytes in, probabilities as bytes out, as each of them.

    Models that were trained apart miss and invent different things: what one alone is a little sure of does not pass.

    Args:
        models: each takes uint8 [N, K, H, W] and returns uint8 [N, C, H, W], round(255 p), all of the same C.
    """

    def __init__(self, *models: nn.Module) -> None:
        super().__init__()
        self.models = nn.ModuleList(models)
        self.share = 1.0 / len(models)

    def forward(self, SLICES: Tensor) -> Tensor:  # noqa: N803 - as config.pbtxt names it
        """Map uint8 [N, K, H, W] to uint8 [N, C, H, W] at the same H and W."""
        mean = torch.zeros(1, device=SLICES.device)
        for model in self.models:
            mean = mean + self.share * _logits(model(SLICES))
        return torch.round(torch.sigmoid(mean) * 255.0).to(torch.uint8)


def _logits(answer: Tensor) -> Tensor:
    """Of round(255 p); 0 and 255 stand for all below and above: they are taken half a step from the end."""
    return torch.logit(answer.to(torch.float32).clamp(0.5, 254.5) / 255.0)
