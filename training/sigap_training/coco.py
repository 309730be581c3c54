"""The slices of a COCO export: one mask for all its categories, or one for each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from sigap_training.bars import bar
from sigap_training.coco_export import Category, Export, Picture
from sigap_training.coco_truth import Truth
from sigap_training.slices import UNKNOWN, BadData, SliceSet, fit_bytes, join

GROUPS = ("expert", "weak", "negative-phe", "negative-rsna", "negative")
_BLOCK = 64  # pictures of one part: bounds the memory of a build


def slice_parts(
    export: Export, *, size: int, subtypes: Sequence[str] = (), categories: Sequence[Category] = ()
) -> Iterator[SliceSet]:
    """The slices of one split, in pieces.

    Findings are the channels' (is there any?) and then the subtypes asked for. Groups, by what an entry's `source` and
    `weak` say: `expert` and `weak` masks with blood; slices without, of RSNA, of other sources, or of none stated.

    Args:
        export: the split.
        size: the side of the slices.
        subtypes: names of categories that are findings beside the channels.
        categories: the channels, see `Truth.of`.

    Raises:
        BadData: there is no image, or one is missing or unreadable, has not its stated size or a shape that is none.
    """
    if not export.pictures:
        raise BadData(f"{export.path}: there is no image in it")
    starts = range(0, len(export.pictures), _BLOCK)
    for start in bar(starts, f"reading {export.path.parent.name}"):
        pictures = export.pictures[start : start + _BLOCK]
        yield join([_slice_of(picture, size, subtypes, categories) for picture in pictures])


def stated_patient(patient: object) -> str | None:
    """Who a slice is of, where that is known; a number is the same patient as its text."""
    return None if patient in (None, "", "unknown") else str(patient)


def _slice_of(picture: Picture, size: int, subtypes: Sequence[str], categories: Sequence[Category]) -> SliceSet:
    truth = Truth.of(picture, categories)
    found = [int(mask.any()) if is_known else UNKNOWN for mask, is_known in zip(truth.masks, truth.known, strict=True)]
    has_blood = bool(truth.masks.any())
    told = _subtypes(picture.entry["categories"], subtypes, has_blood=has_blood)
    return SliceSet(
        images=fit_bytes(picture.read()[None], size),
        masks=fit_bytes(truth.masks * 255, size)[None],
        known=np.array([truth.known]),
        findings=np.array([found + told], np.int8),
        patient=np.array([stated_patient(picture.entry.get("patient")) or picture.path.name]),
        study=np.zeros(1, np.int64),
        group=np.array([GROUPS.index(_group(picture.entry, has_blood=has_blood))]),
        groups=GROUPS,
    )


def _subtypes(told: set[str], subtypes: Sequence[str], *, has_blood: bool) -> list[int]:
    """A no where there is no blood, unknown where an annotation does not tell its subtype."""
    if not has_blood:
        return [0] * len(subtypes)
    untold = 0 if told <= set(subtypes) else UNKNOWN
    return [1 if name in told else untold for name in subtypes]


def _group(entry: Mapping[str, Any], *, has_blood: bool) -> str:
    if has_blood:
        return "weak" if entry.get("weak") else "expert"
    source = entry.get("source")
    if source is None:
        return "negative"
    return "negative-rsna" if "RSNA" in source else "negative-phe"
