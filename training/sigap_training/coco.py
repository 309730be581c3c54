"""The slices of a COCO export: one mask for all its categories, or one for each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sigap_training.bars import bar
from sigap_training.coco_export import ANNOTATIONS, Category, Export, Picture, read_list
from sigap_training.slices import UNKNOWN, BadData, SliceSet, fit_bytes, join

__all__ = ["ANNOTATIONS", "GROUPS", "read_export", "read_slices", "slice_parts", "stated_patient"]

GROUPS = ("expert", "weak", "negative-phe", "negative-rsna", "negative")
_BLOCK = 64  # pictures of one part: bounds the memory of a build


def read_export(folder: Path) -> list[tuple[dict[str, Any], NDArray[np.uint8], NDArray[np.uint8]]]:
    """Each image of a split: its entry (with the names of its `categories`), pixels [H, W] and binary mask [H, W].

    Raises:
        BadData: the annotations or an image are missing or unreadable, an image has not its stated size, an annotation
            has no image, an unknown category or no proper shape.
    """
    export = read_list(folder)
    union = {category.id: 0 for category in export.categories}
    return [(picture.entry, picture.read(), picture.draw(union, 1)[0]) for picture in export.pictures]


def read_slices(
    folder: Path, *, size: int, subtypes: Sequence[str] = (), categories: Sequence[Category] = ()
) -> SliceSet:
    """The slices of one split's export, in memory; see `slice_parts`."""
    return join(list(slice_parts(read_list(folder), size=size, subtypes=subtypes, categories=categories)))


def slice_parts(
    export: Export, *, size: int, subtypes: Sequence[str] = (), categories: Sequence[Category] = ()
) -> Iterator[SliceSet]:
    """The slices of one split, in pieces.

    Findings are the channels' (is there any?) and then the subtypes asked for. Groups, by what an entry's `source` and
    `weak` say: `expert` and `weak` masks with blood; slices without, of RSNA, of other sources, or of none stated.

    With `categories`, an annotation with their supercategory leaves unknown which of them it is.

    Args:
        export: the split.
        size: the side of the slices.
        subtypes: names of categories that are findings beside the channels.
        categories: one channel each; none: one channel, the union of all categories.

    Raises:
        BadData: as `read_export`, or there is no image.
    """
    if not export.pictures:
        raise BadData(f"{export.path}: there is no image in it")
    starts = range(0, len(export.pictures), _BLOCK)
    for start in bar(starts, f"reading {export.path.parent.name}"):
        pictures = export.pictures[start : start + _BLOCK]
        yield join([_slice_of(picture, size, subtypes, categories) for picture in pictures])


def stated_patient(patient: str | None) -> str | None:
    """Who a slice is of, where that is known."""
    return None if patient in (None, "", "unknown") else patient


def _slice_of(picture: Picture, size: int, subtypes: Sequence[str], categories: Sequence[Category]) -> SliceSet:
    numbers = {number for _, number, _ in picture.shapes}
    channel_of = {category.id: channel for channel, category in enumerate(categories)} or dict.fromkeys(numbers, 0)
    masks = picture.draw(channel_of, max(len(categories), 1))
    told: set[str] = picture.entry["categories"]
    known = [category.name in told or category.supercategory not in told for category in categories] or [True]
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
