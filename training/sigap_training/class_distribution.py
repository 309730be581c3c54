"""How often each category of a COCO export stands in each split."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sigap_training import figure


@dataclass(frozen=True)
class ClassCount:
    """One category in one split."""

    annotations: int
    images: int


def count_classes(document: Mapping[str, Any]) -> dict[str, ClassCount]:
    """By category, in the document's order, its annotations and the images that have any; last, images without any."""
    counts = {}
    for category in document["categories"]:
        mine = [entry["image_id"] for entry in document["annotations"] if entry["category_id"] == category["id"]]
        counts[str(category["name"])] = ClassCount(len(mine), len(set(mine)))
    drawn = {entry["image_id"] for entry in document["annotations"]}
    return {**counts, "(none)": ClassCount(0, sum(entry["id"] not in drawn for entry in document["images"]))}


def draw_class_distribution(documents: Mapping[str, Mapping[str, Any]], path: Path) -> None:
    """Bars of annotations and of images by category, one colour a split.

    Categories that stand in no split (Roboflow adds an empty parent category) are left out.

    Args:
        documents: by split, what its `_annotations.coco.json` says.
        path: of the PNG file.
    """
    counts = {split: count_classes(document) for split, document in documents.items()}
    names = list(dict.fromkeys(name for found in counts.values() for name in found))
    names = [name for name in names if any(found.get(name, ClassCount(0, 0)).images for found in counts.values())]
    canvas = figure.new_figure(max(8.0, 1.5 + 0.9 * len(names)), 7)
    width = 0.8 / max(len(counts), 1)
    for axes, what in zip(canvas.subplots(2, 1), ("annotations", "images"), strict=True):
        for place, (split, found) in enumerate(counts.items()):
            heights = [getattr(found.get(name, ClassCount(0, 0)), what) for name in names]
            centres = np.arange(len(names)) + (place - (len(counts) - 1) / 2) * width
            bars = axes.bar(centres, heights, width * 0.95, color=figure.colour(place), label=split)
            axes.bar_label(bars, fontsize=7, padding=1)
        figure.name_ticks(axes, names)
        figure.tidy(axes, title=f"{what.capitalize()} by category and split", x="", y=what)
        axes.legend(frameon=False)
    figure.save(canvas, path)
