"""Random changes of training batches: place, size, field of view, brightness and contrast."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from pydantic import AfterValidator, ConfigDict, Field
from torch import Tensor
from torch.nn import functional as F


def _ascending(factors: tuple[float, float]) -> tuple[float, float]:
    if not 0 < factors[0] <= factors[1] < math.inf:
        raise ValueError(f"{list(factors)}: the smallest and the largest are needed, both above 0")
    return factors


Chance = Annotated[float, Field(ge=0, le=1)]
Extent = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Factors = Annotated[tuple[float, float], AfterValidator(_ascending)]


@dataclass(frozen=True)
class Augmentation:
    """How far a batch may be changed; zero or one switches a change off.

    Attributes:
        flip: probability of a left-right flip (no organ's side may depend on it: for the head, hardly for the liver).
        rotation_degrees: at most, either way.
        shift: at most, as a share of the side.
        zoom: smallest and largest magnification: other fields of view and patient sizes.
        stretch: at most, as a share, of rows against columns.
        brightness: at most, as a share of the window.
        contrast: smallest and largest factor around the window's centre.
        gamma: smallest and largest exponent.
        blur: probability of losing detail (thick or coarse slices): down to a third and up again.
        noise: largest standard deviation, as a share of the window.

    Their bounds hold for what is read from a recipe.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    flip: Chance = 0.0
    rotation_degrees: Extent = 0.0
    shift: Extent = 0.0
    zoom: Factors = (1.0, 1.0)
    stretch: Extent = 0.0
    brightness: Extent = 0.0
    contrast: Factors = (1.0, 1.0)
    gamma: Factors = (1.0, 1.0)
    blur: Chance = 0.0
    noise: Extent = 0.0

    def __call__(
        self, images: Tensor, masks: Tensor, frames: Tensor, *, size: int, random: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Change images [N, K, S, S] and masks [N, C, S, S], floats in 0..1; sample both at `size` near `frames`."""
        count, context = images.shape[0], images.shape[1]
        places = self._placements(count, random).to(frames.device) * frames[:, 2, None, None]
        places[:, :, 2] += frames[:, :2]
        grid = F.affine_grid(places, [count, 1, size, size], align_corners=False)
        both = F.grid_sample(torch.cat([images, masks], dim=1), grid, align_corners=False)
        shaded = self._shade(both[:, :context], random)
        return shaded.clamp(0, 1), both[:, context:]

    def _placements(self, count: int, random: torch.Generator) -> Tensor:
        """Affine maps [N, 2, 3] from places in the output to places in the frame, both in -1..1."""
        angle = _between(-1, 1, count, random) * math.radians(self.rotation_degrees)
        zoom = torch.exp(_between(math.log(self.zoom[0]), math.log(self.zoom[1]), count, random))
        stretch = torch.exp(_between(-self.stretch, self.stretch, count, random) / 2)
        mirror = torch.where(_between(0, 1, count, random) < self.flip, -1.0, 1.0)
        shift = _between(-2 * self.shift, 2 * self.shift, 2 * count, random).view(count, 2)
        cos, sin = torch.cos(angle), torch.sin(angle)
        across, down = mirror / (zoom * stretch), stretch / zoom
        rows = [across * cos, -down * sin, shift[:, 0], across * sin, down * cos, shift[:, 1]]
        return torch.stack(rows, dim=1).view(count, 2, 3)

    def _shade(self, images: Tensor, random: torch.Generator) -> Tensor:
        count = len(images)

        def each(low: float, high: float) -> Tensor:
            return _between(low, high, count, random).view(count, 1, 1, 1).to(images.device)

        if self.blur > 0 and float(torch.rand(1, generator=random)) < self.blur:
            side = images.shape[-1]
            coarse = int(side * float(_between(0.33, 0.8, 1, random)))
            low = F.interpolate(images, size=[coarse, coarse], mode="bilinear", antialias=True)
            images = F.interpolate(low, size=[side, side], mode="bilinear")
        images = (images - 0.5) * each(*self.contrast) + 0.5 + each(-self.brightness, self.brightness)
        images = images.clamp(0, 1) ** each(*self.gamma)
        if self.noise > 0:
            grain = torch.randn(images.shape, generator=random).to(images.device)
            images = images + grain * each(0, self.noise)
        return images


def _between(low: float, high: float, count: int, random: torch.Generator) -> Tensor:
    """Drawn on the CPU whatever trains: one seed gives one augmentation on all devices."""
    return torch.rand(count, generator=random) * (high - low) + low
