"""Which series of a study goes to which task: the administrator's rules in their order, a person's word first."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sigap.core.errors import SigapError
from sigap.core.study import InputFile, Limits
from sigap.dicomnet.configuration import Conditions, Rule
from sigap.dicomnet.spool import Undecided
from sigap.imaging.dicom.frames import Frame
from sigap.imaging.dicom.quiet import quiet
from sigap.imaging.dicom.reading import read_frames, read_uids
from sigap.imaging.dicom.series import Series, SeriesKind, group_series


@dataclass(frozen=True)
class Chosen:
    """A series that is to be segmented."""

    task: str
    series_uid: str
    send_to: tuple[str, ...]
    priority: str | None


@dataclass(frozen=True)
class Decision:
    """What is to be done with a study."""

    chosen: tuple[Chosen, ...]
    undecided: tuple[Undecided, ...]


def read_series(paths: Iterable[Path], limits: Limits) -> list[Series]:
    """The series of a study; a file that cannot be read is in none of them, and `files_of` says whose it is."""
    frames: list[Frame] = []
    with quiet():
        for path in paths:
            try:
                found = read_frames(InputFile(path, path.name), limits)
            except SigapError:
                continue
            frames += found if isinstance(found, tuple) else ()
    return group_series(frames)


def decide(series: Sequence[Series], rules: Sequence[Rule], choices: Mapping[str, str]) -> Decision:
    """Pick at most one axial CT series for each task.

    For each task the first of its rules that fits any series decides. Where that one fits several, or no rule fits any,
    a person has to choose.

    Args:
        series: of the study; localizers, other planes and other objects are never picked.
        rules: in their order.
        choices: series by task, as a person has chosen.
    """
    axial = [one for one in series if one.kind is SeriesKind.AXIAL]
    chosen: list[Chosen] = []
    undecided: list[Undecided] = []
    for task in dict.fromkeys([*choices, *(rule.task for rule in rules)]):
        own = [rule for rule in rules if rule.task == task]
        if task in choices:
            first = own[0] if own else Rule(task=task)
            chosen.append(Chosen(task, choices[task], first.send_to, first.priority))
            continue
        rule, fitting = next(((rule, found) for rule in own if (found := _fitting(axial, rule))), (None, []))
        if rule is not None and len(fitting) == 1:
            chosen.append(Chosen(task, fitting[0].uid, rule.send_to, rule.priority))
        elif rule is not None:
            why = f"The first rule of {task} that fits any series fits {len(fitting)}."
            undecided.append(Undecided(task, why, tuple(one.as_json() for one in fitting)))
    if not chosen and not undecided:
        why = "No rule fits any series." if axial else "There is no axial CT series."
        undecided.append(Undecided(None, why, tuple(one.as_json() for one in axial or series)))
    return Decision(tuple(chosen), tuple(undecided))


def files_of(series: Sequence[Series], uid: str, files: Mapping[str, Path], limits: Limits) -> tuple[str, ...]:
    """Names of the files that hold a series' images, whatever kind each of them is.

    A damaged one goes with them, and the job says so: without it the rest would look like a whole. It stays behind
    where the same instance has come in one piece.

    Args:
        series: of the study.
        uid: of the wanted one; () where there is none.
        files: of the study, by name.
        limits: caps on what a deflated file may unpack to.
    """
    images = [frame.image for one in series for frame in one.frames]
    read, whole = {image.file.name for image in images}, {image.sop_uid for image in images}
    wanted = {image.file.name for image in images if image.series_uid == uid}
    if not wanted:
        return ()
    for name in files.keys() - read:
        of_series, sop = _said_by(files[name], limits)
        # One that does not even say whose it is may be this series'.
        if of_series in (None, uid) and sop not in whole:
            wanted.add(name)
    return tuple(sorted(wanted))


def _said_by(path: Path, limits: Limits) -> tuple[str | None, str | None]:
    """Series and SOP Instance UID of a file that cannot be read as an image; None, None where it does not say."""
    try:
        with quiet():
            return read_uids(path, limits)
    except SigapError:
        return None, None


def _fitting(axial: Sequence[Series], rule: Rule) -> list[Series]:
    return [one for one in axial if _fits(one, rule.series)]


def _fits(series: Series, wanted: Conditions) -> bool:
    first = series.frames[0]
    return (
        len(series.frames) >= wanted.least_slices
        and _is_one_of(first.image.body_part, wanted.body_part)
        and _is_found(first.image.description, wanted.description)
        and _is_found(first.marks["kernel"] or None, wanted.kernel)
        and _is_within(first.thickness_mm, wanted.thickness_mm)
        and wanted.contrast in (None, first.image.contrast_agent is not None)
        and {word.upper() for word in wanted.image_type} <= set(first.image_type)
    )


def _is_one_of(value: str | None, wanted: Sequence[str]) -> bool:
    return not wanted or (value or "").casefold() in {word.casefold() for word in wanted}


def _is_found(value: str | None, patterns: Sequence[str]) -> bool:
    return not patterns or any(value is not None and re.search(one, value, re.IGNORECASE) for one in patterns)


def _is_within(value: float | None, bounds: tuple[float, float] | None) -> bool:
    return bounds is None or (value is not None and bounds[0] <= value <= bounds[1])
