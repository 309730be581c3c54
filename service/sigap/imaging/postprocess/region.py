"""A label's voxels at one threshold, held no larger than they are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sigap.core.levels import Box


@dataclass(frozen=True)
class Region:
    """Voxels of a volume: a mask over the smallest box that holds them all.

    Attributes:
        box: where it stands in the volume; of no extent where there are no voxels.
        voxels: (slices, rows, columns) of the box.
    """

    box: Box
    voxels: NDArray[np.bool_]

    @classmethod
    def empty(cls) -> Region:
        return cls((slice(0, 0), slice(0, 0), slice(0, 0)), np.zeros((0, 0, 0), bool))

    @classmethod
    def of(cls, mask: NDArray[np.bool_], first: tuple[int, int, int] = (0, 0, 0)) -> Region:
        """Crop a mask whose voxel [0, 0, 0] is the volume's `first`.

        >>> Region.of(np.array([[[False, True], [False, True]]]), first=(7, 0, 0)).box
        (slice(7, 8, None), slice(0, 2, None), slice(1, 2, None))
        """
        bounds = bounding_box(mask)
        if bounds is None:
            return cls.empty()
        voxels = mask[bounds]
        # A view keeps the whole mask in memory: a much smaller copy lets it go.
        return cls(bounds, voxels.copy() if 2 * voxels.size < mask.size else voxels).moved(first)

    @property
    def is_empty(self) -> bool:
        return self.voxels.size == 0

    @property
    def first(self) -> tuple[int, int, int]:
        return (self.box[0].start, self.box[1].start, self.box[2].start)

    def moved(self, by: tuple[int, int, int]) -> Region:
        """The same voxels, counted from another first one."""
        slices, rows, columns = (slice(axis.start + n, axis.stop + n) for axis, n in zip(self.box, by, strict=True))
        return Region((slices, rows, columns), self.voxels)

    def common(self, other: Region) -> Region:
        """What lies in both."""
        here, there = _overlap(self.box, other.box)
        first = [place.start + start for place, start in zip(here, self.first, strict=True)]
        return Region.of(self.voxels[here] & other.voxels[there], (first[0], first[1], first[2]))

    def remove(self, other: Region) -> None:
        """Clear another region's voxels in place."""
        here, there = _overlap(self.box, other.box)
        for mine, gone in zip(self.voxels[here], other.voxels[there], strict=True):
            np.greater(mine, gone, out=mine)  # mine and not gone, without a third mask


def _overlap(first: Box, second: Box) -> tuple[Box, Box]:
    """What two boxes have in common, counted from the first voxel of each; of no extent where that is nothing."""
    places = []
    for one, other in zip(first, second, strict=True):
        start = max(one.start, other.start)
        stop = max(start, min(one.stop, other.stop))
        places.append((slice(start - one.start, stop - one.start), slice(start - other.start, stop - other.start)))
    slices, rows, columns = places
    return (slices[0], rows[0], columns[0]), (slices[1], rows[1], columns[1])


def bounding_box(mask: NDArray[np.bool_ | np.uint8]) -> Box | None:
    """The smallest box around the voxels that are not 0 of a 3-D mask; None where there are none."""
    # One pass over all voxels makes one plane, off which rows and columns are read.
    plane = np.asarray(mask.any(axis=0))
    if not plane.any():
        return None
    slices = np.flatnonzero([np.any(one) for one in mask])
    rows, columns = np.flatnonzero(plane.any(axis=1)), np.flatnonzero(plane.any(axis=0))
    first, second, third = (slice(int(places[0]), int(places[-1]) + 1) for places in (slices, rows, columns))
    return first, second, third


def union_box(boxes: list[Box]) -> Box:
    """The smallest box that holds all of some boxes (at least one)."""
    slices, rows, columns = (
        slice(min(box[axis].start for box in boxes), max(box[axis].stop for box in boxes)) for axis in range(3)
    )
    return slices, rows, columns
