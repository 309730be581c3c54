"""Several scans of one region in one series: found, listed, and one of them picked.

Two acquisitions, kernels or time points that share places or alternate along the axis would make one volume of two.
Blocks that follow one another, as a chest and an abdomen scanned in two goes, are one volume.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sigap.core.errors import BadParameter
from sigap.core.verdict import Reason, Severity
from sigap.imaging.dicom.places import Placed

# What may tell acquisitions apart, the plainest first.
# These stand for whole acquisitions: they also count when they merely alternate.
_STEADY = (
    "acquisition_number",
    "kernel",
    "time_point",
    "cardiac_phase",
    "image_type",
    "stack",
    "series_number",  # two series joined under one UID
    "irradiation_event",
)
# These vary from slice to slice in a good series, so they count only where places are shared.
_VARYING = (
    "kvp",
    "thickness_mm",
    "reconstruction_diameter_mm",
    "description",
    "trigger_time",
    "acquisition_time",
    "content_time",
)
_FLICKERING = ("kvp", "acquisition_time")
_CLOCKS = ("acquisition_time", "content_time", "trigger_time")
_WORDS = {
    "acquisition_number": "acquisition",
    "time_point": "time",
    "cardiac_phase": "phase",
    "image_type": "type",
    "series_number": "series",
    "irradiation_event": "event",
    "acquisition_time": "time",
    "content_time": "content-time",
}
# Dates, times and UIDs are told by their rank alone: what is refused is shown and logged by others.
_BY_RANK = ("irradiation_event", "acquisition_time", "content_time")
# So much of the sharing must be explained before frames that still lie together count as duplicates.
_EXPLAINED = 0.9


@dataclass(frozen=True)
class Acquisitions:
    """A split of the frames.

    Attributes:
        names: the marks that make it.
        keys: (frames,) of each frame; what the client names.
    """

    names: tuple[str, ...]
    keys: tuple[str, ...]


def find_acquisitions(placed: Placed) -> Acquisitions | None:
    """Split interleaved acquisitions; None if there is nothing to split."""
    candidates = [name for name in (*_STEADY, *_VARYING) if len({frame.marks[name] for frame in placed.frames}) > 1]
    steady = [name for name in _STEADY if name in candidates]
    if placed.shared.any():
        attempts: list[tuple[str, ...]] = [(name,) for name in candidates] + list(combinations(candidates, 2))
        if len(steady) > 2:
            attempts.append(tuple(steady))
        distinct = _count_distinct(placed)
        found = next((names for names in attempts if _explains(placed, _values(placed, names), distinct)), None)
        return _named(placed, found) if found else _by_clock(placed)
    alternating = [name for name in steady if _comes_back([frame.marks[name] for frame in placed.frames])]
    alternating += [name for name in candidates if name in _FLICKERING and _flickers(placed, name)]
    return _named(placed, tuple(alternating)) if alternating else None


def pick_acquisition(placed: Placed, found: Acquisitions | None, key: str) -> Placed:
    """Keep one acquisition's frames.

    Raises:
        BadParameter: there is none of that key.
    """
    if found is None:
        raise BadParameter(
            "The series is one acquisition; there is nothing to pick, leave acquisition out.",
            slug="unknown-acquisition",
        )
    kept = np.array([own == key for own in found.keys])
    if not kept.any():
        listed = ", ".join(sorted(set(found.keys), key=_natural))
        raise BadParameter(f"The series has no such acquisition; it has {listed}.", slug="unknown-acquisition")
    return placed.only(kept)


def refuse_interleaved(placed: Placed, found: Acquisitions) -> Reason:
    """List what is interleaved."""
    keys = list(dict.fromkeys(found.keys))
    entries = [_entry(placed, found, key) for key in sorted(keys, key=_natural)]
    shared = len(set(placed.places[placed.shared].tolist()))
    how = f"share {shared} place{'s' * (shared > 1)}" if shared else "alternate along the axis"
    message = f"The series mixes {len(keys)} acquisitions that {how}; name the one to read with acquisition."
    numbers = {"acquisitions": entries, "shared_places": shared, "told_apart_by": list(found.names)}
    return Reason("interleaved_acquisitions", Severity.REFUSED, message, numbers)


def _entry(placed: Placed, found: Acquisitions, key: str) -> dict[str, Any]:
    members = [index for index, own in enumerate(found.keys) if own == key]
    frame, heights = placed.frames[members[0]], placed.heights_mm[members]
    own = {name: frame.marks[name] for name in found.names if name not in _BY_RANK}
    return {
        "acquisition": key,
        "slices": len(members),
        "first_mm": float(heights[0]),
        "last_mm": float(heights[-1]),
    } | own


def _values(placed: Placed, names: Sequence[str]) -> list[tuple[str, ...]]:
    return [tuple(frame.marks[name] for name in names) for frame in placed.frames]


def _count_distinct(placed: Placed) -> int:
    """How many frames differ in their place or in any mark; the others are copies."""
    marks = [tuple(sorted(frame.marks.items())) for frame in placed.frames]
    return len(set(zip(placed.places.tolist(), marks, strict=True)))


def _explains(placed: Placed, values: Sequence[tuple[str, ...]], distinct: int) -> bool:
    """Whether frames of one place have different values, and values stand for more than one slice each.

    Copies, which no mark at all tells apart, are not for the acquisitions to explain: `distinct` leaves them out.
    """
    before = distinct - int(placed.places[-1]) - 1
    after = distinct - len(set(zip(placed.places.tolist(), values, strict=True)))
    if before == 0 or after > (1 - _EXPLAINED) * before:
        return False
    members = Counter(values)
    return placed.places[-1] == 0 or 2 * sum(count for count in members.values() if count > 1) > len(values)


def _comes_back(values: Sequence[str]) -> bool:
    """Whether values come back along the axis.

    A B A is a block rescanned in its middle; two volumes that overlap come back at least once more: A B A B.
    """
    return _runs(values) > len(set(values)) + 1


def _flickers(placed: Placed, name: str) -> bool:
    """Whether a few values take turns from slice to slice; near a heartbeat's end a good series swaps some, too."""
    values = [frame.marks[name] for frame in placed.frames]
    return 2 * _runs(values) >= len(values) and 3 * len(set(values)) <= len(values)


