"""What a model is measured on: one split of a data folder, or whole studies with their masks."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from sigap.core.contract import Contract
from sigap_training import lits
from sigap_training.bars import bar
from sigap_training.coco import stated_patient
from sigap_training.coco_export import ANNOTATIONS, Export, Picture, read_list
from sigap_training.coco_truth import Truth, plain_name
from sigap_training.evaluation.case import Case, as_stored, read_volume, refuse_elsewhere
from sigap_training.fingerprint import fingerprint
from sigap_training.lits_cases import CASES_FILE, CaseEntry
from sigap_training.slices import BadData
from sigap_training.splits import AS_STATED, Split, SplitOptions

_SPLIT_NOTES = {
    "train": "These cases were trained on: no measure of performance.",
    "valid": "This part picked checkpoint and thresholds: a development figure.",
}


@dataclass(frozen=True)
class Part:
    """Cases that are measured together.

    Attributes:
        name: the split's, or `studies`.
        sha256: fingerprint of its files.
        is_pictures: single slices without spacing.
        notes: what a reader of its figures must know.
        read: its cases with the truth about the contract's labels, one by one.
    """

    name: str
    sha256: str
    is_pictures: bool
    notes: tuple[str, ...]
    read: Callable[[Contract], Iterator[Case]]


def split_part(root: Path, split: str, options: SplitOptions = AS_STATED) -> Part:
    """One split of a data folder in the LiTS layout, or of a COCO export.

    Raises:
        BadData: the folder has neither, the split is empty, or its files are broken.
    """
    if not root.is_dir():
        raise BadData(f"{root} is no folder")
    if any(root.glob(f"*/{ANNOTATIONS}")):
        return _coco_part(root, split)
    known = get_args(Split)
    if split not in known:
        raise BadData(f"{root}: no split {split!r}; there are {', '.join(known)}")
    entries = lits.case_entries(root, next(name for name in known if name == split), options)
    lits.check_cases(root, entries)
    return Part(
        name=split if options.leave_out is None else f"patient {options.leave_out}",
        sha256=fingerprint(root, [root / path for entry in entries for path in (entry.volume, entry.segmentation)]),
        is_pictures=False,
        notes=(
            *_split_notes(split if options.leave_out is None else "test"),
            *_spacing_notes(root, {entry.name for entry in entries}),
        ),
        read=lambda contract: _lits_cases(root, entries, contract),
    )


def study_part(pairs: Sequence[tuple[Path, Path]]) -> Part:
    """Whole studies (NIfTI, or DICOM in a zip), each with a NIfTI mask in its geometry.

    A mask's values are the contract's labels in their order, from 1. Labels above the mask's largest value are not
    told, apart from the first.

    Raises:
        BadData: a file is missing; reading them: a study or mask is broken, a mask has other labels than the model, or
            another shape or place than its study.
    """
    for path in (path for pair in pairs for path in pair):
        if not path.is_file():
            raise BadData(f"{path} is missing")
    digests = "".join(fingerprint(path.parent, [path]) for pair in pairs for path in pair)
    sha256 = hashlib.sha256(digests.encode()).hexdigest()
    return Part(
        name="studies",
        sha256=sha256,
        is_pictures=False,
        notes=("Whole studies; labels above the largest value of a study's mask are not told by it.",),
        read=lambda contract: _studies(pairs, contract),
    )


def _lits_cases(root: Path, entries: Sequence[CaseEntry], contract: Contract) -> Iterator[Case]:
    names = {label.name for label in contract.labels}
    if not names <= {"liver", "tumour"}:
        raise BadData(f"{root} tells liver and tumour, the model {', '.join(sorted(names))}")
    for entry in bar(entries, root.name):
        case = lits.read_case(root, entry)
        volume = read_volume(root / entry.volume)
        masks = {"liver": case.labels >= lits.LIVER}
        if case.has_tumour_labels:
            masks["tumour"] = case.labels == lits.TUMOUR
        truth = {name: as_stored(mask, volume, root / entry.segmentation) for name, mask in masks.items()}
        known = {name: mask for name, mask in truth.items() if name in names}
        yield Case(case.name, case.patient, "", volume, known)


def _coco_part(root: Path, split: str) -> Part:
    folder = root / split
    pictures = read_list(folder).pictures
    if not pictures:
        raise BadData(f"{folder / ANNOTATIONS}: split {split!r} has no image")
    for picture in bar(pictures, "checking pictures"):
        picture.check()
    return Part(
        name=split,
        sha256=fingerprint(root, [folder / ANNOTATIONS, *(picture.path for picture in pictures)]),
        is_pictures=True,
        notes=(*_split_notes(split), *_picture_notes(pictures)),
        read=lambda contract: _picture_cases(folder, contract),
    )


def _picture_notes(pictures: Sequence[Picture]) -> Iterator[str]:
    total = len(pictures)
    if lonely := sum(stated_patient(picture.entry.get("patient")) is None for picture in pictures):
        yield (
            f"Of {lonely} of {total} slices the patient is unknown: each counts alone, and intervals are too narrow "
            "where several are of one patient."
        )
    if weak := sum(bool(picture.entry.get("weak")) for picture in pictures):
        yield f"{weak} of {total} slices have weak masks: their figures say how well those are matched."
    yield "Pictures have no spacing: sizes are in pixels, and there is no distance in mm."


def _picture_cases(folder: Path, contract: Contract) -> Iterator[Case]:
    """Pictures with the union of all shapes for a model of one label, else with what they tell of each label."""
    export = read_list(folder)
    labels = [label.name for label in contract.labels]
    is_union = len(labels) == 1
    channels = [0] if is_union else _channels(export, labels)
    for picture in bar(export.pictures, folder.name):
        volume = read_volume(picture.path)
        told = Truth.of(picture, () if is_union else export.categories)
        truth = {
            label: as_stored(told.masks[channel][np.newaxis] > 0, volume, picture.path)
            for label, channel in zip(labels, channels, strict=True)
            if told.known[channel]
        }
        name, patient = picture.path.stem, stated_patient(picture.entry.get("patient"))
        yield Case(name, patient or name, str(picture.entry.get("source") or ""), volume, truth)


def _channels(export: Export, labels: Sequence[str]) -> list[int]:
    """The place of each label's category; categories that are no label of the model stay unread."""
    names = [category.name for category in export.categories]
    spellings = {label: [name for name in names if plain_name(name) == plain_name(label)] for label in labels}
    if missing := [label for label, found in spellings.items() if not found]:
        raise BadData(f"{export.path} has no category {', '.join(missing)}, but the model has such labels")
    for label, found in spellings.items():
        if len(set(found)) > 1:
            raise BadData(f"{export.path}: the categories {', '.join(found)} are all called as the label {label}")
    return [names.index(found[0]) for found in spellings.values()]


