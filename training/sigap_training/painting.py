"""Blood painted into slices that hold none: shapes of bleeds that few expert masks show, on every source's pictures.

A network shown blood on one hospital's slices and its absence on another's learns the hospital. Painted blood stands on
slices of all sources, and thin blood along the skull, rare among the masks, is as frequent as one likes.

Source of the idea:
    Copy-paste augmentation: Ghiasi et al. 2021 (arXiv:2012.07177); the shapes are our own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import ConfigDict, Field
from scipy import ndimage

from sigap_training.framing import find_frames

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]

_BONE = 245
_SMALLEST_BRAIN = 0.03
_SMALLEST_BLEED = 12
_FAINTEST = 0.05
_COARSEST_GRAIN = 0.08


@dataclass(frozen=True)
class Painting:
    """How often blood is painted.

    Attributes:
        share: probability that a slice without blood gets some.
        copied: how much of that is an expert's bleed copied from another slice; the rest are shapes.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    share: Annotated[float, Field(ge=0, le=1)] = 0.0
    copied: Annotated[float, Field(ge=0, le=1)] = 0.4


@dataclass(frozen=True)
class Brain:
    """What lies inside the skull of one slice.

    Attributes:
        picture: uint8 [S, S], the slice itself.
        depth: uint8 [S, S], distance to the skull in pixels (255 and more: 255), 0 outside.
        grey: the median of its pixels, 0..1.
        frame: float32 [3], where the head stands.
    """

    picture: NDArray[np.uint8]
    depth: NDArray[np.uint8]
    grey: float
    frame: Floats


def find_brain(image: NDArray[np.uint8]) -> Brain | None:
    """The largest region that bone encloses, or None where there is none worth the name."""
    closed = ndimage.binary_closing(image >= _BONE, iterations=2)
    inside = ndimage.binary_opening(ndimage.binary_fill_holes(closed) & ~closed & (image > 5), iterations=2)
    regions, count = ndimage.label(inside)
    if count == 0:
        return None
    sizes = np.bincount(regions.ravel())[1:]
    if sizes.max() < _SMALLEST_BRAIN * image.size:
        return None
    brain = ndimage.binary_fill_holes(regions == 1 + sizes.argmax())
    depth = ndimage.distance_transform_edt(brain)
    frame = find_frames(torch.from_numpy(image.astype(np.float32))[None] / 255)[0].numpy()
    return Brain(image, np.minimum(depth, 255).astype(np.uint8), float(np.median(image[brain])) / 255, frame)


class Painter:
    """Paints into the slices of one set.

    Args:
        images: uint8 [M, S, S].
        sources: indices of slices whose blood may be copied.
        masks: uint8 [M, S, S], 0..255, of those.
    """

    def __init__(self, images: NDArray[np.uint8], masks: NDArray[np.uint8], sources: NDArray[np.int64]) -> None:
        self._images, self._masks, self._sources = images, masks, sources
        self._brains: dict[int, Brain | None] = {}

    def paint(
        self, index: int, copied: float, random: np.random.Generator
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8]] | None:
        """One slice with blood and its mask, uint8 [S, S] each.

        None where it has no brain, or the bleed came out empty or dark.
        """
        brain = self._brain(index)
        if brain is None:
            return None
        grey = self._images[index].astype(np.float32) / 255
        if len(self._sources) > 0 and random.random() < copied:
            bleed = self._copy(brain, grey, random)
        else:
            bleed = _shape(brain, grey, random)
        if bleed is None or (bleed[0] > 0.5).sum() < _SMALLEST_BLEED:
            return None
        cover, blood = bleed
        if float(blood[cover > 0.5].mean()) < brain.grey + _FAINTEST:
            return None
        painted = np.clip(grey + cover * (blood - grey), 0, 1)
        return np.round(255 * painted).astype(np.uint8), np.round(255 * cover).astype(np.uint8)

    def _brain(self, index: int) -> Brain | None:
        if index not in self._brains:
            self._brains[index] = find_brain(self._images[index])
        return self._brains[index]

    def _copy(self, brain: Brain, grey: Floats, random: np.random.Generator) -> tuple[Floats, Floats] | None:
        """An expert's bleed, moved from its head's frame into this one's, its grey told from its own brain's."""
        index = int(random.choice(self._sources))
        source = self._brain(index)
        if source is None:
            return None
        places = _moved(grey.shape[0], source.frame, brain.frame, random)
        blood = ndimage.map_coordinates(self._images[index].astype(np.float32) / 255, places, order=1)
        mask = ndimage.map_coordinates(self._masks[index].astype(np.float32) / 255, places, order=1)
        cover = np.where(brain.depth > 0, mask, 0).astype(np.float32)
        shade = blood - source.grey + brain.grey + random.uniform(-0.04, 0.04)
        return cover, shade.astype(np.float32)


def _moved(size: int, source: Floats, target: Floats, random: np.random.Generator) -> Floats:
    """For each pixel of the target its [row, column] in the source, mirrored and turned a little at random."""
    centres = (2 * np.arange(size, dtype=np.float32) + 1) / size - 1
    across, down = np.meshgrid((centres - target[0]) / target[2], (centres - target[1]) / target[2])
    across = across * random.choice((-1.0, 1.0))
    angle = random.uniform(-0.2, 0.2)
    columns = source[0] + source[2] * (across * np.cos(angle) - down * np.sin(angle))
    rows = source[1] + source[2] * (across * np.sin(angle) + down * np.cos(angle))
    return ((np.stack([rows, columns]) + 1) * size / 2 - 0.5).astype(np.float32)


