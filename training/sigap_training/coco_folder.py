"""All of a COCO export's folder: its splits and the slices with a yes or no beside them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sigap_training import coco, slice_labels
from sigap_training.bars import bar
from sigap_training.coco_export import ANNOTATIONS, Category, Export, channel_categories, read_list
from sigap_training.coco_truth import plain_name
from sigap_training.slice_labels import LabelledSlice
from sigap_training.slices import BadData, SliceSet
from sigap_training.splits import SPLITS, refuse_shared_patients


@dataclass(frozen=True)
class CocoFolder:
    """A Roboflow export.

    Attributes:
        root: its folder.
        exports: its splits.
        labelled: of `slice_labels/`, where there is one and it is asked for: they train.
        subtypes: categories that are findings beside the channels.
        categories: those that are channels of their own; none: one channel is the union of all.
    """

    root: Path
    exports: dict[str, Export]
    labelled: tuple[LabelledSlice, ...]
    subtypes: tuple[str, ...]
    categories: tuple[Category, ...]

    @classmethod
    def find(
        cls, root: Path, *, subtypes: Sequence[str] = (), multiclass: bool = False, with_slice_labels: bool = True
    ) -> CocoFolder:
        """Read its lists; a split without a folder is none.

        Args:
            root: its folder.
            subtypes: categories that are findings beside the channels.
            multiclass: one channel for each category, instead of their union.
            with_slice_labels: whether `slice_labels/` trains too.

        Raises:
            BadData: a list is broken, or with `multiclass` the splits differ in their categories.
        """
        if not root.is_dir():
            raise BadData(f"{root} is no folder")
        exports: dict[str, Export] = {split: read_list(root / split) for split in SPLITS if (root / split).is_dir()}
        if not exports:
            raise BadData(f"{root}: no train/{ANNOTATIONS} in it")
        folder = root / slice_labels.FOLDER
        is_labelled = with_slice_labels and folder.is_dir()
        labelled = slice_labels.read_labels(folder, subtypes=subtypes) if is_labelled else []
        categories = channel_categories(list(exports.values())) if multiclass else ()
        return cls(root, exports, tuple(labelled), tuple(subtypes), categories)

    def export(self, split: str) -> Export:
        """One split.

        Raises:
            BadData: it is missing or empty.
        """
        if split not in self.exports:
            raise BadData(f"{self.root / split / ANNOTATIONS} is missing")
        found = self.exports[split]
        if not found.pictures:
            raise BadData(f"{found.path}: there is no image in it")
        return found

    def files(self, split: str) -> tuple[Path, ...]:
        """All that a split is read from."""
        export = self.export(split)
        files = [export.path, *(picture.path for picture in export.pictures)]
        if split == "train" and self.labelled:
            files += [self.root / slice_labels.FOLDER / "labels.csv", *(entry.path for entry in self.labelled)]
        return tuple(files)

    def slice_parts(self, split: str, size: int) -> Iterator[SliceSet]:
        """Its slices; those with a yes or no come last in `train`."""
        yield from coco.slice_parts(self.export(split), size=size, subtypes=self.subtypes, categories=self.categories)
        if split == "train" and self.labelled:
            channels = [category.name for category in self.categories] or [slice_labels.WHOLE]
            folder = self.root / slice_labels.FOLDER
            yield slice_labels.read_slice_labels(folder, size=size, subtypes=self.subtypes, channels=channels)

    def check(self, labels: Sequence[str]) -> None:
        """Refuse what would break a run later: lists first, then the headers of all pictures and all shapes.

        Args:
            labels: names of the channels that the model has.

        Raises:
            BadData: the categories are not the model's labels, a patient or a picture stands in two splits, or a
                picture or a shape is broken.
        """
        for split in ("train", "valid", *self.exports):
            self.export(split)
        self._refuse_labels(labels)
        members = {
            split: [
                (patient, picture.path.name)
                for picture in export.pictures
                if (patient := coco.stated_patient(picture.entry.get("patient")))
            ]
            for split, export in self.exports.items()
        }
        members.setdefault("train", []).extend(
            (entry.patient, entry.path.name) for entry in self.labelled if entry.patient
        )
        refuse_shared_patients(members, self.root)
        for split, export in self.exports.items():
            for picture in bar(export.pictures, f"checking {split}"):
                picture.check()
        slice_labels.check_slice_labels(self.labelled)
        self._refuse_copies()

    def _refuse_copies(self) -> None:
        """All that can be seen of a leak where patients are not stated."""
        files = [(split, picture.path) for split, export in self.exports.items() for picture in export.pictures]
        files += [("train", entry.path) for entry in self.labelled]
        homes: dict[bytes, tuple[str, Path]] = {}
        for split, path in bar(files, "comparing splits"):
            home, first = homes.setdefault(hashlib.sha256(path.read_bytes()).digest(), (split, path))
            if home != split:
                raise BadData(f"{path} is a copy of {first}: one picture in two splits")

    def _refuse_labels(self, labels: Sequence[str]) -> None:
        if not self.categories and len(labels) != 1:
            raise BadData(f"{self.root}: the union of all categories is one label, the model has {', '.join(labels)}")
        names = [category.name for category in self.categories]
        if names and list(map(plain_name, names)) != list(map(plain_name, labels)):
            raise BadData(
                f"{self.root}: its categories are {', '.join(names)}; the model's labels are {', '.join(labels)}. "
                f"The recipe's contract.labels needs one entry for each category, in this order, with name, role, "
                f"parent, code, colour and thresholds, and loss.kinds one for each"
            )
