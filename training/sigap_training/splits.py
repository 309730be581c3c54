"""Which cases train, validate and test: by patient, never across one."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal, Protocol, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from sigap_training.reasons import reasons
from sigap_training.slices import BadData

Split = Literal["train", "valid", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)


class SplitOptions(BaseModel):
    """How a folder of cases is divided.

    Attributes:
        file: a YAML file `{train: [cases], valid: [cases], test: [cases]}`; cases it does not name are left out. It
            wins over what the data folder itself states.
        valid_share: the share of patients that validate, where neither a file nor the data folder says who does.
        seed: of that draw.
        leave_out: this patient is the whole test part, whatever else is said; see `divide`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: Path | None = None
    valid_share: float = Field(default=0.2, gt=0, lt=1)
    seed: int = 0
    leave_out: str | None = None


AS_STATED = SplitOptions()


class Divisible(Protocol):
    """A case as far as a division needs to know it."""

    @property
    def name(self) -> str: ...
    @property
    def patient(self) -> str: ...
    @property
    def split(self) -> Split | None: ...


CaseT = TypeVar("CaseT", bound=Divisible)


def divide(cases: Sequence[CaseT], options: SplitOptions, *, where: Path) -> dict[str, list[CaseT]]:
    """The cases of each split, in their own order.

    By, in this order: the options' file; the splits that the cases themselves state; `valid_share` (nobody tests then).
    With `leave_out` the patient's cases test, cases that so far validate still do, and all others train: a checkpoint
    is never picked on the patient it is tested on.

    Args:
        cases: of the whole folder.
        options: see there.
        where: the file or folder that errors name.

    Raises:
        BadData: a patient stands in two splits; the file is unreadable or names a case that is not there; only some of
            the cases state their split; there is nobody to leave out, or only one patient to divide.
    """
    rest, left_out = (cases, []) if options.leave_out is None else leave_out(cases, options.leave_out, where=where)
    if options.file is not None:
        where = options.file
        homes = _read_file(options.file, {case.name for case in cases})
    else:
        homes = _stated(rest, where) or _by_share(rest, options, where)
    parts: dict[str, list[CaseT]] = {
        split: [case for case in rest if homes.get(case.name) == split] for split in SPLITS
    }
    if options.leave_out is not None:
        trains = {case.name for part in (parts["train"], parts["test"]) for case in part}
        parts["train"] = [case for case in rest if case.name in trains]
        parts["test"] = left_out
    refuse_shared_patients(
        {split: [(case.patient, case.name) for case in part] for split, part in parts.items()}, where
    )
    return parts


def leave_out(cases: Sequence[CaseT], patient: str, *, where: Path) -> tuple[list[CaseT], list[CaseT]]:
    """All other patients' cases, and this one's.

    Raises:
        BadData: no case is of this patient, or all are.
    """
    train = [case for case in cases if case.patient != patient]
    test = [case for case in cases if case.patient == patient]
    if not train or not test:
        known = ", ".join(sorted({case.patient for case in cases}))
        raise BadData(f"{where}: cannot leave patient {patient!r} out of the patients {known}")
    return train, test


def share_of_patients(patients: Iterable[str], share: float, seed: int) -> set[str]:
    """The patients that validate: `share` of them, rounded half up, at least one, and at least one is left.

    They are those with the lowest SHA-256 of `<seed>:<patient>`: the same on every machine, in every version of every
    library, and in whatever order the patients are found.

    Raises:
        ValueError: fewer than two patients.
    """
    ranked = sorted(set(patients), key=lambda patient: hashlib.sha256(f"{seed}:{patient}".encode()).digest())
    if len(ranked) < 2:
        raise ValueError("one patient cannot be divided into two parts")
    return set(ranked[: min(max(math.floor(len(ranked) * share + 0.5), 1), len(ranked) - 1)])


def refuse_shared_patients(parts: Mapping[str, Iterable[tuple[str, str]]], where: Path) -> None:
    """Parts as (patient, case or picture) pairs.

    Raises:
        BadData: a patient stands in two of them.
    """
    homes: dict[str, tuple[str, str]] = {}
    for split, members in parts.items():
        for patient, name in members:
            home, first = homes.setdefault(patient, (split, name))
            if home != split:
                raise BadData(f"{where}: patient {patient} stands in two splits: {first} in {home}, {name} in {split}")


def _stated(cases: Sequence[CaseT], where: Path) -> dict[str, Split]:
    homes = {case.name: case.split for case in cases if case.split is not None}
    if homes and len(homes) < len(cases):
        silent = next(case.name for case in cases if case.split is None)
        raise BadData(f"{where}: case {silent} has no split, but others have")
    return homes


def _by_share(cases: Sequence[CaseT], options: SplitOptions, where: Path) -> dict[str, Split]:
    try:
        validating = share_of_patients([case.patient for case in cases], options.valid_share, options.seed)
    except ValueError as error:
        raise BadData(f"{where}: {error}") from error
    return {case.name: "valid" if case.patient in validating else "train" for case in cases}


def _read_file(path: Path, names: set[str]) -> dict[str, Split]:
    try:
        stated = TypeAdapter(dict[Split, list[int | str]]).validate_python(yaml.safe_load(path.read_text()))
    except FileNotFoundError as error:
        raise BadData(f"{path} is missing") from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise BadData(f"{path} cannot be read: {error}") from error
    except ValidationError as error:
        raise BadData(f"{path} cannot be read: {reasons(error)}") from error
    homes: dict[str, Split] = {}
    for split, cases in stated.items():
        for name in map(str, cases):
            if name not in names:
                raise BadData(f"{path}: {split}: there is no case {name}")
            if homes.setdefault(name, split) != split:
                raise BadData(f"{path}: case {name} stands in {homes[name]} and in {split}")
    return homes
