"""What a picture's annotations tell of each category: its mask, and whether it is told at all."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sigap_training.coco_export import Category, Picture


@dataclass(frozen=True)
class Truth:
    """Of one picture, channel by channel. Training and evaluation share it: a second rule would measure another task.

    Attributes:
        masks: 0 or 1 [C, H, W].
        known: of each channel, whether the annotations tell it; where not, its mask means nothing.
    """

    masks: NDArray[np.uint8]
    known: tuple[bool, ...]

    @classmethod
    def of(cls, picture: Picture, categories: Sequence[Category]) -> Truth:
        """Draw a picture's annotations.

        The mask of a category that is others' supercategory holds theirs; an annotation with it alone leaves unknown
        which of them it is.

        Args:
            picture: what is annotated.
            categories: one channel each; none: one channel, the union of all annotations.

        Raises:
            BadData: a shape is none.
        """
        told = {category for _, category, _ in picture.shapes}
        if not categories:
            return cls(picture.draw([told]), (True,))
        within = {category.id: _ids_within(category, categories) for category in categories}
        wholes = told & within.keys()
        known = (
            bool(parts & told) or not any(number in within[whole] for whole in wholes)
            for number, parts in within.items()
        )
        return cls(picture.draw(list(within.values())), tuple(known))


def plain_name(name: str) -> str:
    """As names of categories and labels are compared: without case, any separators alike."""
    return re.sub(r"[\W_]+", "_", name.casefold()).strip("_")


def _ids_within(category: Category, categories: Sequence[Category]) -> set[int]:
    """Its own, and those of all whose supercategory it is, theirs and so on."""
    names = {category.name}
    for _ in categories:
        names |= {below.name for below in categories if below.supercategory in names}
    return {below.id for below in categories if below.name in names}
