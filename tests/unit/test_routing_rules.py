"""Routing: ordered rules, at most one series a task, a person where they do not decide."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from phantoms.dicom import (
    CORONAL,
    REMOVE,
    Identity,
    body,
    write_enhanced,
    write_localizer,
    write_report,
    write_secondary_capture,
    write_series,
)
from sigap.core.study import Limits
from sigap.dicomnet.configuration import Conditions, Rule
from sigap.dicomnet.rules import Chosen, Decision, decide, read_series
from sigap.imaging.dicom.series import Series

STUDY = Identity()
THIN, THICK, BONE = (STUDY.another_series() for _ in range(3))


def write(folder: Path, identity: Identity, thickness_mm: float, slices: int, **tags: Any) -> list[Path]:
    voxels = body((slices, 16, 16))
    return write_series(folder, voxels, identity=identity, spacing_mm=(thickness_mm, 1, 1), tags=tags)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> list[Series]:
    """As scanners send it: thin, thick, bone, a scout, a coronal, a dose page, a report."""
    folder = tmp_path_factory.mktemp("study")
    soft = {"BodyPartExamined": "ABDOMEN", "ContrastBolusAgent": "IOPAMIDOL", "ConvolutionKernel": "B30f"}
    paths = write(folder / "thin", THIN, 1, 9, SeriesDescription="Abd 1.0 B30f", **soft)
    paths += write(folder / "thick", THICK, 5, 3, SeriesDescription="Abd 5.0 B30f", **soft)
    paths += write(folder / "bone", BONE, 1, 9, SeriesDescription="Bone", ConvolutionKernel="B70f")
    paths += write_localizer(folder / "scout", identity=STUDY.another_series())
    paths += write_series(
        folder / "coronal", body((4, 16, 16)), identity=STUDY.another_series(), orientation=CORONAL, tags=soft
    )
    paths.append(write_secondary_capture(folder / "page.dcm", identity=STUDY.another_series()))
    paths.append(write_report(folder / "report.dcm", identity=STUDY.another_series()))
    (folder / "broken").write_bytes(b"no DICOM")
    return read_series([*paths, folder / "broken"], Limits())


def rule(task: str = "liver", **conditions: Any) -> Rule:
    return Rule(task=task, series=Conditions(**conditions), send_to=(), priority=None)


def told(decision: Decision) -> tuple[dict[str, str], list[tuple[str | None, int]]]:
    chosen = {one.task: one.series_uid for one in decision.chosen}
    return chosen, [(one.task, len(one.series)) for one in decision.undecided]


@pytest.mark.parametrize(
    ("conditions", "uid"),
    [
        ({"thickness_mm": (4, 6)}, THICK),
        ({"thickness_mm": (0.5, 2), "contrast": True}, THIN),
        ({"kernel": ("^B[67]",)}, BONE),
        ({"contrast": False}, BONE),
        ({"description": ("abd 1[.]",)}, THIN),
        ({"body_part": ("Abdomen",), "least_slices": 5}, THIN),
        ({"description": ("5.0", "nothing like it")}, THICK),
    ],
)
def test_each_condition_picks(study: list[Series], conditions: Mapping[str, Any], uid: Identity) -> None:
    assert told(decide(study, [rule(**conditions)], {})) == ({"liver": uid.series}, [])


@pytest.mark.parametrize(
    "conditions",
    [
        {"body_part": ("HEAD",)},
        {"kernel": ("nothing like it",)},
        {"thickness_mm": (7, 9)},
        {"image_type": ("LOCALIZER",)},
        {"least_slices": 100},
    ],
)
def test_what_fits_nothing_leaves_the_study_to_a_person(study: list[Series], conditions: Mapping[str, Any]) -> None:
    decision = decide(study, [rule(**conditions)], {})
    assert told(decision) == ({}, [(None, 3)])
    assert {one["plane"] for one in decision.undecided[0].series} == {"axial"}


def test_the_first_rule_that_fits_decides_and_later_ones_are_not_asked(study: list[Series]) -> None:
    rules = [rule(body_part=("HEAD",)), rule(thickness_mm=(4, 6)), rule(kernel=("B70",))]
    assert told(decide(study, rules, {})) == ({"liver": THICK.series}, [])


def test_a_rule_that_fits_several_is_a_choice_and_keeps_no_other_task_from_its_own(study: list[Series]) -> None:
    rules = [rule(contrast=True), rule(kernel=("B70",)), rule("bones", kernel=("B70",))]
    assert told(decide(study, rules, {})) == ({"bones": BONE.series}, [("liver", 2)])


def test_a_task_whose_rules_fit_nothing_is_not_meant_where_another_one_is(study: list[Series]) -> None:
    rules = [rule("head", body_part=("HEAD",)), rule(kernel=("B70",))]
    assert told(decide(study, rules, {})) == ({"liver": BONE.series}, [])


def test_a_person_s_choice_beats_every_rule(study: list[Series]) -> None:
    sent = Rule(task="liver", series=Conditions(kernel=("B70",)), send_to=("archive",), priority="batch")
    decision = decide(study, [sent], {"liver": THIN.series, "other": BONE.series})
    assert decision.chosen == (
        Chosen("liver", THIN.series, ("archive",), "batch"),
        Chosen("other", BONE.series, (), None),
    )


def test_without_any_axial_ct_everything_is_listed(tmp_path: Path) -> None:
    scout = read_series(write_localizer(tmp_path, identity=STUDY), Limits())
    (left,) = decide(scout, [rule()], {}).undecided
    assert left.why == "There is no axial CT series."
    assert len(left.series) == 1


def test_an_element_that_is_missing_fulfils_nothing(tmp_path: Path) -> None:
    bare = write(tmp_path, STUDY, 5, 3, ConvolutionKernel=REMOVE, SliceThickness=REMOVE)
    series = read_series(bare, Limits())
    assert told(decide(series, [rule(body_part=("HEAD", ""))], {}))[0] == {"liver": STUDY.series}
    for conditions in ({"kernel": (".*",)}, {"thickness_mm": (0, 99)}, {"body_part": ("HEAD",)}):
        assert told(decide(series, [rule(**conditions)], {}))[0] == {}
    assert told(decide(series, [rule()], {}))[0] == {"liver": STUDY.series}


def test_an_enhanced_object_is_a_series_like_any_other(tmp_path: Path) -> None:
    path = write_enhanced(tmp_path / "enhanced.dcm", body(), identity=STUDY)
    rules = [rule(kernel=("FC13",), thickness_mm=(5, 5))]
    assert told(decide(read_series([path], Limits()), rules, {}))[0] == {"liver": STUDY.series}
