"""`format=` and `Accept`: what is asked for, what is taken, what is refused."""

from __future__ import annotations

import pytest

from phantoms.results import hemorrhage_model, liver_model
from sigap.api.formats import check_label, choose, query_of, with_label
from sigap.api.problems import NotAcceptable
from sigap.core.errors import BadParameter
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


def test_of_formats_that_share_a_media_type_the_first_is_meant() -> None:
    assert choose(None, "application/dicom") == "seg"
    assert choose(None, "application/zip") == "zip"
    assert choose(None, "model/*") == "stl"


def test_a_label_belongs_to_a_surface_of_a_task_that_has_it() -> None:
    contract = liver_model().contract
    assert with_label("stl", "tumour") == "stl:tumour"
    assert query_of("stl:left & right") == "format=stl&label=left%20%26%20right"
    assert query_of("seg") == "format=seg"
    check_label("stl", "tumour", contract)
    check_label("seg", None, contract)
    check_label("stl", None, hemorrhage_model().contract)
    with pytest.raises(BadParameter, match="format stl only"):
        with_label("seg", "tumour")
    for label in (None, "spleen", "Liver"):
        with pytest.raises(BadParameter, match="liver, tumour"):
            check_label("stl", label, contract)


@pytest.mark.parametrize("asked", ["", "bmp", "JSON", "../json"])
def test_an_unknown_name_is_refused(asked: str) -> None:
    with pytest.raises(NotAcceptable, match="no such format"):
        choose(asked, "*/*")
