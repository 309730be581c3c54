"""What is said of an unexpected error: where it arose, never what it quoted."""

from __future__ import annotations

from sigap.api.logs import where


def fail() -> None:
    try:
        {}["Doe^John"]
    except KeyError as error:
        raise ValueError("/data/Doe^John.dcm") from error


def test_an_error_is_its_class_and_its_place_with_what_caused_it() -> None:
    try:
        fail()
    except ValueError as error:
        said = where(error)
    assert said.startswith("ValueError at test_logs.py:")
    assert ":fail from KeyError at test_logs.py:" in said
    assert "Doe" not in said
