"""Networks by the name that a recipe calls them: our own, and every class of MONAI's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import monai.networks.nets
from torch import nn

from sigap_training.efficient_unet import EfficientUNet, EfficientUNetConfig
from sigap_training.networks import AttentionResUNet, AttentionResUNetConfig, AttentionUNet, AttentionUNetConfig
from sigap_training.second_head import WithFindings

# What MONAI's classes raise for options they do not take.
_REFUSALS = (ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)

_OWN: Final[Mapping[str, Callable[[dict[str, Any]], Any]]] = {
    "attention_res_unet": lambda options: AttentionResUNet(AttentionResUNetConfig(**options)),
    "attention_unet": lambda options: AttentionUNet(AttentionUNetConfig(**options)),
    "efficient_unet": lambda options: EfficientUNet(EfficientUNetConfig(**options)),
}


def build_network(
    name: str, options: Mapping[str, Any], *, in_channels: int, out_channels: int, findings: int = 0
) -> nn.Module:
    """A network with fresh weights.

    Args:
        name: `attention_res_unet`, `attention_unet`, `efficient_unet`, or a class of `monai.networks.nets`, e.g.
            `DynUNet`.
        options: its own: `width` (and `attention`) of our own three, any argument of a MONAI class.
        in_channels: neighbouring slices.
        out_channels: labels.
        findings: of a second head; `attention_unet` and `efficient_unet` only.

    Raises:
        ValueError: no network is called so, it does not take these options, or it needs a package that is missing.
    """
    channels: dict[str, Any] = {"in_channels": in_channels, "out_channels": out_channels}
    if findings and name not in ("attention_unet", "efficient_unet"):
        raise ValueError(f"network {name}: only attention_unet and efficient_unet have a second head for findings")
    if name not in _OWN and not hasattr(monai.networks.nets, name):
        raise ValueError(f"network {name}: neither one of ours nor a class of monai.networks.nets is called so")
    try:
        if name in _OWN:
            unet = _OWN[name]({**channels, **options})
            return WithFindings(unet, findings) if findings else unet
        network: object = getattr(monai.networks.nets, name)(spatial_dims=2, **channels, **options)
    except ImportError as error:
        missing = str(error).partition("\n")[0]  # MONAI adds a traceback
        raise ValueError(f"network {name}: {missing}") from error
    except _REFUSALS as error:
        raise ValueError(f"network {name}: {error}") from error
    if isinstance(network, nn.Module):
        return network
    raise ValueError(f"network {name}: it is no network")
