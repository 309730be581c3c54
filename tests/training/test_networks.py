"""The networks: shapes, parts and gradients."""

from __future__ import annotations

import pytest
import torch

from sigap_training.networks import (
    AttentionGate,
    AttentionResUNet,
    AttentionResUNetConfig,
    AttentionUNet,
    AttentionUNetConfig,
    Network,
    ResidualBlock,
)


@pytest.mark.parametrize(
    "network",
    [
        AttentionResUNet(AttentionResUNetConfig(in_channels=3, out_channels=2, width=4)),
        AttentionResUNet(AttentionResUNetConfig(in_channels=3, out_channels=2, width=4, attention=False)),
        AttentionUNet(AttentionUNetConfig(in_channels=3, out_channels=2, width=4)),
    ],
    ids=["attention_res_unet", "baseline", "attention_unet"],
)
def test_logits_have_the_size_of_the_slice_and_reach_every_weight(network: Network) -> None:
    slices = torch.randn(2, 3, 3 * network.stride, 2 * network.stride)
    logits = network(slices)
    assert logits.shape == (2, 2, 3 * network.stride, 2 * network.stride)
    # Logits, no probabilities: they follow the output's bias below 0, whatever the weights are.
    with torch.no_grad():
        network.head.bias -= 1000
        assert torch.allclose(network(slices), logits - 1000, atol=0.01)
    logits.square().sum().backward()
    assert all(weight.grad is not None for weight in network.parameters())


def test_the_baseline_lacks_the_gates_and_nothing_else() -> None:
    gated = AttentionResUNet(AttentionResUNetConfig(width=4)).state_dict()
    baseline = AttentionResUNet(AttentionResUNetConfig(width=4, attention=False)).state_dict()
    assert {name for name in gated if "gate" not in name} == set(baseline)


def test_the_published_widths() -> None:
    network = AttentionResUNet(AttentionResUNetConfig())
    blocks = (network.down1, network.down2, network.down3, network.bridge)
    assert [block.second.out_channels for block in blocks] == [64, 128, 256, 512]


def test_a_gate_weighs_the_skip_between_nothing_and_all() -> None:
    gate = AttentionGate(2, 4)
    with torch.no_grad():
        gate.psi.weight.zero_()
        gate.psi.bias.fill_(0.0)
    x = torch.randn(1, 2, 4, 4)
    torch.testing.assert_close(gate(x, torch.randn(1, 4, 4, 4)), x / 2)


def test_a_block_of_one_width_has_an_identity_shortcut() -> None:
    block = ResidualBlock(3, 3).eval()
    with torch.no_grad():
        block.second_norm.weight.zero_()
    x = torch.rand(1, 3, 4, 4)
    torch.testing.assert_close(block(x), x)
