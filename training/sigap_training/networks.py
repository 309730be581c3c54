"""The papers' two networks: a residual U-Net with attention for the liver, an attention U-Net for blood.

Both take `[N, K, H, W]` float slices (K neighbouring slices as channels) and return logits `[N, C, H, W]`.
H and W must be multiples of the network's `stride`. `named_networks` builds them, and those of MONAI, by name.

Sources:
    Oktay et al. 2018, Attention U-Net (arXiv:1804.03999); Ronneberger et al. 2015, U-Net (arXiv:1505.04597);
    He et al. 2016, deep residual learning (arXiv:1512.03385).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class AttentionResUNetConfig:
    """Three levels and a bridge of residual blocks. The paper's width is 64: 64-128-256, bridge 512."""

    in_channels: int = 3
    out_channels: int = 2
    width: int = 64
    attention: bool = True

    def __post_init__(self) -> None:
        _refuse_width(self.width)


@dataclass(frozen=True)
class AttentionUNetConfig:
    """Five levels of double convolutions: `width` times 1, 2, 4, 8 and 16."""

    in_channels: int = 1
    out_channels: int = 1
    width: int = 64

    def __post_init__(self) -> None:
        _refuse_width(self.width)


def _refuse_width(width: object) -> None:
    if type(width) is not int or width < 1:
        raise ValueError(f"width {width!r}: a whole number of channels is needed, 1 or more")


class ResidualBlock(nn.Module):
    """Two 3×3 convolutions with batch norm and ReLU, around a shortcut: identity, or 1×1 where the width changes."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels_in, channels_out, 3, padding=1, bias=False)
        self.first_norm = nn.BatchNorm2d(channels_out)
        self.second = nn.Conv2d(channels_out, channels_out, 3, padding=1, bias=False)
        self.second_norm = nn.BatchNorm2d(channels_out)
        is_same = channels_in == channels_out
        self.shortcut = nn.Identity() if is_same else nn.Conv2d(channels_in, channels_out, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.first_norm(self.first(x)))
        y = self.second_norm(self.second(y))
        return torch.relu(y + self.shortcut(x))


class DoubleConvolution(nn.Sequential):
    """Two 3×3 convolutions, each with batch norm and ReLU."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__(
            nn.Conv2d(channels_in, channels_out, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels_out),
            nn.ReLU(),
            nn.Conv2d(channels_out, channels_out, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels_out),
            nn.ReLU(),
        )


