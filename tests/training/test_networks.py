"""The networks: shapes, parts and gradients."""

from __future__ import annotations

from typing import Any

import monai.networks.nets
import pytest
import torch
from torch import nn

from sigap_training.named_networks import build_network
from sigap_training.networks import (
    AttentionGate,
    AttentionResUNet,
    AttentionResUNetConfig,
    AttentionUNet,
    AttentionUNetConfig,
    ResidualBlock,
)
from sigap_training.second_head import WithFindings

MONAI = {
    "UNet": {"channels": [4, 8, 16, 32], "strides": [2, 2, 2], "num_res_units": 2, "norm": "BATCH"},
    "AttentionUnet": {"channels": [4, 8, 16, 32], "strides": [2, 2, 2]},
    "DynUNet": {
        "kernel_size": [3, 3, 3, 3],
        "strides": [1, 2, 2, 2],
        "upsample_kernel_size": [2, 2, 2],
        "filters": [4, 8, 16, 32],
        "res_block": False,
    },
}


def _count(network: nn.Module) -> int:
    return sum(weights.numel() for weights in network.parameters())


@pytest.mark.parametrize(
    "network",
    [
        AttentionResUNet(AttentionResUNetConfig(in_channels=3, out_channels=2, width=4)),
        AttentionResUNet(AttentionResUNetConfig(in_channels=3, out_channels=2, width=4, attention=False)),
        AttentionUNet(AttentionUNetConfig(in_channels=3, out_channels=2, width=4)),
    ],
    ids=["attention_res_unet", "baseline", "attention_unet"],
)
def test_logits_have_the_size_of_the_slice_and_reach_every_weight(network: AttentionResUNet | AttentionUNet) -> None:
    slices = torch.randn(2, 3, 3 * network.stride, 2 * network.stride)
    logits = network(slices)
    assert logits.shape == (2, 2, 3 * network.stride, 2 * network.stride)
    # Logits, no probabilities: they follow the output's bias below 0, whatever the weights are.
    with torch.no_grad():
        network.head.bias -= 1000
        assert torch.allclose(network(slices), logits - 1000, atol=0.01)
    logits.square().sum().backward()
    assert all(weight.grad is not None for weight in network.parameters())


@pytest.mark.parametrize("name", MONAI)
def test_monais_networks_by_name(name: str) -> None:
    network = build_network(name, MONAI[name], in_channels=3, out_channels=2)
    assert type(network).__name__ == name
    logits = network(torch.randn(2, 3, 32, 16))
    assert logits.shape == (2, 2, 32, 16)


def test_the_papers_networks_by_name() -> None:
    baseline = build_network(
        "attention_res_unet", {"width": 4, "attention": False}, in_channels=3, out_channels=2, findings=0
    )
    assert isinstance(baseline, AttentionResUNet)
    assert not any(isinstance(part, AttentionGate) for part in baseline.modules())
    assert isinstance(build_network("attention_unet", {"width": 4}, in_channels=1, out_channels=1), AttentionUNet)
    both = build_network("attention_unet", {"width": 4}, in_channels=1, out_channels=1, findings=6)
    assert isinstance(both, WithFindings)


