import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema_rs
import numpy as np
import pytest

from phantoms.results import hemorrhage_model, picture_grid, result_of, small_labelmap
from sigap.core.segmentation import Notice
from sigap.core.study import Ignored
from sigap.core.verdict import GeometryVerdict, Reason, Severity
from sigap.encoders.finding import amount
from sigap.encoders.report import report, write_report
from sigap.encoders.report_example import REPORT_EXAMPLE
from sigap.encoders.report_schema import REPORT_SCHEMA

CONTRACT_ORDER = [
    *("schema", "task", "intended_use", "model", "input", "geometry", "warnings", "finding", "labels", "lesions"),
    *("measures", "provenance", "timings_ms"),
]


def results():
    labelmap = small_labelmap()
    flat = labelmap[1:2]
    negative = result_of(np.zeros((4, 5, 6), np.uint8), model=hemorrhage_model())
    spaced = picture_grid(5, 6, spacing_mm=(0.5, 0.5))
    return {
        "dicom": result_of(labelmap),
        "negative": negative,
        "png": result_of(flat, kind="png", grid=picture_grid(5, 6)),
        "png with spacing": result_of(flat, kind="png", grid=spaced),
        "warned": replace(
            result_of(
                labelmap, geometry=GeometryVerdict((Reason("lossy", Severity.WARNING, "Lossy.", {"ratio": 9.5}),))
            ),
            warnings=(Notice("organ_cut", "Cut."),),
        ),
    }


def same_fields(document: Any, schema: Any, place: str = "report"):
    """Every object holds the schema's fields, in its order, and no other."""
    schema = next((part for part in schema.get("anyOf", []) if part.get("type") != "null"), schema)
    if isinstance(document, dict) and "properties" in schema:
        extra = "reasons" in place
        assert list(document)[: len(schema["properties"])] == list(schema["properties"]), place
        assert extra or len(document) == len(schema["properties"]), place
        for name, value in document.items():
            same_fields(value, schema["properties"].get(name, {}), f"{place}.{name}")
    if isinstance(document, list) and "items" in schema:
        for value in document:
            same_fields(value, schema["items"], place)


@pytest.mark.parametrize("name", results())
def test_reports_are_what_the_schema_says(name: str) -> None:
    document = json.loads(json.dumps(report(results()[name]), allow_nan=False))
    jsonschema_rs.Draft202012Validator(REPORT_SCHEMA).validate(document)
    document["provenance"]["postprocess"] = []
    same_fields(document, REPORT_SCHEMA)
    assert list(document) == CONTRACT_ORDER


def test_the_example_is_a_report() -> None:
    jsonschema_rs.Draft202012Validator(REPORT_SCHEMA).validate(REPORT_EXAMPLE)
    assert list(REPORT_EXAMPLE) == CONTRACT_ORDER


def test_the_schema_misses_nothing() -> None:
    document = report(results()["dicom"])
    del document["lesions"][0]["abc2_ml"]
    assert not jsonschema_rs.Draft202012Validator(REPORT_SCHEMA).is_valid(document)


def test_a_series_is_told_to_the_last_field() -> None:
    result = result_of(small_labelmap())
    ignored = (Ignored("DICOMDIR", "an index"),)
    result = replace(result, study=replace(result.study, origin=replace(result.study.origin, ignored=ignored)))
    document = report(result)
    assert document["input"] == {
        "kind": "dicom",
        "shape": [4, 5, 6],
        "spacing_mm": [2.5, 0.8, 0.7],
        "axes": ["S", "P", "L"],
        "sha256": "c" * 64,
        "study_uid": "1.2.826.0.2",
        "series_uid": "1.2.826.0.3",
        "ignored": [{"name": "DICOMDIR", "reason": "an index"}],
    }
    assert [label["name"] for label in document["labels"]] == ["liver", "tumour"]
    assert [label["voxels"] for label in document["labels"]] == [18, 2]
    lesion = document["lesions"][0]
    assert lesion["bounding_box"] == [[1, 2, 2], [2, 3, 4]]
    assert (lesion["key_slice"], lesion["key_sop_instance_uid"]) == (1, "1.2.826.0.1.1")
    assert document["provenance"]["thresholds"] == {"liver": [0.3, 0.5, 0.7], "tumour": [0.3, 0.5, 0.7]}
    assert document["provenance"]["postprocess"][3] == {"step": "min_volume", "label": "tumour", "volume_ml": 0.1}
    assert document["provenance"]["created"] == "2026-11-22T12:30:00+00:00"


def test_a_picture_without_spacing_knows_pixels_only() -> None:
    document = report(results()["png"])
    tumour = document["labels"][1]
    assert (tumour["area_px"], tumour["area_mm2"], tumour["volume_ml"], tumour["interval_ml"]) == (2, None, None, None)
    assert document["input"]["spacing_mm"] == [None, None, None]
    assert document["lesions"][0]["key_sop_instance_uid"] is None


def test_encode_and_total_can_be_told_and_are_measured_otherwise() -> None:
    result = result_of(small_labelmap())
    measured = report(result)["timings_ms"]
    assert measured["total"] == pytest.approx(37.0 + measured["encode"])
    told = report(replace(result, timings_ms={**result.timings_ms, "encode": 5.0, "total": 99.0}))["timings_ms"]
    assert (told["encode"], told["total"]) == (5.0, 99.0)


def test_a_number_that_is_not_finite_is_never_written(tmp_path: Path) -> None:
    result = result_of(small_labelmap())
    broken = replace(result, measurements=replace(result.measurements, measures={"tumour_burden_percent": math.nan}))
    with pytest.raises(ValueError, match="JSON"):
        write_report(broken, tmp_path / "report.json")


def test_the_written_report_is_the_report(tmp_path: Path) -> None:
    result = replace(result_of(small_labelmap()), timings_ms={"decode": 1.0, "encode": 2.0, "total": 3.0})
    write_report(result, tmp_path / "report.json")
    assert json.loads((tmp_path / "report.json").read_text()) == report(result)


def test_a_negative_is_not_detected_never_absent() -> None:
    finding = report(results()["negative"])["finding"]
    assert finding["detected"] is False
    assert finding["statement"] == (
        "Hemorrhage not detected by the algorithm. On 75 held-out studies the model found blood in 31 of 36."
    )


def test_a_liver_without_tumour_is_a_negative_about_tumours() -> None:
    labelmap = np.minimum(small_labelmap(), 1)
    finding = report(result_of(labelmap))["finding"]
    assert finding["detected"] is False
    assert finding["statement"].startswith("Tumour not detected by the algorithm. On 26 ")


def test_a_positive_says_how_much() -> None:
    finding = report(results()["dicom"])["finding"]
    assert finding == {"detected": True, "statement": "Tumour detected by the algorithm: 1 lesion, under 0.01 mL."}


@pytest.mark.parametrize(
    ("sizes", "words"),
    [
        ((20.14, None, None, 9), "20.1 mL"),
        ((0.354, None, None, 9), "0.35 mL"),
        ((0.0, None, None, 0), "0.00 mL"),
        ((None, 12.34, 9, 9), "12.3 mm²"),
        ((None, None, 9, 9), "9 px"),
        ((None, None, None, 9), "9 voxels"),
    ],
)
def test_sizes_are_said_in_the_best_unit_known(sizes: tuple[Any, ...], words: str) -> None:
    assert amount(*sizes) == words