def _studies(pairs: Sequence[tuple[Path, Path]], contract: Contract) -> Iterator[Case]:
    for study, path in bar(pairs, "studies"):
        volume = read_volume(study)
        image, values = _read_mask(path)
        if values.max() > len(contract.labels):
            raise BadData(f"{path}: value {values.max()}, but the model has {len(contract.labels)} labels")
        told = contract.labels[: max(int(values.max()), 1)]
        masks = {label.name: np.isin(values, contract.family(label.name)) for label in told}
        truth = {name: as_stored(mask, volume, path) for name, mask in masks.items()}
        refuse_elsewhere(image, volume, path)
        yield Case(study.name, study.name, "", volume, truth)


def _read_mask(path: Path) -> tuple[Any, NDArray[np.uint8]]:
    """The nibabel image, and its values in canonical orientation."""
    try:
        image = nib.load(path)
        values = lits.canonical(image)
    except (nib.filebasedimages.ImageFileError, OSError, ValueError, EOFError) as error:
        raise BadData(f"{path} is no NIfTI mask: {error}") from error
    whole = values.astype(np.uint8)
    if not np.array_equal(whole, values):
        raise BadData(f"{path}: values other than the whole numbers 0 to 255 are no mask's")
    return image, whole


def _split_notes(split: str) -> tuple[str, ...]:
    return (_SPLIT_NOTES[split],) if split in _SPLIT_NOTES else ()


def _spacing_notes(root: Path, names: set[str]) -> tuple[str, ...]:
    """Cases whose slice spacing the data folder calls assumed."""
    try:
        stated = json.loads((root / CASES_FILE).read_text())["cases"]
    except FileNotFoundError:
        return ()
    assumed = [str(case["case"]) for case in stated if str(case.get("spacing", "")).startswith("assumed")]
    found = [name for name in assumed if name in names]
    return (f"Slice spacing assumed, so mm and mL hold in proportion only: cases {', '.join(found)}.",) if found else ()
