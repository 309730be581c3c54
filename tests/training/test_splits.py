"""Dividing by patient."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from sigap_training.slices import BadData
from sigap_training.splits import AS_STATED, Split, SplitOptions, divide, leave_out, share_of_patients

HERE = Path("folder")


@dataclass(frozen=True)
class _Case:
    name: str
    patient: str
    split: Split | None = None


def _names(parts: dict[str, list[_Case]]) -> dict[str, str]:
    return {split: " ".join(case.name for case in part) for split, part in parts.items()}


STATED = [
    _Case("0", "A", "train"),
    _Case("1", "A", "train"),
    _Case("2", "B", "valid"),
    _Case("3", "C", "test"),
    _Case("4", "D", "train"),
]


def test_a_fifth_of_the_patients_validates_with_all_their_cases() -> None:
    cases = [_Case(str(number), f"P{number // 2}") for number in range(40)]
    parts = divide(cases, AS_STATED, where=HERE)
    homes = {split: {case.patient for case in part} for split, part in parts.items()}
    assert {split: len(patients) for split, patients in homes.items()} == {"train": 16, "valid": 4, "test": 0}
    assert not homes["train"] & homes["valid"]
    assert len(parts["train"]) == 32
    assert len(parts["valid"]) == 8


def test_the_draw_is_the_same_for_ever_and_another_for_another_seed() -> None:
    patients = [str(number) for number in range(10)]
    assert (
        share_of_patients(patients, 0.2, 0) == share_of_patients(reversed(patients), 0.2, 0) == {"4", "7"}
    )  # sha256sum
    drawn = {frozenset(share_of_patients(patients, 0.2, seed)) for seed in range(20)}
    assert len(drawn) > 10


@given(
    patients=st.lists(st.sampled_from("ABCDEFG"), min_size=2, max_size=30).filter(lambda names: len(set(names)) > 1),
    share=st.floats(0.01, 0.99),
    seed=st.integers(0, 2**31),
)
def test_whatever_is_drawn_no_patient_is_divided_and_no_case_is_lost(
    patients: list[str], share: float, seed: int
) -> None:
    cases = [_Case(str(number), patient) for number, patient in enumerate(patients)]
    parts = divide(cases, SplitOptions(valid_share=share, seed=seed), where=HERE)
    train, valid = ({case.patient for case in parts[split]} for split in ("train", "valid"))
    assert train
    assert valid
    assert not train & valid
    assert len(parts["train"]) + len(parts["valid"]) == len(cases)


@pytest.mark.parametrize(
    ("count", "share", "validate"), [(2, 0.2, 1), (5, 0.5, 3), (7, 0.2, 1), (8, 0.2, 2), (3, 0.99, 2), (131, 0.2, 26)]
)
def test_neither_part_is_empty(count: int, share: float, validate: int) -> None:
    assert len(share_of_patients(map(str, range(count)), share, 1)) == validate


def test_one_patient_cannot_be_divided() -> None:
    with pytest.raises(BadData, match="folder: one patient"):
        divide([_Case("0", "A"), _Case("1", "A")], AS_STATED, where=HERE)


def test_what_the_cases_state_is_kept() -> None:
    assert _names(divide(STATED, AS_STATED, where=HERE)) == {"train": "0 1 4", "valid": "2", "test": "3"}


def test_a_split_that_only_some_state_is_refused() -> None:
    with pytest.raises(BadData, match="folder: case 9 has no split"):
        divide([*STATED, _Case("9", "E")], AS_STATED, where=HERE)


def test_a_file_wins_and_leaves_out_what_it_does_not_name(tmp_path: Path) -> None:
    path = tmp_path / "splits.yaml"
    path.write_text("train: [3, '2']\nvalid: [0, 1]\n")
    assert _names(divide(STATED, SplitOptions(file=path), where=HERE)) == {"train": "2 3", "valid": "0 1", "test": ""}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("train: [0, 77]", r"splits\.yaml: train: there is no case 77"),
        ("train: [0]\ntest: [0]", r"splits\.yaml: case 0 stands in train and in test"),
        ("train: [0]\nvalid: [1]", r"splits\.yaml: patient A stands in two splits: 0 in train, 1 in valid"),
        ("training: [0]", r"splits\.yaml cannot be read"),
        ("train: 0", r"splits\.yaml cannot be read"),
        ("train: [", r"splits\.yaml cannot be read"),
        ("", r"splits\.yaml cannot be read"),
    ],
)
def test_a_file_that_makes_no_sense_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "splits.yaml"
    path.write_text(text)
    with pytest.raises(BadData, match=message):
        divide(STATED, SplitOptions(file=path), where=HERE)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadData, match=r"none\.yaml is missing"):
        divide(STATED, SplitOptions(file=tmp_path / "none.yaml"), where=HERE)


def test_a_patient_on_both_sides_is_refused() -> None:
    with pytest.raises(BadData, match="folder: patient A stands in two splits: 0 in train, 9 in test"):
        divide([*STATED, _Case("9", "A", "test")], AS_STATED, where=HERE)


def test_leaving_a_patient_out_is_everyone_else_and_all_its_cases() -> None:
    train, test = leave_out(STATED, "A", where=HERE)
    assert [case.name for case in train] == ["2", "3", "4"]
    assert [case.name for case in test] == ["0", "1"]


@pytest.mark.parametrize("patient", ["Z", ""])
def test_nobody_cannot_be_left_out(patient: str) -> None:
    with pytest.raises(BadData, match=r"cannot leave patient .* out of the patients A, B, C, D"):
        divide(STATED, SplitOptions(leave_out=patient), where=HERE)


@pytest.mark.parametrize(
    ("patient", "parts"),
    [
        ("A", {"train": "3 4", "valid": "2", "test": "0 1"}),
        ("B", {"train": "0 1 3 4", "valid": "", "test": "2"}),
        ("C", {"train": "0 1 4", "valid": "2", "test": "3"}),
    ],
)
def test_the_left_out_patient_is_the_whole_test_part(patient: str, parts: dict[str, str]) -> None:
    assert _names(divide(STATED, SplitOptions(leave_out=patient), where=HERE)) == parts


def test_leaving_out_goes_with_a_share_and_with_a_file(tmp_path: Path) -> None:
    cases = [_Case(str(number), f"P{number}") for number in range(6)]
    parts = divide(cases, SplitOptions(leave_out="P4"), where=HERE)
    assert [case.name for case in parts["test"]] == ["4"]
    assert len(parts["valid"]) == 1
    assert len(parts["train"]) == 4
    path = tmp_path / "splits.yaml"
    path.write_text("train: [0, 4]\nvalid: [1]\ntest: [2]\n")
    divided = divide(cases, SplitOptions(file=path, leave_out="P4"), where=HERE)
    assert _names(divided) == {"train": "0 2", "valid": "1", "test": "4"}


@pytest.mark.parametrize("share", [0, 1, -0.1, 1.5])
def test_a_share_leaves_something_on_both_sides(share: float) -> None:
    with pytest.raises(ValidationError):
        SplitOptions(valid_share=share)
