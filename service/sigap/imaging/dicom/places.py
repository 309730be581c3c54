"""Slices along their common normal: who lies where, and who shares a place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sigap.imaging.dicom.frames import Frame
from sigap.imaging.dicom.planes import PlaneAxes, plane_axes
from sigap.imaging.slices import NOISE_MM

# Thin slices may lie closer together than the noise of a position; then a place is a fraction of their distance.
_PLACE_FRACTION = 0.2


@dataclass(frozen=True)
class Placed:
    """Frames from feet to head.

    Attributes:
        frames: all frames, sorted.
        places: (frames,) for each frame the number of its place, from 0; equal for those that lie together.
        heights_mm: (frames,) along the normal.
    """

    frames: tuple[Frame, ...]
    places: NDArray[np.int64]
    heights_mm: NDArray[np.float64]

    @property
    def shared(self) -> NDArray[np.bool_]:
        """(frames,) whether a frame shares its place."""
        return np.bincount(self.places)[self.places] > 1

    def only(self, kept: NDArray[np.bool_]) -> Placed:
        """The same without some frames; places are numbered anew."""
        frames = tuple(frame for frame, keep in zip(self.frames, kept, strict=True) if keep)
        places = np.unique(self.places[kept], return_inverse=True)[1]
        return Placed(frames, places.astype(np.int64), self.heights_mm[kept])


def place(frames: Sequence[Frame]) -> Placed | None:
    """Sort frames by their position along the normal; None where one of them has no position or none has a plane."""
    axes = common_axes(frames)
    positions = [frame.position_mm for frame in frames if frame.position_mm is not None]
    if axes is None or len(positions) < len(frames):
        return None
    heights = np.asarray(positions, dtype=np.float64) @ axes.normal
    order = np.argsort(heights, kind="stable")
    heights = heights[order]
    steps = np.diff(heights)
    places = np.concatenate(([0], np.cumsum(steps > _same_place_mm(steps))))
    return Placed(tuple(frames[index] for index in order), places.astype(np.int64), heights)


def common_axes(frames: Sequence[Frame]) -> PlaneAxes | None:
    """The plane of the first slice that has one; `mixed_size` sees to it that the others agree."""
    return next((axes for frame in frames if (axes := plane_axes(frame.orientation)) is not None), None)


def _same_place_mm(steps_mm: NDArray[np.float64]) -> float:
    apart = steps_mm[steps_mm > 1e-3]
    return min(NOISE_MM, _PLACE_FRACTION * float(np.median(apart))) if len(apart) else NOISE_MM
