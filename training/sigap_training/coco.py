"""The slices of a COCO export: one mask for all its categories, or one for each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sigap_training.bars import bar
from sigap_training.coco_export import Category, Export, Picture
from sigap_training.slices import UNKNOWN, BadData, SliceSet, fit_bytes, join

GROUPS = ("expert", "weak", "negative-phe", "negative-rsna", "negative")
_BLOCK = 64  # pictures of one part: bounds the memory of a build


def slice_parts(
    export: Export, *, size: int, subtypes: Sequence[str] = (), categories: Sequence[Category] = ()
) -> Iterator[SliceSet]:
    """The slices of one split, in pieces.

    Findings are the channels' (is there any?) and then the subtypes asked for. Groups, by what an entry's `source` and
    `weak` say: `expert` and `weak` masks with blood; slices without, of RSNA, of other sources, or of none stated.

    With `categories`, the mask of one that is others' supercategory holds theirs; an annotation with it alone leaves
    unknown which of them it is.

    Args:
        export: the split.
        size: the side of the slices.
        subtypes: names of categories that are findings beside the channels.
        categories: one channel each; none: one channel, the union of all categories.

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
    numbers = {number for _, number, _ in picture.shapes}
    channel_of = {category.id: channel for channel, category in enumerate(categories)} or dict.fromkeys(numbers, 0)
    masks = picture.draw(channel_of, max(len(categories), 1))
    told: set[str] = picture.entry["categories"]
    known = [True]
    if categories:
        within = {category.name: _names_within(category, categories) for category in categories}
        masks = np.stack([_union(masks, categories, within[category.name]) for category in categories])
        known = [_is_known(category.name, told, within) for category in categories]
    found = [int(mask.any()) if is_known else UNKNOWN for mask, is_known in zip(masks, known, strict=True)]
    has_blood = bool(masks.any())
    return SliceSet(
        images=fit_bytes(picture.read()[None], size),
        masks=fit_bytes(masks * 255, size)[None],
        known=np.array([known]),
        findings=np.array([found + _subtypes(told, subtypes, has_blood=has_blood)], np.int8),
        patient=np.array([stated_patient(picture.entry.get("patient")) or picture.path.name]),
        study=np.zeros(1, np.int64),
        group=np.array([GROUPS.index(_group(picture.entry, has_blood=has_blood))]),
        groups=GROUPS,
    )


def _names_within(category: Category, categories: Sequence[Category]) -> set[str]:
    """Its name, and those of all whose supercategory it is, theirs and so on."""
    names = {category.name}
    for _ in categories:
        names |= {below.name for below in categories if below.supercategory in names}
    return names


def _union(masks: NDArray[np.uint8], categories: Sequence[Category], names: set[str]) -> NDArray[np.uint8]:
    """Of the masks [C, H, W] of `categories`, [H, W]."""
    union: NDArray[np.uint8] = masks[[category.name in names for category in categories]].max(axis=0)
    return union


def _is_known(name: str, told: set[str], within: Mapping[str, set[str]]) -> bool:
    """Whether an annotation is of it or of a part of it, or none is of a whole that it is a part of."""
    return bool(within[name] & told) or not any(name in within.get(whole, ()) for whole in told)


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
