"""Which slices of a volume a contact sheet shows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sigap.core.measurement import Lesion


def chosen_slices(labelmap: NDArray[np.uint8], lesions: Sequence[Lesion], most: int, *, flipped: bool) -> list[int]:
    """Canonical indices of the slices worth showing, ascending.

    The lesions' key slices come first, the largest lesion's before all. Places left go to the slice with most of the
    labels on it, to slices spread evenly over all that carry a label, then over the whole volume.

    Args:
        labelmap: (slices, rows, columns), canonical.
        lesions: largest first.
        most: how many slices at most.
        flipped: whether stored slices run from head to feet, so that key slices count from the other end.
    """
    last = len(labelmap) - 1
    chosen: list[int] = []
    for lesion in lesions:
        place = last - lesion.key_slice if flipped else lesion.key_slice
        if place not in chosen and len(chosen) < most:
            chosen.append(place)
    areas = np.array([np.count_nonzero(plane) for plane in labelmap])
    marked = [int(place) for place in np.flatnonzero(areas)]
    if marked and not chosen:
        chosen.append(int(np.argmax(areas)))
    for candidates in (marked, range(len(labelmap))):
        chosen += _spread([place for place in candidates if place not in chosen], most - len(chosen))
    return sorted(chosen)


def _spread(places: Sequence[int], count: int) -> list[int]:
    """At most `count` of the places, evenly, none at the very ends unless there are too few."""
    count = min(count, len(places))
    return [places[int((step + 0.5) * len(places) / count)] for step in range(count)]
