"""The model contract: everything the gateway knows about a task, written in the model's own folder."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from sigap.core.errors import ModelError

Role = Literal["organ", "lesion"]
# It names a file (LABEL.stl) and a DICOM segment (64 characters, VR LO).
_NAME = re.compile(r"(?!\.)[^\x00-\x1f\x7f/\\]{1,64}")
MEASURES = ("burden", "abc2")
PRIORITIES = ("emergency", "routine", "batch")


@dataclass(frozen=True)
class Code:
    """SNOMED CT codes of a label (scheme SCT); `region` is the anatomic region of a lesion."""

    category: str
    type: str
    region: str | None = None


@dataclass(frozen=True)
class Label:
    """One output channel of a model.

    Attributes:
        name: what reports call it, e.g. `tumour`.
        role: an organ is measured as a whole; a lesion also one by one.
        parent: the label that contains it; the parent's mask, volume and CT numbers include it.
        code: what DICOM calls it.
        colour: sRGB, 0..255, for pictures and DICOM.
        thresholds: three ascending probabilities; the middle one makes the mask, all three make `interval_ml`.
    """

    name: str
    role: Role
    parent: str | None
    code: Code
    colour: tuple[int, int, int]
    thresholds: tuple[float, float, float]


@dataclass(frozen=True)
class Step:
    """One post-processing step on one label: `name` is a function of `imaging.postprocess`, `options` its arguments."""

    name: str
    label: str
    options: Mapping[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        return {"step": self.name, "label": self.label, **self.options}


@dataclass(frozen=True)
class Contract:
    """What a task is.

    Attributes:
        labels: in the order of the model's channels and of the labelmap's values 1, 2, …
        level_hu, width_hu: the display window of the model's input.
        context_slices: K, odd: the slice and its neighbours as channels; the outermost slice repeats at the ends.
        postprocess: in the order they run.
        measures: of `burden` and `abc2`.
        priority: what a request gets that names none.
        body_parts: expected values of Body Part Examined; empty: any.
        contrast: whether contrast medium is expected; None: either.
        model_card: the card's file name beside config.pbtxt.
        sensitivity: the card's sentence on what a negative answer is worth.
    """

    labels: tuple[Label, ...]
    level_hu: float
    width_hu: float
    context_slices: int
    postprocess: tuple[Step, ...]
    measures: tuple[str, ...]
    priority: str
    body_parts: tuple[str, ...]
    contrast: bool | None
    model_card: str
    sensitivity: str

    @classmethod
    def from_json(cls, text: str) -> Contract:
        """Read the `contract` parameter of a config.pbtxt.

        Raises:
            ModelError: a part is missing, unknown or makes no sense; the message names it.
        """
        try:
            document = json.loads(text)
            contract = cls(
                labels=tuple(_label(entry) for entry in document["labels"]),
                level_hu=float(document["window"]["level_hu"]),
                width_hu=float(document["window"]["width_hu"]),
                context_slices=int(document["context_slices"]),
                postprocess=tuple(_step(entry) for entry in document["postprocess"]),
                measures=_texts(document["measures"]),
                priority=_text(document["priority"]),
                body_parts=_texts(document["expects"]["body_parts"]),
                contrast=document["expects"]["contrast"],
                model_card=_text(document["model_card"]["file"]),
                sensitivity=_text(document["model_card"]["sensitivity"]),
            )
        except KeyError as error:
            raise ModelError(f"the contract lacks {error}") from error
        except (TypeError, ValueError, AttributeError, RecursionError) as error:
            raise ModelError(f"the contract cannot be read: {error}") from error
        contract._check()
        return contract

    def label(self, name: str) -> Label:
        return next(label for label in self.labels if label.name == name)

    def family(self, name: str) -> tuple[int, ...]:
        """Labelmap values (from 1) of a label and of all that it contains."""
        inside = {name}
        for _ in self.labels:
            inside |= {label.name for label in self.labels if label.parent in inside}
        return tuple(value for value, label in enumerate(self.labels, 1) if label.name in inside)

    def _check(self) -> None:
        names = [label.name for label in self.labels]
        faults = [
            (not names, "it has no labels"),
            (len(set(names)) != len(names), "two labels have one name"),
            (len(names) > 255, "a labelmap has room for 255 labels"),
            (not math.isfinite(self.level_hu), "its window has no level"),
            (not 0 < self.width_hu < math.inf, "its window has no width"),
            (self.context_slices < 1 or self.context_slices % 2 == 0, "context_slices must be odd"),
            (self.priority not in PRIORITIES, f"priority must be one of {', '.join(PRIORITIES)}"),
            (not set(self.measures) <= set(MEASURES), f"measures must be among {', '.join(MEASURES)}"),
            (self.contrast not in (None, True, False), "contrast must be true, false or null"),
        ]
        for position, label in enumerate(self.labels):
            low, middle, high = label.thresholds
            faults += [
                (
                    not _NAME.fullmatch(label.name),
                    f"{label.name!r} cannot be a label's name: up to 64 characters, no /",
                ),
                (not all(0 <= part <= 255 for part in label.colour), f"colour of {label.name!r} must be within 0..255"),
                (not 0 < low <= middle <= high <= 1, f"thresholds of {label.name!r} must ascend within (0, 1]"),
                (label.role not in ("organ", "lesion"), f"role of {label.name!r} must be organ or lesion"),
                (
                    label.parent is not None and label.parent not in names[:position],
                    f"the parent of {label.name!r} must be a label before it",
                ),
            ]
        faults += [
            (step.label not in names, f"step {step.name!r} names no label of this model") for step in self.postprocess
        ]
        for is_broken, fault in faults:
            if is_broken:
                raise ModelError(f"the contract cannot be used: {fault}")


def _label(entry: Mapping[str, Any]) -> Label:
    red, green, blue = entry["colour"]
    low, middle, high = entry["thresholds"]
    return Label(
        name=_text(entry["name"]),
        role=entry["role"],
        parent=entry["parent"],
        code=_code(entry["code"]),
        colour=(int(red), int(green), int(blue)),
        thresholds=(float(low), float(middle), float(high)),
    )


def _code(entry: Mapping[str, Any]) -> Code:
    code = Code(**entry)
    _texts([code.category, code.type, *([] if code.region is None else [code.region])])
    return code


def _step(entry: Mapping[str, Any]) -> Step:
    options = {key: value for key, value in entry.items() if key not in ("step", "label")}
    return Step(name=_text(entry["step"]), label=_text(entry["label"]), options=options)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{json.dumps(value)} should be a text")
    return value


def _texts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise TypeError(f"{json.dumps(value)} should be a list of texts")
    return tuple(_text(one) for one in value)


@dataclass(frozen=True)
class Model:
    """One version of a task's model, as an engine serves it.

    Attributes:
        name: the folder's name; also the task's.
        version: the version folder's name.
        sha256: of model.pt.
        max_batch_size: slices a call, at most.
        contract: what it means.
    """

    name: str
    version: str
    sha256: str
    max_batch_size: int
    contract: Contract
