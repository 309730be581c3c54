"""A second head on a U-Net: what is known of slices as a whole."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sigap_training.efficient_unet import EfficientUNet
from sigap_training.networks import AttentionUNet


class WithFindings(nn.Module):
    """A U-Net of five levels with a second head: a yes or no for the slice as a whole, from the deepest level.

    Slices of which only a label is known teach the encoder what blood looks like. Returns logits `[N, C, H, W]` and
    findings `[N, F]`, logits too.
    """

    def __init__(self, unet: AttentionUNet | EfficientUNet, findings: int, *, dropout: float = 0.2) -> None:
        super().__init__()
        self.unet = unet
        self.stride = unet.stride
        self.findings = nn.Sequential(nn.Dropout(dropout), nn.Linear(2 * unet.deepest_channels, findings))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        levels = self.unet.encode(x)
        deepest = levels[4]
        summary = torch.cat([deepest.mean(dim=[2, 3]), deepest.amax(dim=[2, 3])], dim=1)  # twice its channels
        return self.unet.decode(levels), self.findings(summary)
