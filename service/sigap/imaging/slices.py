"""How much of the patient's axis each slice stands for: distances, gaps, changes of spacing.

Definitions: CONTRACT section 1. Everything is measured along the normal of the slices, in mm.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

NOISE_MM = 0.1
NOISE_FRACTION = 0.02
GAP_FACTOR = 1.5
# A change of spacing is looked for over so many distances on each side (fewer at the ends), or, if plain, over so few.
_LONG, _SHORT, _FEW = 6, 3, 3
_PLAIN_MM, _PLAIN_PART = 0.3, 0.15
# Distances agree if they differ from their median by less than this part of the change.
_AGREEING = 0.25
_ROUNDING_MM = 1e-4


@dataclass(frozen=True)
class Gap:
    """A distance so much larger than those around it that slices must be missing.

    Attributes:
        after: the slice below the gap; the gap lies between it and the next one.
        distance_mm: what was measured.
        counted_mm: the neighbouring distance, which stands in for it when shares are counted.
    """

    after: int
    distance_mm: float
    counted_mm: float


@dataclass(frozen=True)
class SpacingChange:
    """From slice `at` on, slices lie `after_mm` apart; below it they lay `before_mm` apart."""

    at: int
    before_mm: float
    after_mm: float


@dataclass(frozen=True)
class SliceAxis:
    """The slices along their normal.

    Attributes:
        distances_mm: (slices - 1,), as measured.
        shares_mm: (slices,), the length that each slice stands for; None for a single slice of unknown thickness.
        spacing_mm: median distance, gaps counted at their neighbouring distance; of a single slice its share.
        gaps: from the feet up.
        changes: places where the distance changes for good.
        is_even: whether every distance is the median, but for noise.
    """

    distances_mm: NDArray[np.float64]
    shares_mm: tuple[float, ...] | None
    spacing_mm: float | None
    gaps: tuple[Gap, ...]
    changes: tuple[SpacingChange, ...]
    is_even: bool


def axis_shares(positions_mm: Sequence[float] | NDArray[np.float64], *, thickness_mm: float | None = None) -> SliceAxis:
    """Measure the slices' axis.

    Args:
        positions_mm: (slices,) along the normal, strictly ascending.
        thickness_mm: Slice Thickness; only a single slice needs it.

    Raises:
        ValueError: no positions, or not ascending.

    >>> axis_shares([0, 5, 10, 25, 30, 35]).shares_mm
    (5.0, 5.0, 5.0, 5.0, 5.0, 5.0)
    >>> axis_shares([0, 2, 4, 6, 8, 12, 16, 20, 24]).shares_mm
    (2.0, 2.0, 2.0, 2.0, 3.0, 4.0, 4.0, 4.0, 4.0)
    """
    positions = np.asarray(positions_mm, dtype=np.float64)
    distances = np.diff(positions)
    if positions.ndim != 1 or len(positions) == 0 or not np.all(distances > 0):
        raise ValueError("positions must be a non-empty, strictly ascending sequence")
    if len(positions) == 1:
        share = None if thickness_mm is None else float(thickness_mm)
        return SliceAxis(distances, None if share is None else (share,), share, (), (), is_even=True)
    gaps = _find_gaps(distances)
    counted = distances.copy()
    for gap in gaps:
        counted[gap.after] = gap.counted_mm
    median = float(np.median(counted))
    changes = _find_changes(distances, [gap.after for gap in gaps])
    is_level = bool(np.all(np.abs(distances - median) <= noise_mm(median)))
    shares = tuple(_shares(counted).tolist())
    return SliceAxis(distances, shares, median, gaps, changes, is_even=is_level and not gaps and not changes)


def noise_mm(distance_mm: float) -> float:
    """How far two distances may differ and still be called equal."""
    return max(NOISE_MM, NOISE_FRACTION * distance_mm) + _ROUNDING_MM


def _shares(counted_mm: NDArray[np.float64]) -> NDArray[np.float64]:
    """Half of the distance to each neighbour; at an end that neighbour's half counts twice."""
    padded = np.concatenate((counted_mm[:1], counted_mm, counted_mm[-1:]))
    return np.asarray((padded[:-1] + padded[1:]) / 2)


def _find_gaps(distances_mm: NDArray[np.float64]) -> tuple[Gap, ...]:
    """All distances that stand out from their neighbours, other gaps among them, as the contract puts it."""
    gaps = []
    for index, distance in enumerate(distances_mm.tolist()):
        usual = _usual_distance(distances_mm, index)
        if usual is not None and _is_gap(distance, usual):
            gaps.append(Gap(index, distance, usual))
    return tuple(gaps)


def _is_gap(distance_mm: float, usual_mm: float) -> bool:
    return distance_mm > GAP_FACTOR * usual_mm + _ROUNDING_MM and distance_mm - usual_mm > NOISE_MM + _ROUNDING_MM


def _usual_distance(distances_mm: NDArray[np.float64], index: int) -> float | None:
    """Median of the neighbouring distances, up to two on each side; None where there are none."""
    near = [place for place in (index - 2, index - 1, index + 1, index + 2) if 0 <= place < len(distances_mm)]
    return float(np.median(distances_mm[near])) if near else None


def _find_changes(distances_mm: NDArray[np.float64], gaps: Sequence[int]) -> tuple[SpacingChange, ...]:
    """Where distances that agree are followed by some that agree on another value; one odd distance is no change.

    Two blocks of slices that touch lie apart by the mean of their distances: such a step is passed over.
    """
    kept = np.delete(np.arange(len(distances_mm)), gaps)
    values = distances_mm[kept]
    changes: list[SpacingChange] = []
    place = 1
    while place < len(values):
        steps = (skipped for skipped in (0, 1) if _is_change(values, place, skipped))
        skipped = next(steps, None)
        if skipped is None:
            place += 1
            continue
        before, after = _sides(values, place, skipped, _SHORT)
        at = int(kept[place + skipped])
        changes.append(SpacingChange(at, float(np.median(before)), float(np.median(after))))
        place += skipped + 1
    return tuple(changes)


def _sides(
    values: NDArray[np.float64], place: int, skipped: int, length: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Up to `length` distances before a place, and behind it or the step that is passed over."""
    return values[max(0, place - length) : place], values[place + skipped :][:length]


def _is_change(values: NDArray[np.float64], place: int, skipped: int) -> bool:
    """Whether the distances on both sides of a place agree among themselves, and not with each other.

    Over few distances, as a short block has, only a change is believed that rounded positions cannot feign.
    """
    ends = 1 if len(values) <= _FEW else 2
    for length, least_mm, least_part in ((_LONG, NOISE_MM, NOISE_FRACTION), (_SHORT, _PLAIN_MM, _PLAIN_PART)):
        before, after = _sides(values, place, skipped, length)
        if len(before) < min(ends, length) or len(after) < min(ends, length):
            continue
        low, high = float(np.median(before)), float(np.median(after))
        change = abs(high - low)
        if change <= max(least_mm, least_part * min(low, high)) + _ROUNDING_MM:
            continue
        spread = max(np.abs(before - low).max(), np.abs(after - high).max())
        passed = values[place : place + skipped]
        lies_between = np.all(np.abs(passed - (low + high) / 2) < change * (0.5 - _AGREEING))
        if spread <= _AGREEING * change and lies_between:
            return True
    return False
