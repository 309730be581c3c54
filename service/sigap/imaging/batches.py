"""Batches of windowed slices, as the model wants to see them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from sigap.core.contract import Contract
from sigap.core.study import Volume
from sigap.imaging.window import window


def slice_batches(volume: Volume, contract: Contract, batch_size: int) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """Window a volume and cut it into batches, in canonical orientation.

    Args:
        volume: CT numbers, or an already windowed picture, which goes in as it is.
        contract: names the window and K, the number of slices that the model sees of each place.
        batch_size: slices a batch, at most.

    Yields:
        The first slice's canonical index, and (n, K, rows, columns) uint8. At the ends the outermost slice repeats.
    """
    canonical = volume.grid.orientation.to_canonical(volume.voxels)
    count = len(canonical)
    reach = contract.context_slices // 2
    for first in range(0, count, batch_size):
        last = min(first + batch_size, count)
        places = np.clip(np.arange(first - reach, last + reach), 0, count - 1)
        low, high = int(places[0]), int(places[-1]) + 1
        shown = canonical[low:high]
        if volume.is_hounsfield:
            shown = window(shown, level_hu=contract.level_hu, width_hu=contract.width_hu)
        neighbours = (places - low)[np.arange(last - first)[:, None] + np.arange(contract.context_slices)[None, :]]
        yield first, np.ascontiguousarray(shown[neighbours])
