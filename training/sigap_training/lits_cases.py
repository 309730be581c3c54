"""Which cases a LiTS folder holds: `volume-<case>.nii[.gz]`, `segmentation-<case>.nii[.gz]`, perhaps a `cases.json`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ValidationError

from sigap_training.reasons import reasons
from sigap_training.slices import BadData
from sigap_training.splits import SPLITS, Split

CASES_FILE = "cases.json"
_NAME = re.compile(r"(volume|segmentation)-([^.]+)\.nii(\.gz)?")


@dataclass(frozen=True)
class CaseEntry:
    """A case that has not been read yet.

    Attributes:
        name: the case's number, without leading zeros.
        patient: cases of one patient never stand in two splits.
        split: what the folder states about it; None: nothing.
        volume, segmentation: its files, relative to the data folder.
        has_tumour_labels: False where tumours are hidden in label 1.
    """

    name: str
    patient: str
    split: Split | None
    volume: Path
    segmentation: Path
    has_tumour_labels: bool


class _Stated(BaseModel):
    case: int | str
    patient: str | None = None
    split: Split | None = None
    labels: tuple[Literal["liver", "tumour"], ...] = ("liver", "tumour")


class _Document(BaseModel):
    cases: tuple[_Stated, ...]


def find_cases(root: Path) -> list[CaseEntry]:
    """All cases below a folder, whatever sub-folders they lie in.

    Without a `cases.json` each case is a patient of its own with tumour labels, in order of number, and its split is
    told by its sub-folder if that is called train, valid or test. With one, the file lists all cases, in its order:
    `{"cases": [{"case": "0", "patient": "A", "split": "train", "labels": ["liver", "tumour"]}]}`; patient, split and
    labels may be left out and are then as without the file, but for the split, which is then not stated.

    Raises:
        BadData: there is no folder or no case; a volume has no segmentation or the other way round; a number stands for
            two files; `cases.json` is broken, or it and the folder name different cases.
    """
    if not root.is_dir():
        raise BadData(f"{root} is no folder")
    volumes, segmentations = _files(root, "volume"), _files(root, "segmentation")
    _refuse_widows(root, volumes, segmentations)
    path = root / CASES_FILE
    if not path.exists():
        return [_unlisted(name, volumes[name], segmentations[name]) for name in sorted(volumes, key=_natural)]
    stated = _read_list(path)
    names = [_plain(str(entry.case)) for entry in stated]
    _refuse_differences(root, names, volumes)
    return [
        CaseEntry(
            name=name,
            patient=entry.patient or name,
            split=entry.split,
            volume=volumes[name],
            segmentation=segmentations[name],
            has_tumour_labels="tumour" in entry.labels,
        )
        for name, entry in zip(names, stated, strict=True)
    ]


def case_files(root: Path, entries: Sequence[CaseEntry]) -> tuple[Path, ...]:
    """All files that these cases are read from, the list among them."""
    lists = [root / CASES_FILE] if (root / CASES_FILE).exists() else []
    return (*lists, *(root / path for entry in entries for path in (entry.volume, entry.segmentation)))


def _unlisted(name: str, volume: Path, segmentation: Path) -> CaseEntry:
    folder = volume.parent.name
    split = next((split for split in SPLITS if split == folder), None)
    return CaseEntry(name, name, split, volume, segmentation, has_tumour_labels=True)


def _files(root: Path, kind: str) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in sorted(root.rglob(f"{kind}-*")):
        match = _NAME.fullmatch(path.name)
        if match is None:
            continue
        name, relative = _plain(match[2]), path.relative_to(root)
        if found.setdefault(name, relative) != relative:
            raise BadData(f"{path}: {found[name]} is the {kind} of case {name} too")
    return found


def _refuse_widows(root: Path, volumes: dict[str, Path], segmentations: dict[str, Path]) -> None:
    if not volumes and not segmentations:
        raise BadData(f"{root}: no volume-<case>.nii or volume-<case>.nii.gz in it or below it")
    for ours, theirs, other in ((volumes, segmentations, "segmentation"), (segmentations, volumes, "volume")):
        for name, path in ours.items():
            if name not in theirs:
                missing = path.with_name(f"{other}-{path.name.split('-', 1)[1]}")
                raise BadData(f"{root / missing} is missing: {path} has no {other}")


def _read_list(path: Path) -> tuple[_Stated, ...]:
    try:
        return _Document.model_validate_json(path.read_bytes()).cases
    except OSError as error:
        raise BadData(f"{path} cannot be read: {error}") from error
    except ValidationError as error:
        raise BadData(f"{path} cannot be read: {reasons(error)}") from error


def _refuse_differences(root: Path, names: Sequence[str], volumes: dict[str, Path]) -> None:
    path = root / CASES_FILE
    for place, name in enumerate(names):
        if name not in volumes:
            raise BadData(f"{path}: case {name}: volume-{name}.nii.gz is missing")
        if name in names[:place]:
            raise BadData(f"{path}: case {name} is listed twice")
    for name, volume in volumes.items():
        if name not in names:
            raise BadData(f"{root / volume} is not listed in {path}")


def _plain(number: str) -> str:
    return str(int(number)) if number.isascii() and number.isdigit() else number


def _natural(name: str) -> tuple[int, str]:
    return (int(name), "") if name.isascii() and name.isdigit() else (1 << 62, name)
