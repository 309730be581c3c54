"""`format=` and `Accept`: what is asked for, what is taken, what is refused."""

from __future__ import annotations

import pytest

from sigap.api.formats import choose
from sigap.api.problems import NotAcceptable
from sigap.encoders.formats import FORMATS


@pytest.mark.parametrize("name", list(FORMATS))
def test_a_format_is_chosen_by_name_whatever_accept_says(name: str) -> None:
    assert choose(name, "text/html") == name


@pytest.mark.parametrize("name", list(FORMATS))
def test_a_format_is_chosen_by_its_media_type(name: str) -> None:
    first = next(other for other in FORMATS.values() if other.media_type == FORMATS[name].media_type)
    assert choose(None, FORMATS[name].media_type) == first.name


@pytest.mark.parametrize(
    ("accept", "name"),
    [
        (None, "json"),
        ("", "json"),
        ("*/*", "json"),
        ("application/*", "json"),
        ("image/*", "png"),
        ("Image/PNG", "png"),
        ("application/json; charset=utf-8", "json"),
        ("text/html,application/xhtml+xml,*/*;q=0.8", "json"),
        ("application/json;q=0.5, image/png;q=0.9", "png"),
        ("application/json;q=0.5, */*;q=0.9", "nifti"),
        ("*/*;q=0.9, image/png", "png"),
        ("application/*;q=0.9, application/zip;q=0.1", "json"),
        ("application/json;q=0, application/zip", "zip"),
        ("nonsense, image/png", "png"),
        ("text/html, image/png;q=0.1", "png"),
        ("application/x-nifti;q=1, application/json;q=1", "json"),
    ],
)
def test_the_best_of_what_the_client_takes(accept: str | None, name: str) -> None:
    assert choose(None, accept) == name


@pytest.mark.parametrize(
    "accept",
    [
        "text/html",
        "image/gif",
        "application/json;q=0",
        "*/*;q=0",
        "nonsense",
        "*/png",
        "application/json;q=two",
        "a/b;q=9",
    ],
)
def test_nothing_matching_is_refused(accept: str) -> None:
    with pytest.raises(NotAcceptable, match="application/json"):
        choose(None, accept)


@pytest.mark.parametrize(("asked", "accept"), [("rtstruct", None), ("stl", None), (None, "model/stl")])
def test_what_comes_later_is_said_to_come_later(asked: str | None, accept: str | None) -> None:
    with pytest.raises(NotAcceptable, match="later version"):
        choose(asked, accept)


@pytest.mark.parametrize("asked", ["", "bmp", "JSON", "../json"])
def test_an_unknown_name_is_refused(asked: str) -> None:
    with pytest.raises(NotAcceptable, match="no such format"):
        choose(asked, "*/*")