class AttentionGate(nn.Module):
    """Weigh a skip connection `x` by what the deeper signal `g`, already at its size, attends to.

    x · sigmoid(psi(relu(theta x + phi g)))
    """

    def __init__(self, x_channels: int, g_channels: int) -> None:
        super().__init__()
        inner = max(x_channels // 2, 1)
        self.theta_x = nn.Conv2d(x_channels, inner, 1, bias=False)
        self.phi_g = nn.Conv2d(g_channels, inner, 1)
        self.psi = nn.Conv2d(inner, 1, 1)

    def forward(self, x: Tensor, g: Tensor) -> Tensor:
        weights = torch.sigmoid(self.psi(torch.relu(self.theta_x(x) + self.phi_g(g))))  # [N, 1, h, w]
        return x * weights


class Ungated(nn.Module):
    """What stands for an attention gate in the baseline: the skip as it is."""

    def forward(self, x: Tensor, g: Tensor) -> Tensor:  # noqa: ARG002 - the gate's arguments
        return x


class AttentionResUNet(nn.Module):
    """Residual U-Net with an attention gate on every skip; `attention=False` is the baseline."""

    stride: Final[int] = 8

    def __init__(self, config: AttentionResUNetConfig) -> None:
        super().__init__()
        w = config.width
        self.pool = nn.MaxPool2d(2)
        self.up = nn.Upsample(scale_factor=2.0, mode="nearest")
        self.down1 = ResidualBlock(config.in_channels, w)
        self.down2 = ResidualBlock(w, 2 * w)
        self.down3 = ResidualBlock(2 * w, 4 * w)
        self.bridge = ResidualBlock(4 * w, 8 * w)
        self.gate3 = AttentionGate(4 * w, 8 * w) if config.attention else Ungated()
        self.up3 = ResidualBlock(4 * w + 8 * w, 4 * w)
        self.gate2 = AttentionGate(2 * w, 4 * w) if config.attention else Ungated()
        self.up2 = ResidualBlock(2 * w + 4 * w, 2 * w)
        self.gate1 = AttentionGate(w, 2 * w) if config.attention else Ungated()
        self.up1 = ResidualBlock(w + 2 * w, w)
        self.head = nn.Conv2d(w, config.out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        x1 = self.down1(x)  # [N, w, H, W]
        x2 = self.down2(self.pool(x1))  # [N, 2w, H/2, W/2]
        x3 = self.down3(self.pool(x2))  # [N, 4w, H/4, W/4]
        g = self.bridge(self.pool(x3))  # [N, 8w, H/8, W/8]

        g = self.up(g)  # [N, 8w, H/4, W/4]
        g = self.up3(torch.cat([self.gate3(x3, g), g], dim=1))  # [N, 4w, H/4, W/4]
        g = self.up(g)  # [N, 4w, H/2, W/2]
        g = self.up2(torch.cat([self.gate2(x2, g), g], dim=1))  # [N, 2w, H/2, W/2]
        g = self.up(g)  # [N, 2w, H, W]
        g = self.up1(torch.cat([self.gate1(x1, g), g], dim=1))  # [N, w, H, W]
        logits: Tensor = self.head(g)  # [N, C, H, W]
        return logits


class AttentionUNet(nn.Module):
    """Attention U-Net of five levels, transposed convolutions upwards."""

    stride: Final[int] = 16

    def __init__(self, config: AttentionUNetConfig) -> None:
        super().__init__()
        w = config.width
        self.deepest_channels = 16 * w
        self.pool = nn.MaxPool2d(2)
        self.down1 = DoubleConvolution(config.in_channels, w)
        self.down2 = DoubleConvolution(w, 2 * w)
        self.down3 = DoubleConvolution(2 * w, 4 * w)
        self.down4 = DoubleConvolution(4 * w, 8 * w)
        self.down5 = DoubleConvolution(8 * w, 16 * w)
        self.rise4 = nn.ConvTranspose2d(16 * w, 8 * w, 2, stride=2)
        self.gate4 = AttentionGate(8 * w, 8 * w)
        self.up4 = DoubleConvolution(16 * w, 8 * w)
        self.rise3 = nn.ConvTranspose2d(8 * w, 4 * w, 2, stride=2)
        self.gate3 = AttentionGate(4 * w, 4 * w)
        self.up3 = DoubleConvolution(8 * w, 4 * w)
        self.rise2 = nn.ConvTranspose2d(4 * w, 2 * w, 2, stride=2)
        self.gate2 = AttentionGate(2 * w, 2 * w)
        self.up2 = DoubleConvolution(4 * w, 2 * w)
        self.rise1 = nn.ConvTranspose2d(2 * w, w, 2, stride=2)
        self.gate1 = AttentionGate(w, w)
        self.up1 = DoubleConvolution(2 * w, w)
        self.head = nn.Conv2d(w, config.out_channels, 1)

    def encode(self, x: Tensor) -> list[Tensor]:
        x1 = self.down1(x)  # [N, w, H, W]
        x2 = self.down2(self.pool(x1))  # [N, 2w, H/2, W/2]
        x3 = self.down3(self.pool(x2))  # [N, 4w, H/4, W/4]
        x4 = self.down4(self.pool(x3))  # [N, 8w, H/8, W/8]
        x5 = self.down5(self.pool(x4))  # [N, 16w, H/16, W/16]
        return [x1, x2, x3, x4, x5]

    def decode(self, levels: list[Tensor]) -> Tensor:
        x1, x2, x3, x4, g = levels
        g = self.rise4(g)  # [N, 8w, H/8, W/8]
        g = self.up4(torch.cat([self.gate4(x4, g), g], dim=1))
        g = self.rise3(g)  # [N, 4w, H/4, W/4]
        g = self.up3(torch.cat([self.gate3(x3, g), g], dim=1))
        g = self.rise2(g)  # [N, 2w, H/2, W/2]
        g = self.up2(torch.cat([self.gate2(x2, g), g], dim=1))
        g = self.rise1(g)  # [N, w, H, W]
        g = self.up1(torch.cat([self.gate1(x1, g), g], dim=1))
        logits: Tensor = self.head(g)  # [N, C, H, W]
        return logits

    def forward(self, x: Tensor) -> Tensor:
        return self.decode(self.encode(x))
