"""A recipe's slices of one split, from its folder or from the cache."""

from __future__ import annotations

from pathlib import Path

from sigap_training import coco, lits
from sigap_training.recipe import Recipe
from sigap_training.slices import SliceSet, cached, join


def load_split(recipe: Recipe, split: str, *, data: Path | None = None, cache: Path | None = None) -> SliceSet:
    """Read a split for training, at the recipe's `cached_size`.

    Args:
        recipe: which dataset, window and size.
        split: `train`, `valid` or `test`. Of COCO exports `train` includes `slice_labels/` where there is one.
        data: the folder, instead of the recipe's.
        cache: folder of the cache; None: none.
    """
    root = data or recipe.data

    def build() -> SliceSet:
        size = recipe.cached_size
        if recipe.dataset == "lits":
            contract = recipe.read_contract()
            return lits.read_slices(root, split, size=size, level_hu=contract.level_hu, width_hu=contract.width_hu)
        slices = coco.read_slices(root / split, size=size)
        if split == "train" and (root / "slice_labels").exists():
            return join([slices, coco.read_slice_labels(root / "slice_labels", size=size)])
        return slices

    if cache is None:
        return build()
    window = recipe.contract["window"]
    return cached(cache, f"{root.resolve()} {recipe.dataset} {split} {recipe.cached_size} {window}", build)
