"""A model folder whose answers are known: every label is where the slice is bright."""

from __future__ import annotations

from pathlib import Path

import torch

from sigap_training.export import write_model
from training.tiny_data import small_recipe


class Bright(torch.nn.Module):
    """Calls every label where the middle slice is bright: 160 of 255 and more."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.weight = torch.nn.Parameter(torch.full((1, 1, 1, 1), 20.0))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        middle = x.shape[1] // 2
        bright = torch.nn.functional.conv2d(x[:, middle : middle + 1] - 0.5, self.weight)
        return bright.repeat(1, self.channels, 1, 1)


def write_bright_model(repository: Path, task: str, *, size: int) -> Path:
    """Its folder; slices of `size` go through unchanged."""
    recipe = small_recipe(task, size=size, cached_size=size, framed=False, mirrored=False)
    return write_model(recipe, Bright(len(recipe.read_contract().labels)), repository)
