"""A recipe's slices of one split: from its folder or from the cache, checked before, fingerprinted after."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from sigap_training import lits, slice_labels
from sigap_training.cache import cached
from sigap_training.coco_folder import CocoFolder
from sigap_training.fingerprint import fingerprint, stamp
from sigap_training.lits_cases import case_files
from sigap_training.recipe import Recipe
from sigap_training.slices import BadData, SliceSet, join
from sigap_training.teacher import load_teacher, teach

_FORMAT = 3  # of cached sets: raise it when the same files and options give other slices


@dataclass(frozen=True)
class Source:
    """Where one split's slices come from.

    Attributes:
        root: the data folder.
        files: all that is read, below `root`.
        key: what the slices depend on beside the files.
        parts: reads them, in pieces that fit into memory.
    """

    root: Path
    files: tuple[Path, ...]
    key: str
    parts: Callable[[], Iterable[SliceSet]]


def load_split(recipe: Recipe, split: str, *, data: Path | None = None, cache: Path | None = None) -> SliceSet:
    """Read a split for training, at the recipe's `cached_size`.

    Args:
        recipe: which dataset, window and size.
        split: `train`, `valid` or `test`. Of COCO exports `train` includes `slice_labels/` where there is one, if the
            loss weighs findings or pseudo masks, or a teacher draws their masks: else most of it teaches nothing.
        data: the folder, instead of the recipe's.
        cache: folder of the cache; None: everything is read into memory. A cached set is used as long as the names,
            sizes and times of the files it was read from stay the same.

    Raises:
        BadData: the data break their layout, or the split is empty.
        BadTeacher: the recipe's teacher cannot teach.
    """
    source = find_source(recipe, split, data=data)
    if cache is None:
        return join(list(source.parts()))
    key = f"{_FORMAT} {source.root.resolve()} {source.key} {stamp(source.root, source.files)}"
    return cached(cache, key, source.parts)


def check_data(recipe: Recipe, *, data: Path | None = None) -> None:
    """Refuse data that would break a run later: all splits, headers before voxels, before anything is trained.

    Raises:
        BadData: the data break their layout, a patient or a picture stands in two splits, or there is nothing to train
            or to validate on.
    """
    root = data or recipe.data
    if recipe.dataset == "coco":
        _coco_folder(recipe, root).check([label.name for label in recipe.read_contract().labels])
        return
    for split in ("train", "valid"):
        lits.case_entries(root, split, recipe.split)
    parts = lits.divide_cases(root, recipe.split)
    lits.check_cases(root, [entry for part in parts.values() for entry in part])


def data_fingerprint(recipe: Recipe, split: str, *, data: Path | None = None) -> str:
    """SHA-256 of all files that a split is read from; see `fingerprint`. It raises as `find_source`."""
    source = find_source(recipe, split, data=data)
    return fingerprint(source.root, source.files)


def find_source(recipe: Recipe, split: str, *, data: Path | None = None) -> Source:
    """Where a split is read from; reads lists and names, no pictures.

    Raises:
        BadData: the split is missing or empty, a list is broken, or a teacher has nothing to teach.
        BadTeacher: the recipe's teacher cannot teach.
    """
    root = data or recipe.data
    return _lits_source(recipe, root, split) if recipe.dataset == "lits" else _coco_source(recipe, root, split)


def _lits_source(recipe: Recipe, root: Path, split: str) -> Source:
    entries = lits.case_entries(root, split, recipe.split)
    contract, size = recipe.read_contract(), recipe.cached_size
    level_hu, width_hu = contract.level_hu, contract.width_hu
    return Source(
        root=root,
        files=case_files(root, entries),
        key=f"lits {size} {level_hu} {width_hu} {entries}",
        parts=lambda: lits.slice_parts(root, entries, size=size, level_hu=level_hu, width_hu=width_hu),
    )


def _coco_source(recipe: Recipe, root: Path, split: str) -> Source:
    folder, size = _coco_folder(recipe, root), recipe.cached_size
    teacher = load_teacher(recipe) if split == "train" else None
    if teacher is not None and not folder.labelled:
        raise BadData(f"{root / slice_labels.FOLDER} is missing: taught_by has nothing to teach without it")
    taught_by = f" {teacher.sha256}" if teacher is not None else ""

    def parts() -> Iterable[SliceSet]:
        found = folder.slice_parts(split, size)
        return found if teacher is None else (teach(part, teacher) for part in found)

    return Source(
        root=root,
        files=folder.files(split),
        key=f"coco {split} {size} {folder.subtypes} {folder.categories}{taught_by}",
        parts=parts,
    )


def _coco_folder(recipe: Recipe, root: Path) -> CocoFolder:
    if recipe.split.file is not None or recipe.split.leave_out is not None:
        raise BadData(f"{root}: the folders of a COCO export are its split: no split.file, no split.leave_out")
    return CocoFolder.find(
        root,
        subtypes=recipe.subtypes,
        multiclass=recipe.multiclass,
        with_slice_labels=recipe.loss.finding_weight > 0
        or recipe.loss.pseudo_weight > 0
        or recipe.taught_by is not None,
    )