@pytest.mark.parametrize(
    ("name", "options", "findings", "message"),
    [
        ("unet_of_dreams", {}, 0, "unet_of_dreams.*monai"),
        ("torch", {}, 0, "network torch"),
        ("attention_unet", {"with": 4}, 0, "attention_unet.*with"),
        ("attention_unet", {"width": 0}, 0, "attention_unet: width 0: a whole number of channels is needed"),
        ("attention_res_unet", {"width": -4}, 0, "attention_res_unet: width -4"),
        ("attention_res_unet", {"width": 2.5}, 0, r"attention_res_unet: width 2\.5"),
        ("UNETR", {"img_size": 0}, 0, "network UNETR"),
        ("attention_res_unet", {"width": 4}, 1, "attention_res_unet.*second head"),
        ("UNet", {"channels": [4, 8]}, 0, "UNet.*strides"),
        ("UNet", {"channels": [4, 8], "strides": [2], "norm": "none_such"}, 0, "UNet.*NONE_SUCH"),
        ("UNet", {"channels": [4, 8], "strides": []}, 0, "UNet.*strides"),
        ("DynUNet", MONAI["DynUNet"] | {"strides": [2, 2, 2, 2], "kernel_size": [3]}, 0, "DynUNet"),
    ],
)
def test_what_cannot_be_built_is_named(name: str, options: dict[str, Any], findings: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build_network(name, options, in_channels=1, out_channels=1, findings=findings)


def test_a_network_whose_package_is_missing_is_named_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def build(**options: Any) -> nn.Module:
        raise ImportError("from einops (No module named 'einops').\n\nOriginal traceback:\n")

    monkeypatch.setattr(monai.networks.nets, "UNETR", build)
    with pytest.raises(ValueError, match=r"^network UNETR: from einops \(No module named 'einops'\)\.$"):
        build_network("UNETR", {}, in_channels=1, out_channels=1)


def test_the_baseline_lacks_the_gates_and_nothing_else() -> None:
    gated = AttentionResUNet(AttentionResUNetConfig(width=4)).state_dict()
    baseline = AttentionResUNet(AttentionResUNetConfig(width=4, attention=False)).state_dict()
    assert {name for name in gated if "gate" not in name} == set(baseline)


def test_the_baselines_skips_pass_as_they_are() -> None:
    """Gates that let all through make the network with attention the baseline."""
    gated = AttentionResUNet(AttentionResUNetConfig(width=4)).eval()
    for gate in (gated.gate1, gated.gate2, gated.gate3):
        assert isinstance(gate, AttentionGate)
        nn.init.zeros_(gate.psi.weight)
        nn.init.constant_(gate.psi.bias, 100.0)
    baseline = AttentionResUNet(AttentionResUNetConfig(width=4, attention=False)).eval()
    baseline.load_state_dict({name: value for name, value in gated.state_dict().items() if "gate" not in name})
    slices = torch.randn(1, 3, 16, 16)
    torch.testing.assert_close(gated(slices), baseline(slices))


def _block(channels_in: int, channels_out: int) -> int:
    """Two 3x3 convolutions without bias, two batch norms."""
    return 9 * channels_in * channels_out + 9 * channels_out**2 + 4 * channels_out


def _residual(channels_in: int, channels_out: int) -> int:
    return _block(channels_in, channels_out) + channels_in * channels_out


def _gate(x: int, g: int) -> int:
    inner = x // 2
    return x * inner + (g * inner + inner) + (inner + 1)


def test_the_published_widths_and_their_weights() -> None:
    network = AttentionResUNet(AttentionResUNetConfig(in_channels=1, out_channels=2, width=64))
    blocks = (network.down1, network.down2, network.down3, network.bridge)
    assert [block.second.out_channels for block in blocks] == [64, 128, 256, 512]
    down = _residual(1, 64) + _residual(64, 128) + _residual(128, 256) + _residual(256, 512)
    up = _residual(768, 256) + _residual(384, 128) + _residual(192, 64)
    gates = _gate(256, 512) + _gate(128, 256) + _gate(64, 128)
    assert _count(network) == down + up + gates + 64 * 2 + 2


def test_the_published_five_levels_and_their_weights() -> None:
    with torch.device("meta"):
        network = AttentionUNet(AttentionUNetConfig(width=64))
    channels = [64, 128, 256, 512, 1024]
    down = _block(1, 64) + sum(_block(width, 2 * width) for width in channels[:4])
    up = sum(4 * 2 * width * width + width + _gate(width, width) + _block(2 * width, width) for width in channels[:4])
    assert _count(network) == down + up + 64 + 1


def test_a_gate_by_hand() -> None:
    """One channel each: 3 x sigmoid(2 relu(1 x 3 + 0.5 x 2 + 1) - 9) = 3 sigmoid(1), and relu cuts the second off."""
    gate = AttentionGate(1, 1)
    with torch.no_grad():
        for part, weight, bias in ((gate.theta_x, 1.0, None), (gate.phi_g, 0.5, 1.0), (gate.psi, 2.0, -9.0)):
            part.weight.fill_(weight)
            if bias is not None:
                part.bias.fill_(bias)
    x, g = torch.tensor([3.0, -8.0]).view(1, 1, 1, 2), torch.tensor([2.0, 2.0]).view(1, 1, 1, 2)
    expected = torch.stack([3 * torch.sigmoid(torch.tensor(1.0)), -8 * torch.sigmoid(torch.tensor(-9.0))])
    torch.testing.assert_close(gate(x, g).flatten(), expected)


def test_a_gate_weighs_all_channels_of_a_pixel_the_same() -> None:
    gate = AttentionGate(2, 4)
    x = torch.rand(1, 2, 4, 4) + 1
    shares = gate(x, torch.randn(1, 4, 4, 4)) / x
    torch.testing.assert_close(shares[:, 0], shares[:, 1])
    assert 0 < float(shares.min().detach()) <= float(shares.max().detach()) < 1


def test_a_block_of_one_width_has_an_identity_shortcut() -> None:
    block = ResidualBlock(3, 3).eval()
    with torch.no_grad():
        block.second_norm.weight.zero_()
    x = torch.rand(1, 3, 4, 4)
    torch.testing.assert_close(block(x), x)


def test_a_block_that_widens_has_a_convolution_for_a_shortcut() -> None:
    block = ResidualBlock(1, 2).eval()
    with torch.no_grad():
        block.second_norm.weight.zero_()
        block.shortcut.weight.copy_(torch.tensor([3.0, -1.0]).view(2, 1, 1, 1))
    x = torch.rand(1, 1, 4, 4)
    torch.testing.assert_close(block(x), torch.cat([3 * x, torch.zeros_like(x)], dim=1))


class TestWithFindings:
    def test_its_masks_are_the_unets(self) -> None:
        unet = AttentionUNet(AttentionUNetConfig(width=2))
        both = WithFindings(unet, 6).eval()
        slices = torch.randn(3, 1, 32, 16)
        logits, findings = both(slices)
        torch.testing.assert_close(logits, unet(slices))
        assert findings.shape == (3, 6)

    def test_its_findings_are_of_the_deepest_levels_mean_and_maximum(self) -> None:
        unet = AttentionUNet(AttentionUNetConfig(width=1))
        both = WithFindings(unet, 1).eval()
        slices = torch.randn(2, 1, 32, 32)
        with torch.no_grad():
            linear: Any = both.findings[1]
            linear.weight.copy_(torch.cat([torch.ones(1, 16), torch.full((1, 16), 10.0)], dim=1))
            linear.bias.fill_(0.5)
            deepest = unet.encode(slices)[4]
            _, findings = both(slices)
        expected = deepest.mean(dim=(2, 3)).sum(dim=1) + 10 * deepest.amax(dim=(2, 3)).sum(dim=1) + 0.5
        torch.testing.assert_close(findings[:, 0], expected)

    def test_slice_labels_teach_the_encoder(self) -> None:
        both = WithFindings(AttentionUNet(AttentionUNetConfig(width=2)), 1)
        both(torch.randn(2, 1, 32, 32))[1].sum().backward()
        assert all(weights.grad is not None for weights in both.unet.down1.parameters())
        assert both.unet.head.weight.grad is None
