"""What is kept of a model's probabilities: which of the three thresholds each voxel passes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sigap.core.contract import Label

Box = tuple[slice, slice, slice]
_LABELS_A_BYTE = 4


class ThresholdLevels:
    """For every voxel and label, how many of the contract's three thresholds its probability passes: 0 to 3.

    Two bits a voxel and label, four labels a byte: a volume's probabilities are never held as a whole. The middle
    threshold makes the mask, all three make the volume's interval.
    """

    def __init__(self, labels: Sequence[Label], shape: tuple[int, int, int]) -> None:
        self.labels = tuple(labels)
        self.shape = shape
        self._packed = np.zeros((math.ceil(len(labels) / _LABELS_A_BYTE), *shape), np.uint8)

    def packed(self) -> NDArray[np.uint8]:
        """The bytes, (labels / 4, slices, rows, columns), to be filled through `pack` by way of any view."""
        return self._packed

    def pack(self, probabilities: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Turn probabilities (n, labels, rows, columns), 0..255, into packed levels (labels / 4, n, rows, columns)."""
        count, _, rows, columns = probabilities.shape
        packed = np.zeros((len(self._packed), count, rows, columns), np.uint8)
        for position, label in enumerate(self.labels):
            # Rounded, so that a threshold itself passes whatever the last bit of 255 times it.
            low, middle, high = (math.ceil(round(255 * threshold, 9)) for threshold in label.thresholds)
            byte, place = divmod(position, _LABELS_A_BYTE)
            # Slice by slice: what stays in the cache is read three times for the price of one; most hold no lesion.
            for plane, levels in zip(probabilities[:, position], packed[byte], strict=True):
                if plane.max() >= low:
                    passed = (plane >= low).view(np.uint8)
                    passed += plane >= middle
                    passed += plane >= high
                    np.bitwise_or(levels, passed << np.uint8(2 * place), out=levels)
        return packed

    def mask(self, name: str, threshold: int, box: Box | None = None) -> NDArray[np.bool_]:
        """Voxels of a label that pass threshold 0 (low), 1 (the mask's) or 2 (high), as a new array over the box."""
        passed: NDArray[np.bool_] = self._levels(name, box) > threshold
        return passed

    def bounding_box(self, name: str, threshold: int = 0) -> Box | None:
        """The smallest box around all voxels that pass a threshold; None where there are none."""
        seen: list[NDArray[np.bool_]] = [np.zeros(length, bool) for length in self.shape]
        for index in range(self.shape[0]):
            mask = self.mask(name, threshold, (slice(index, index + 1), slice(None), slice(None)))[0]
            rows = mask.any(axis=1)
            if rows.any():
                seen[0][index] = True
                seen[1] |= rows
                seen[2] |= mask.any(axis=0)
        if not seen[0].any():
            return None
        slices, rows_, columns = (slice(int(np.argmax(axis)), len(axis) - int(np.argmax(axis[::-1]))) for axis in seen)
        return slices, rows_, columns

    def _levels(self, name: str, box: Box | None) -> NDArray[np.uint8]:
        position = next(index for index, label in enumerate(self.labels) if label.name == name)
        byte, place = divmod(position, _LABELS_A_BYTE)
        levels = self._packed[byte] if box is None else self._packed[byte][box]
        return np.asarray((levels >> np.uint8(2 * place)) & np.uint8(3))