def _shape(brain: Brain, grey: Floats, random: np.random.Generator) -> tuple[Floats, Floats]:
    """A bleed of one of the kinds, with soft edges and the grain of the picture below."""
    kind = _KINDS[int(random.choice(len(_KINDS), p=_FREQUENCIES))]
    mask = kind(brain, random) & (brain.depth > 0)
    cover = ndimage.gaussian_filter(mask.astype(np.float32), random.uniform(0.5, 1.3))
    cover = np.where(grey < _BONE / 255, cover, 0)
    unevenness = 1 + 0.25 * _clouds(grey.shape[0], 12, random)
    # Faint more often than bright: half of the experts' bleeds are less than 0.19 above their brain.
    brightness = np.exp(random.uniform(np.log(0.07), np.log(0.42)))
    blood = brain.grey + brightness * unevenness + 0.7 * _grain(grey)
    return cover.astype(np.float32), blood.astype(np.float32)


def _grain(grey: Floats) -> Floats:
    """Noise of a picture: what its own surroundings do not explain.

    Bone does not count among the surroundings: beside it blood would come out dark, and faint blood along the skull
    could not be told from brain.
    """
    soft = (grey < _BONE / 255).astype(np.float32)
    nearby = ndimage.gaussian_filter(grey * soft, 2.0) / np.maximum(ndimage.gaussian_filter(soft, 2.0), 0.01)
    return np.asarray(soft * np.clip(grey - nearby, -_COARSEST_GRAIN, _COARSEST_GRAIN), np.float32)


def _crescent(brain: Brain, random: np.random.Generator) -> Mask:
    """Along the skull, long and thin: subdural."""
    return _layer(brain, random, arc=random.uniform(0.35, 1.4), thickness=np.exp(random.uniform(1.0, 3.0)))


def _lens(brain: Brain, random: np.random.Generator) -> Mask:
    """Along the skull, short and thick: epidural."""
    return _layer(brain, random, arc=random.uniform(0.2, 0.5), thickness=random.uniform(6, 26))


def _layer(brain: Brain, random: np.random.Generator, *, arc: float, thickness: float) -> Mask:
    rows, columns = np.nonzero(brain.depth)
    row, column = rows.mean(), columns.mean()
    y, x = np.ogrid[: brain.depth.shape[0], : brain.depth.shape[1]]
    away = np.angle(np.exp(1j * (np.arctan2(y - row, x - column) - random.uniform(-np.pi, np.pi))))
    profile = np.cos(np.clip(away / arc, -1, 1) * np.pi / 2) ** random.uniform(0.5, 1.5)
    uneven = 1 + 0.35 * _clouds(brain.depth.shape[0], 9, random)
    layer: Mask = (brain.depth <= thickness * profile * uneven) & (profile > 0.05)
    return layer


def _fluid(brain: Brain, random: np.random.Generator) -> Mask:
    """In ventricles, cisterns or sulci: some of the dark spaces, or a part of one. Subarachnoid, intraventricular."""
    grey = brain.picture.astype(np.float32) / 255
    smooth = ndimage.gaussian_filter(grey, 0.8)
    spaces, count = ndimage.label((smooth < brain.grey - random.uniform(0.04, 0.1)) & (brain.depth > 1))
    if count == 0:
        return np.zeros(grey.shape, np.bool_)
    sizes = np.bincount(spaces.ravel())[1:].astype(np.float64)
    sizes[sizes < _SMALLEST_BLEED] = 0
    if sizes.sum() == 0:
        return np.zeros(grey.shape, np.bool_)
    number = min(int(random.integers(1, 5)), int((sizes > 0).sum()))
    chosen = random.choice(count, number, replace=False, p=_share(sizes))
    part = np.isin(spaces, chosen + 1) & (_clouds(grey.shape[0], 14, random) > random.uniform(-1.2, 0.5))
    filled: Mask = ndimage.binary_dilation(part)
    return filled


def _clot(brain: Brain, random: np.random.Generator) -> Mask:
    """A rounded clot within the brain, small more often than large: parenchymal, contusion."""
    size = brain.depth.shape[0]
    places = np.argwhere(brain.depth > 3)
    row, column = places[random.integers(len(places))]
    y, x = np.mgrid[:size, :size].astype(np.float32)
    angle, ratio = random.uniform(0, np.pi), random.uniform(0.45, 1.0)
    along = (x - column) * np.cos(angle) + (y - row) * np.sin(angle)
    beside = ((y - row) * np.cos(angle) - (x - column) * np.sin(angle)) / ratio
    radius = np.exp(random.uniform(1.1, 3.2)) * (1 + 0.35 * _clouds(size, 10, random))
    clot: Mask = np.hypot(along, beside) < radius
    return clot


_KINDS: tuple[Callable[[Brain, np.random.Generator], Mask], ...] = (_crescent, _lens, _fluid, _clot)
_FREQUENCIES = (0.4, 0.15, 0.25, 0.2)


def _clouds(size: int, coarse: int, random: np.random.Generator) -> Floats:
    """Smooth noise [size, size] of about zero mean and unit spread, its features size / coarse pixels wide."""
    noise = random.standard_normal((coarse, coarse)).astype(np.float32)
    zoomed = ndimage.zoom(noise, size / coarse, order=1, grid_mode=True, mode="nearest")
    return np.asarray(zoomed[:size, :size] * 1.4, np.float32)


def _share(sizes: NDArray[np.float64]) -> NDArray[np.float64]:
    """How likely each space is chosen: by the root of its size."""
    roots = np.sqrt(sizes)
    return np.asarray(roots / roots.sum())
