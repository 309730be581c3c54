"""The same file sent twice, and different files of one place."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sigap.core.study import Ignored, Limits
from sigap.core.verdict import Reason, Severity
from sigap.imaging.dicom.frames import Frame, Image
from sigap.imaging.dicom.hounsfield import check_limits, read_planes
from sigap.imaging.dicom.places import Placed


def drop_repeated_files(frames: Sequence[Frame]) -> tuple[list[Frame], list[Ignored]]:
    """Keep one of each set of files with one SOP Instance UID and the same bytes."""
    images = dict.fromkeys(frame.image for frame in frames)
    uses = Counter(image.sop_uid for image in images)
    seen: set[tuple[str | None, bytes]] = set()
    repeated: set[Image] = set()
    for image in images:
        if uses[image.sop_uid] > 1:
            content = image.sop_uid, _digest(image.file.path)
            if content in seen:
                repeated.add(image)
            seen.add(content)
    ignored = [Ignored(image.file.name, "The same file is there twice.") for image in images if image in repeated]
    return [frame for frame in frames if frame.image not in repeated], ignored


def _digest(path: Path) -> bytes:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").digest()


def are_copies(placed: Placed, limits: Limits, check: Callable[[], None] = lambda: None) -> bool:
    """Whether places are shared, and by equal slices only: two blocks that both hold their boundary are one scan."""
    return bool(placed.shared.any()) and next(_unlike_places(placed, limits, check), None) is None


def resolve_duplicates(
    placed: Placed, limits: Limits, check: Callable[[], None] = lambda: None
) -> tuple[Placed, list[Reason], list[Ignored]]:
    """Use one of several equal slices of a place; refuse different ones.

    Returns:
        The frames, one a place; the findings; the files not used.

    Raises:
        UnreadableInput: the pixels of a shared place cannot be decoded.
    """
    if not placed.shared.any():
        return placed, [], []
    kept = np.ones(len(placed.frames), dtype=bool)
    equal: list[NDArray[np.int64]] = []
    unlike: list[NDArray[np.int64]] = []
    different = set(_unlike_places(placed, limits, check))
    for number in np.unique(placed.places[placed.shared]):
        members = np.flatnonzero(placed.places == number)
        (unlike if int(number) in different else equal).append(members)
        kept[members[1:]] = False
    reasons = [
        _reason(severity, placed, groups)
        for severity, groups in ((Severity.REFUSED, unlike), (Severity.WARNING, equal))
        if groups
    ]
    used = {frame.image.file for frame, keep in zip(placed.frames, kept, strict=True) if keep}
    unused = dict.fromkeys(frame.image.file for frame in placed.frames if frame.image.file not in used)
    return (
        placed.only(kept),
        reasons,
        [Ignored(file.name, "Another slice of the same place is equal.") for file in unused],
    )


def _unlike_places(placed: Placed, limits: Limits, check: Callable[[], None]) -> Iterator[int]:
    """Places whose slices have different pixels, as they are found; each file is read once, whatever it holds.

    Raises:
        TooLarge: over the limits, before anything is read.
    """
    layout = placed.frames[0].image.layout
    check_limits(int(placed.places[-1]) + 1, layout.rows, layout.columns, limits)
    members = np.flatnonzero(placed.shared)
    seen: dict[int, bytes] = {}
    for member, plane in read_planes([placed.frames[index] for index in members], limits, check):
        place = int(placed.places[members[member]])
        # In one type, and without a negative zero: equal numbers have equal bytes.
        content = hashlib.sha256((plane.astype(np.float64) + 0.0).tobytes()).digest()
        if seen.setdefault(place, content) != content:
            yield place


def _reason(severity: Severity, placed: Placed, groups: Sequence[NDArray[np.int64]]) -> Reason:
    heights = [float(placed.heights_mm[members[0]]) for members in groups]
    count = len(groups)
    where = f"At {count} place{'s' * (count > 1)} along the axis lie several slices"
    if severity is Severity.REFUSED:
        message = f"{where} with different pixels, and nothing tells which of them belong together; send one scan."
    else:
        message = f"{where} with equal pixels; one of them was used."
    slices = [int(placed.places[members[0]]) for members in groups]
    numbers = {"places": count, "slices": slices, "positions_mm": heights}
    return Reason("duplicate_slices", severity, message, numbers)
