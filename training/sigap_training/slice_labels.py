"""Slices with a yes or no and no mask: `labels.csv` (columns id, hemorrhage, subtypes, patient), `images/<id>.png`."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sigap_training.bars import bar
from sigap_training.coco import stated_patient
from sigap_training.coco_export import picture_size, read_picture
from sigap_training.slices import UNKNOWN, BadData, SliceSet, fit_bytes

FOLDER = "slice_labels"
TAUGHT = "label-taught"  # a yes whose mask a teacher drew
GROUPS = ("label-positive", "label-negative", TAUGHT)
WHOLE = "hemorrhage"  # the column that answers for all subtypes together
_ANSWERS = {"0": 0, "1": 1}


@dataclass(frozen=True)
class LabelledSlice:
    """One slice, not read yet.

    Attributes:
        path: its picture.
        patient: who it is of, where that is known.
        has_blood: the answer for all subtypes together.
        answers: what else the list says, by column: 0 or 1.
    """

    path: Path
    patient: str | None
    has_blood: bool
    answers: dict[str, int]

    def answer(self, name: str) -> int:
        """Whether there is this finding: 0, 1 or `UNKNOWN`."""
        return self.answers.get(name, UNKNOWN) if self.has_blood else 0


def read_labels(folder: Path, *, subtypes: Sequence[str] = ()) -> list[LabelledSlice]:
    """Read the list; the pictures stay untouched.

    Raises:
        BadData: it is missing, empty or broken, or a column of `subtypes` is missing.
    """
    path = folder / "labels.csv"
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            rows = list(reader)
    except FileNotFoundError as error:
        raise BadData(f"{path} is missing") from error
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BadData(f"{path} cannot be read: {error}") from error
    for column in ("id", WHOLE, *subtypes):
        if column not in (reader.fieldnames or ()):
            raise BadData(f"{path}: there is no column {column}")
    if not rows:
        raise BadData(f"{path}: there is no slice in it")
    return [_labelled(path, row, subtypes) for row in rows]


def check_slice_labels(slices: Sequence[LabelledSlice]) -> None:
    """Refuse pictures that are missing or no pictures, from their headers.

    Raises:
        BadData: one is.
    """
    for entry in bar(slices, f"checking {FOLDER}"):
        picture_size(entry.path)


def read_slice_labels(
    folder: Path, *, size: int, subtypes: Sequence[str] = (), channels: Sequence[str] = (WHOLE,)
) -> SliceSet:
    """The slices; a no is a known, empty mask.

    Args:
        folder: of the list.
        size: the side of the slices.
        subtypes: columns that are findings beside the channels.
        channels: names of the masks' channels; of one without a column it is known where there is no blood at all.

    Raises:
        BadData: as `read_labels`, or a picture cannot be read.
    """
    entries = read_labels(folder, subtypes=subtypes)
    findings = np.array([[entry.answer(name) for name in (*channels, *subtypes)] for entry in entries], np.int8)
    known = findings[:, : len(channels)] == 0
    return SliceSet(
        images=np.concatenate([fit_bytes(read_picture(entry.path)[None], size) for entry in bar(entries, FOLDER)]),
        masks=np.zeros((*known.shape, size, size), np.uint8),
        known=known,
        findings=findings,
        patient=np.array([entry.patient or entry.path.stem for entry in entries]),
        study=np.arange(len(entries)),
        group=np.array([0 if entry.has_blood else 1 for entry in entries]),
        groups=GROUPS,
    )


def _labelled(path: Path, row: dict[str, str], subtypes: Sequence[str]) -> LabelledSlice:
    name = row["id"]
    if not name or Path(name).name != name:
        raise BadData(f"{path}: id {name!r} is no file name")
    for column in (WHOLE, *subtypes):
        if row[column] not in _ANSWERS:
            raise BadData(f"{path}: slice {name}: {column} is {row[column]!r}, not 0 or 1")
    return LabelledSlice(
        path=path.parent / "images" / f"{name}.png",
        patient=stated_patient(row.get("patient")),
        has_blood=row[WHOLE] == "1",
        answers={column: _ANSWERS[value] for column, value in row.items() if value in _ANSWERS},
    )
