"""Pydantic's errors in one line."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel, ValidationError, field_validator, model_validator

from sigap_training.reasons import reasons


class _Case(BaseModel):
    number: int
    side: float = 1

    @field_validator("side")
    @classmethod
    def _refuse_zero(cls, side: float) -> float:
        if side == 0:
            raise ValueError("nothing has no side")
        return side


class _Document(BaseModel):
    cases: tuple[_Case, ...]

    @model_validator(mode="after")
    def _refuse_nothing(self) -> _Document:
        if not self.cases:
            raise ValueError("there is no case")
        return self


def _reasons(document: dict[str, Any], most: int = 3) -> str:
    with pytest.raises(ValidationError) as caught:
        _Document.model_validate(document)
    return reasons(caught.value, most)


def test_each_entry_is_named_by_its_path_with_what_is_wrong() -> None:
    told = _reasons({"cases": [{"number": 1}, {"number": 2, "side": 0}, {}]})
    assert told == "cases.1.side: nothing has no side; cases.2.number: Field required"


def test_only_the_first_are_told_and_the_rest_counted() -> None:
    told = _reasons({"cases": [{}, {}, {}, {}]}, 2)
    assert told == "cases.0.number: Field required; cases.1.number: Field required; and 2 more"


def test_an_error_of_the_whole_has_no_path() -> None:
    assert _reasons({"cases": []}) == "there is no case"
    with pytest.raises(ValidationError) as caught:
        _Document.model_validate_json("{")
    assert reasons(caught.value).startswith("Invalid JSON")
