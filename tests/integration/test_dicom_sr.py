"""DICOM SR about every kind of source: valid, TID 1500, the report's own numbers, each linked to its segment."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import highdicom as hd
import pydicom
import pytest

from dicom_programs import faults, run
from phantoms import sources
from phantoms.results import hemorrhage_model
from phantoms.sources import made_about, written
from sigap.core.result import Result
from sigap.core.segmentation import Notice
from sigap.encoders.report import report

MEAN, DEVIATION = ("373098007", "386136009")


def groups(path: Path) -> dict[str, Any]:
    """Measurement groups by tracking identifier, as highdicom reads them."""
    document = hd.sr.srread(path)
    return {group.tracking_identifier: group for group in document.content.get_volumetric_roi_measurement_groups()}


def values(group: Any) -> dict[tuple[str, str | None], tuple[float, str]]:
    return {
        (one.name.value, one.derivation.value if one.derivation else None): (one.value, one.unit.value)
        for one in group.get_measurements()
    }


def texts(path: Path) -> list[str]:
    found: list[str] = []

    def walk(entry: pydicom.Dataset) -> None:
        if entry.get("ValueType") == "TEXT" and entry.RelationshipType == "CONTAINS":
            found.append(entry.TextValue)
        for inner in entry.get("ContentSequence", []):
            walk(inner)

    walk(pydicom.dcmread(path))
    return found


@pytest.mark.parametrize("source", sources.SOURCES)
def test_every_source_gives_a_valid_report(source: str, tmp_path: Path) -> None:
    path = written(made_about(source, tmp_path), tmp_path, "sr")
    assert faults(path) == []
    assert set(groups(path)) == {"liver", "tumour", "tumour 1"}


@pytest.mark.parametrize("source", ["Toshiba", "enhanced", "one slice without thickness"])
def test_a_negative_is_valid_and_never_says_absent(source: str, tmp_path: Path) -> None:
    path = written(made_about(source, tmp_path, is_empty=True), tmp_path, "sr")
    assert faults(path) == []
    found = groups(path)
    assert set(found) == {"liver", "tumour"}
    assert not any(group.get_measurements() for group in found.values())
    said = " ".join(texts(path))
    assert "Tumour not detected by the algorithm." in said
    assert "61 of 83 tumours" in said
    assert "absent" not in said
    assert "no tumour" not in said.lower()


def test_the_numbers_are_the_reports(tmp_path: Path) -> None:
    result = made_about("tilted gantry", tmp_path)
    document, found = report(result), groups(written(result, tmp_path, "sr"))
    for label in document["labels"]:
        measured = values(found[label["name"]])
        assert measured["118565006", None] == (label["volume_ml"], "mL")
        assert measured["112031", MEAN] == (label["hu"]["mean"], "[hnsf'U]")
        assert measured["112031", DEVIATION] == (label["hu"]["sd"], "[hnsf'U]")
    assert values(found["tumour"])["burden", None] == (document["measures"]["tumour_burden_percent"], "%")
    (lesion,) = document["lesions"]
    measured = values(found["tumour 1"])
    assert measured["118565006", None] == (lesion["volume_ml"], "mL")
    assert measured["103339001", None] == (lesion["longest_diameter_mm"], "mm")
    assert measured["103340004", None] == (lesion["perpendicular_diameter_mm"], "mm")


def test_intervals_and_abc2_have_names_of_their_own(tmp_path: Path) -> None:
    sources.SOURCES["Siemens"](tmp_path / "source")
    blood = (sources.mask() == 2).astype("uint8")
    result = sources.result_on(sources.read(tmp_path / "source"), blood, hemorrhage_model())
    result = with_interval(result, (1.25, 3.5))
    found = groups(written(result, tmp_path, "sr"))
    assert values(found["hemorrhage"])["least-volume", None] == (1.25, "mL")
    assert values(found["hemorrhage"])["greatest-volume", None] == (3.5, "mL")
    assert values(found["hemorrhage 1"])["abc2", None] == (result.measurements.lesions[0].abc2_ml, "mL")
    assert faults(tmp_path / "sr.dcm") == []


def with_interval(result: Result, interval: tuple[float, float]) -> Result:
    labels = tuple(replace(measure, interval_ml=interval) for measure in result.measurements.labels)
    return replace(result, measurements=replace(result.measurements, labels=labels))


def test_what_is_not_known_is_left_out(tmp_path: Path) -> None:
    result = made_about("one slice without thickness", tmp_path)
    assert result.measurements.labels[0].volume_ml is None
    path = written(result, tmp_path, "sr")
    for group in groups(path).values():
        assert ("118565006", None) not in values(group)
        assert values(group)["42798000", None][1] == "mm2"


def test_each_group_names_its_segment_of_the_seg_of_the_same_result(tmp_path: Path) -> None:
    result = made_about("enhanced", tmp_path)
    segmentation = pydicom.dcmread(written(result, tmp_path, "seg"))
    path = written(result, tmp_path, "sr")
    tracked = {segment.SegmentNumber: segment.TrackingUID for segment in segmentation.SegmentSequence}
    for name, group in groups(path).items():
        referred = group.referenced_segment[0].ReferencedSOPSequence[0]
        assert referred.ReferencedSOPInstanceUID == segmentation.SOPInstanceUID
        assert referred.ReferencedSegmentNumber == {"liver": 1}.get(name, 2)
        if name != "tumour 1":
            assert group.tracking_uid == tracked[referred.ReferencedSegmentNumber]
    (study,) = pydicom.dcmread(path).CurrentRequestedProcedureEvidenceSequence
    series = {one.SeriesInstanceUID: one.ReferencedSOPSequence for one in study.ReferencedSeriesSequence}
    assert series.keys() == {result.study.origin.series_uid, segmentation.SeriesInstanceUID}
    assert len(series[segmentation.SeriesInstanceUID]) == 1


def test_a_diameter_names_the_slice_it_was_measured_on(tmp_path: Path) -> None:
    result = made_about("enhanced, shuffled", tmp_path)
    key = result.study.origin.dicom.slices[result.measurements.lesions[0].key_slice]
    group = groups(written(result, tmp_path, "sr"))["tumour 1"]
    (longest,) = group.get_measurements(name=hd.sr.CodedConcept("103339001", "SCT", "Long Axis"))
    (image,) = longest.referenced_images
    assert image.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == key.sop_instance_uid
    assert image.ReferencedSOPSequence[0].ReferencedFrameNumber == key.frame_number


def test_geometry_and_warnings_are_said(tmp_path: Path) -> None:
    result = replace(
        made_about("tilted gantry", tmp_path), warnings=(Notice("organ_cut", "The liver is cut, ±1 mm²."),)
    )
    said = texts(written(result, tmp_path, "sr"))
    assert any("gantry_tilt" in text and "degrees" in text for text in said)
    assert "Warning, organ_cut: The liver is cut, +/-1 mm2." in said
    assert any("Research use only" in text for text in said)


@pytest.mark.parametrize("is_empty", [False, True])
def test_dcmqi_reads_it(is_empty: bool, tmp_path: Path) -> None:
    path = written(made_about("Toshiba", tmp_path, is_empty=is_empty), tmp_path, "sr")
    ended = run("tid1500reader", "--inputDICOM", path, "--outputMetadata", tmp_path / "read.json")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    document = json.loads((tmp_path / "read.json").read_text())
    names = [group["TrackingIdentifier"] for group in document["Measurements"]]
    assert names == ["liver", "tumour"] + ["tumour 1"] * (not is_empty)
