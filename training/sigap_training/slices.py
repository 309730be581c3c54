"""Training slices in memory: windowed pixels, masks, and what is known about each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

UNKNOWN = -1


class BadData(Exception):
    """A data folder that breaks its layout; the message names the file."""


@dataclass(frozen=True)
class SliceSet:
    """M square slices of one split, resized to one working size S.

    Attributes:
        images: uint8 [M, S, S], windowed, canonical orientation, black beyond the picture.
        masks: uint8 [M, C, S, S], the share of each pixel inside the label, or a teacher's probability, 0..255.
        known: bool [M, C], whether the mask of that channel is known; a loss must skip the others.
        findings: int8 [M, F], what is known of each slice as a whole: 0, 1 or `UNKNOWN`. First come the channels (has
            it the label?), then what else a data set tells, e.g. subtypes of blood.
        patient: str [M], equal for slices of one patient; unknown patients are one a slice.
        study: int64 [M], slices of one number are neighbours in space, in order.
        group: int64 [M], index into `groups`: what batches are balanced by.
        groups: names, e.g. `tumour`, `rsna-negative`.
    """

    images: NDArray[np.uint8]
    masks: NDArray[np.uint8]
    known: NDArray[np.bool_]
    findings: NDArray[np.int8]
    patient: NDArray[np.str_]
    study: NDArray[np.int64]
    group: NDArray[np.int64]
    groups: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.images)

    def neighbours(self, indices: NDArray[np.int64], context: int, stride: int = 1) -> NDArray[np.uint8]:
        """Slices with their neighbours as channels, [N, K, S, S]; the outermost slice of a study repeats."""
        starts = np.searchsorted(self.study, self.study[indices], side="left")
        stops = np.searchsorted(self.study, self.study[indices], side="right")
        offsets = (np.arange(context) - context // 2) * stride
        places = np.clip(indices[:, None] + offsets, starts[:, None], stops[:, None] - 1)
        shown: NDArray[np.uint8] = self.images[places]
        return shown


def join(sets: Sequence[SliceSet]) -> SliceSet:
    """One set of several, their studies and groups renumbered."""
    names = tuple(dict.fromkeys(name for part in sets for name in part.groups))
    studies, groups, start = [], [], 0
    for part in sets:
        studies.append(part.study + start)
        start += int(part.study.max()) + 1
        groups.append(np.array([names.index(name) for name in part.groups])[part.group])
    return SliceSet(
        images=np.concatenate([part.images for part in sets]),
        masks=np.concatenate([part.masks for part in sets]),
        known=np.concatenate([part.known for part in sets]),
        findings=np.concatenate([part.findings for part in sets]),
        patient=np.concatenate([part.patient for part in sets]),
        study=np.concatenate(studies),
        group=np.concatenate(groups),
        groups=names,
    )


def fit(pixels: Tensor, size: int) -> Tensor:
    """Pad float [N, K, H, W] with black to a centred square and resize it to [N, K, size, size], antialiased.

    Training, evaluation and the exported model share it.
    """
    height, width = pixels.shape[-2], pixels.shape[-1]
    side = max(height, width)
    top, left = (side - height) // 2, (side - width) // 2
    square = F.pad(pixels, [left, side - width - left, top, side - height - top])
    return F.interpolate(square, size=[size, size], mode="bilinear", align_corners=False, antialias=True)


def fit_bytes(stack: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """`fit` of uint8 [N, H, W], rounded to uint8 [N, size, size]."""
    fitted = fit(torch.from_numpy(stack).float()[:, None], size)[:, 0]
    return fitted.round().to(torch.uint8).numpy()
