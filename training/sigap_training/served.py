"""The module that both engines serve: windowed bytes in, probabilities as bytes out."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sigap_training.slices import fit


def normalise(pixels: Tensor) -> Tensor:
    """Bring 0..1 to about zero mean and unit spread. Training and serving share it."""
    return (pixels - 0.5) * 4.0


class ServedModel(nn.Module):
    """Normalising, resizing to the network's size, the network, resizing back, sigmoid and quantising.

    On a CPU slices go through one by one: convolution kernels are chosen by batch size and round differently, and an
    answer must not depend on what else was in the batch.
    """

    def __init__(self, network: nn.Module, size: int) -> None:
        super().__init__()
        self.network = network
        self.size = size

    def forward(self, SLICES: Tensor) -> Tensor:  # noqa: N803 - the contract's name
        """Map uint8 [N, K, H, W] to uint8 [N, C, H, W], round(255 p) at the same H and W."""
        if SLICES.is_cuda or SLICES.shape[0] == 1:
            return self.predict(SLICES)
        return torch.cat([self.predict(SLICES[index : index + 1]) for index in range(SLICES.shape[0])])

    def predict(self, slices: Tensor) -> Tensor:
        height, width = slices.shape[-2], slices.shape[-1]
        side = max(height, width)
        top, left = (side - height) // 2, (side - width) // 2
        pixels = normalise(fit(slices.to(torch.float32) / 255.0, self.size))
        logits = self.network(pixels.contiguous(memory_format=torch.channels_last))
        square = F.interpolate(logits, size=[side, side], mode="bilinear", align_corners=False, antialias=True)
        probabilities = torch.sigmoid(square[:, :, top : top + height, left : left + width])
        return torch.round(probabilities * 255.0).to(torch.uint8).contiguous()
