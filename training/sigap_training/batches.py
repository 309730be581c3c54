"""Training batches: slices drawn, painted, framed, changed and normalised, on the device."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sigap_training.framing import find_frames, whole_picture
from sigap_training.painting import Painter
from sigap_training.recipe import Recipe
from sigap_training.served import normalise
from sigap_training.slices import UNKNOWN, SliceSet


@dataclass(frozen=True)
class Batch:
    """What one step learns from.

    Attributes:
        pixels: float [N, K, size, size], normalised.
        masks: float [N, C, size, size], 0..1.
        known: bool [N, C], which masks are known.
        findings: int8 [N, F], 0, 1 or `UNKNOWN`.
    """

    pixels: Tensor
    masks: Tensor
    known: Tensor
    findings: Tensor


class BatchMaker:
    """Makes batches of one set's slices as the recipe says."""

    def __init__(self, recipe: Recipe, slices: SliceSet, device: torch.device) -> None:
        self.recipe, self.slices, self.device = recipe, slices, device
        self.context = recipe.read_contract().context_slices
        experts = np.flatnonzero(slices.known[:, 0] & (slices.findings[:, 0] == 1))
        if "expert" in slices.groups:
            experts = experts[slices.group[experts] == slices.groups.index("expert")]
        self.painter = Painter(slices.images, slices.masks[:, 0], experts) if recipe.painting.share > 0 else None

    def make(self, indices: NDArray[np.int64], random: np.random.Generator) -> Batch:
        """The slices of `indices`, changed at random."""
        stride = int(random.choice(self.recipe.neighbour_strides))
        images = self.slices.neighbours(indices, self.context, stride)
        masks, findings = self.slices.masks[indices], self.slices.findings[indices]
        if self.painter is not None:
            self._paint(indices, images, masks, findings, random)
        pixels, shares = self.on_device(images).float() / 255, self.on_device(masks).float() / 255
        draw = torch.Generator().manual_seed(int(random.integers(2**62)))
        size = self.recipe.size
        pixels, shares = self.recipe.augmentation(pixels, shares, self.frames(pixels), size=size, random=draw)
        return Batch(
            pixels=normalise(pixels).to(memory_format=torch.channels_last),
            masks=shares,
            known=self.on_device(self.slices.known[indices]),
            findings=self.on_device(findings),
        )

    def images(self, slices: SliceSet, indices: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """Slices as they are, float [N, K, S, S], 0..1, and their frames."""
        images = self.on_device(slices.neighbours(indices, self.context)).float() / 255
        return images, self.frames(images)

    def frames(self, images: Tensor) -> Tensor:
        if self.recipe.framed:
            return find_frames(images[:, self.context // 2])
        return whole_picture(images.shape[0], images.device)

    def on_device(self, values: NDArray[Any]) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(values)).to(self.device)

    def _paint(
        self,
        indices: NDArray[np.int64],
        images: NDArray[np.uint8],
        masks: NDArray[np.uint8],
        findings: NDArray[np.int8],
        random: np.random.Generator,
    ) -> None:
        """Put blood into some slices that have none; their subtypes are unknown then."""
        painting = self.recipe.painting
        for place in np.flatnonzero(findings[:, 0] == 0):
            if self.painter is None or random.random() >= painting.share:
                continue
            painted = self.painter.paint(int(indices[place]), painting.copied, random)
            if painted is not None:
                images[place, 0], masks[place, 0] = painted
                findings[place] = UNKNOWN
                findings[place, 0] = 1