def _runs(values: Sequence[str]) -> int:
    return 1 + sum(one != other for one, other in pairwise(values))


def _by_clock(placed: Placed) -> Acquisitions | None:
    """Time points that nothing but the clock tells apart: the n-th slice of each place is time point n."""
    counts = np.bincount(placed.places)
    usual = int(np.median(counts))
    if usual < 2 or np.mean(counts == usual) < _EXPLAINED:
        return None
    for name in _CLOCKS:
        times = [frame.marks[name] for frame in placed.frames]
        if all(times) and len(set(zip(placed.places.tolist(), times, strict=True))) == len(times):
            ranks = _ranks(placed.places, times)
            return Acquisitions((name,), tuple(f"time-{rank + 1}" for rank in ranks))
    return None


def _ranks(places: NDArray[np.int64], times: Sequence[str]) -> list[int]:
    """For each frame, how many of its place came before it."""
    seen: Counter[int] = Counter()
    ranks = [0] * len(times)
    for index in sorted(range(len(times)), key=lambda index: _natural(times[index])):
        ranks[index] = seen[int(places[index])]
        seen[int(places[index])] += 1
    return ranks


def _named(placed: Placed, names: tuple[str, ...]) -> Acquisitions:
    """Keys that a person can type: `acquisition-2`, `kernel-B30f`, `event-1`."""
    shown = {name: _shown(name, {frame.marks[name] for frame in placed.frames}) for name in names}
    keys: dict[tuple[str, ...], str] = {}
    for value in _values(placed, names):
        if value not in keys:
            parts = [f"{_WORDS.get(name, name)}-{shown[name][text]}" for name, text in zip(names, value, strict=True)]
            key = "_".join(parts)
            keys[value] = key if key not in keys.values() else f"{key}~{len(keys) + 1}"
    return Acquisitions(names, tuple(keys[value] for value in _values(placed, names)))


def _shown(name: str, values: set[str]) -> dict[str, str]:
    """How a key names each value of a mark."""
    if name not in _BY_RANK:
        return {value: _slug(value) for value in values}
    return {value: str(rank) for rank, value in enumerate(sorted(values, key=_natural), 1)}


def _slug(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9.+]+", "-", text).strip("-") or "none"


def _natural(text: str) -> list[tuple[float, str]]:
    """Sort key: digits by their value."""
    pieces = re.findall(r"(\d+\.?\d*|\.\d+|)(\D*)", text)
    return [(float(digits or 0), rest) for digits, rest in pieces if digits or rest]
