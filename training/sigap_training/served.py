"""The module that both engines serve: windowed bytes in, probabilities as bytes out."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sigap_training.framing import crop, find_frames, uncrop, whole_picture
from sigap_training.slices import fit


def normalise(pixels: Tensor) -> Tensor:
    """Bring 0..1 to about zero mean and unit spread. Training and serving share it."""
    return (pixels - 0.5) * 4.0


class ServedModel(nn.Module):
    """Normalising, framing the body, the network, putting its answer back, sigmoid and quantising.

    On a CPU slices go through one by one: convolution kernels are chosen by batch size and round differently, and an
    answer must not depend on what else was in the batch.

    Args:
        network: takes `[N, K, size, size]`, returns logits `[N, C, size, size]`.
        size: the side of the network's input.
        working_size: the side at which slices are framed; training reads its slices at the same.
        framed: find the body's frame; else the network sees the whole picture.
        mirrored: ask the network a second time with left and right exchanged, and take the mean of its logits.
    """

    def __init__(
        self, network: nn.Module, *, size: int, working_size: int, framed: bool = True, mirrored: bool = False
    ) -> None:
        super().__init__()
        self.network = network
        self.size = size
        self.working_size = working_size
        self.framed = framed
        self.mirrored = mirrored

    def forward(self, SLICES: Tensor) -> Tensor:  # noqa: N803 - the contract's name
        """Map uint8 [N, K, H, W] to uint8 [N, C, H, W], round(255 p) at the same H and W."""
        if SLICES.is_cuda or SLICES.shape[0] == 1:
            return self.predict(SLICES)
        return torch.cat([self.predict(SLICES[index : index + 1]) for index in range(SLICES.shape[0])])

    def predict(self, slices: Tensor) -> Tensor:
        square = fit(slices.to(torch.float32) / 255.0, self.working_size)
        if self.framed:
            frames = find_frames(square[:, square.shape[1] // 2])
        else:
            frames = whole_picture(square.shape[0], square.device)
        pixels = normalise(crop(square, frames, self.size)).contiguous(memory_format=torch.channels_last)
        logits = self.network(pixels)
        if self.mirrored:
            mirrored = self.network(pixels.flip(3).contiguous(memory_format=torch.channels_last))
            logits = (logits + mirrored.flip(3)) / 2.0
        probabilities = torch.sigmoid(uncrop(logits, frames, slices.shape[2], slices.shape[3]))
        return torch.round(probabilities * 255.0).to(torch.uint8).contiguous()


class MaskOnly(nn.Module):
    """The masks of a network with a second head: findings teach, they are not served."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.network(x)[0]
        return logits
