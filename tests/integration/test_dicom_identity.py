"""Whose an object is, what it is called, and that equal names never stand for different content."""

from __future__ import annotations

import io
import warnings
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.tag import Tag
from pydicom.uid import UID

from dicom_programs import faults
from phantoms import dicom as phantom
from phantoms import sources
from phantoms.results import header
from phantoms.sources import made_about
from sigap import __version__
from sigap.core.errors import GeometryRefused
from sigap.core.result import Result
from sigap.encoders.formats import FORMATS

OBJECTS = ("seg", "sr", "rtstruct", "sc")


def encoded(result: Result, folder: Path) -> dict[str, bytes]:
    folder.mkdir(exist_ok=True)
    found = {}
    for name in OBJECTS:
        for file, write in FORMATS[name].files(result).items():
            write(result, folder / file)
            found[file] = (folder / file).read_bytes()
    return found


def read(content: bytes) -> pydicom.Dataset:
    return pydicom.dcmread(io.BytesIO(content))


def about(folder: Path, **tags: Any) -> Result:
    phantom.write_series(folder / "source", sources.VOXELS, tags=tags)
    return sources.result_on(sources.read(folder / "source"), sources.mask())


def test_one_job_gives_the_same_bytes(tmp_path: Path) -> None:
    result = made_about("Siemens", tmp_path)
    again = sources.result_on(sources.read(tmp_path / "source"), sources.mask())
    assert encoded(result, tmp_path / "a") == encoded(again, tmp_path / "b")


def test_whatever_differs_has_another_uid(tmp_path: Path) -> None:
    result = made_about("Siemens", tmp_path)
    contract, labelmap = result.model.contract, result.segmentation.labelmap
    coloured = tuple(replace(label, colour=(1, 2, 3)) for label in contract.labels)
    other_mask = labelmap.copy()
    other_mask[3, 12, 15] = 2
    variants = {
        "as it is": result,
        "later": replace(result, created=result.created + timedelta(microseconds=1)),
        "other mask": replace(result, segmentation=replace(result.segmentation, labelmap=other_mask)),
        "other weights": replace(result, model=replace(result.model, sha256="d" * 64)),
        "other colours": replace(result, model=replace(result.model, contract=replace(contract, labels=coloured))),
        "other options": replace(result, options={"acquisition": "2"}),
        "other engine": replace(result, engine="triton"),
        "numbers of another version": replace(result, sigap_version="0.0.9"),
    }
    origin = result.study.origin
    variants["other bytes"] = replace(result, study=replace(result.study, origin=replace(origin, sha256="e" * 64)))
    uids = [
        read(content).SOPInstanceUID for one in variants.values() for content in encoded(one, tmp_path / "o").values()
    ]
    assert len(set(uids)) == len(uids)
    assert all(uid.startswith("2.25.") and UID(uid).is_valid for uid in uids)


def test_each_kind_is_a_new_series_of_the_study(tmp_path: Path) -> None:
    result = made_about("GE", tmp_path)
    found = {name: read(content) for name, content in encoded(result, tmp_path / "a").items()}
    series = {dataset.Modality: dataset.SeriesInstanceUID for dataset in found.values()}
    assert set(series) == {"SEG", "SR", "RTSTRUCT", "OT"}
    assert len({*series.values(), result.study.origin.series_uid}) == 5
    for dataset in found.values():
        assert dataset.StudyInstanceUID == result.study.origin.study_uid
        assert (dataset.PatientName, dataset.PatientID) == ("Phantom^Sigap", "PHANTOM-1")
        assert (dataset.StudyDate, dataset.StudyTime) == ("20260101", "101200")
        assert dataset.ContentQualification == "RESEARCH"
        assert (dataset.Manufacturer, dataset.DeviceSerialNumber) == ("Sigap", "a" * 64)
        assert list(dataset.SoftwareVersions) == [__version__, "liver 1"]
        assert "research use" in dataset.SeriesDescription
        assert dataset.file_meta.ImplementationVersionName == f"SIGAP_{__version__}"


def test_what_the_source_does_not_say_is_empty(tmp_path: Path) -> None:
    result = made_about("no patient, no study date", tmp_path)
    for content in encoded(result, tmp_path / "a").values():
        dataset = read(content)
        for keyword in (*sources.IDENTIFYING, "PatientSex", "AccessionNumber", "StudyID", "ReferringPhysicianName"):
            assert keyword in dataset
            assert not dataset[keyword].value


def test_the_slice_that_says_most_of_its_patient_is_believed(tmp_path: Path) -> None:
    changes = lambda index: {} if index == 4 else {"PatientID": "", "PatientName": ""}  # noqa: E731
    phantom.write_series(tmp_path / "source", sources.VOXELS, per_slice=changes)
    result = sources.result_on(sources.read(tmp_path / "source"), sources.mask())
    assert {read(one).PatientID for one in encoded(result, tmp_path / "a").values()} == {"PHANTOM-1"}


@pytest.mark.parametrize("broken_date", [b"1970-1-1", b"19701399"])
def test_a_value_that_breaks_its_type_is_left_out(broken_date: bytes, tmp_path: Path) -> None:
    folder = tmp_path / "source"
    phantom.write_series(folder, sources.VOXELS, tags={"PatientSex": "O", "PatientAge": "050Y"})
    for path in folder.iterdir():
        content = path.read_bytes()
        for sound, broken in (
            (b"19700101", broken_date),
            (b"101200", b"101299"),
            (b"050Y", b"50 Y"),
            (b"CS\x02\x00O ", b"CS\x02\x00X "),
        ):
            assert sound in content
            content = content.replace(sound, broken)
        path.write_bytes(content)
    found = encoded(sources.result_on(sources.read(folder), sources.mask()), tmp_path / "a")
    for name, content in found.items():
        assert faults(tmp_path / "a" / name) == [], name
        dataset = read(content)
        assert not dataset.PatientBirthDate
        assert not dataset.PatientSex
        assert "PatientAge" not in dataset
        assert dataset.PatientID == "PHANTOM-1"


TEXTS = {
    "Japanese": (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう"),
    "Korean": (["", "ISO 2022 IR 149"], "Hong^Gildong=洪^吉洞=홍^길동"),
    "Indonesian, Latin 1": ("ISO_IR 100", "Sukarnoputri^Déwi"),
    "Indonesian, UTF-8": ("ISO_IR 192", "Sukarnoputri^Déwi=Aksara ᬅᬓ᭄ᬱᬭ"),
    "Chinese": ("GB18030", "Wang^XiaoDong=王^小东"),
}


@pytest.mark.parametrize("name", TEXTS)
def test_a_name_is_byte_for_byte_the_source_s(name: str, tmp_path: Path) -> None:
    charset, text = TEXTS[name]
    result = about(tmp_path, SpecificCharacterSet=charset, PatientName=text, StudyDescription="CT abdomen, Déwi"[:12])
    path = next((tmp_path / "source").iterdir())
    stored = pydicom.dcmread(path).get_item(Tag(0x00100010)).value
    for file, content in encoded(result, tmp_path / "a").items():
        dataset = read(content)
        assert dataset.get_item(Tag(0x00100010)).value == stored, file
        assert str(dataset.PatientName) == text
        assert dataset.SpecificCharacterSet == charset
        assert faults(tmp_path / "a" / file) == [], file


@pytest.mark.parametrize("charset", [None, "ISO_IR 192", "ISO_IR 999"])
def test_a_broken_character_set_stays_as_broken_as_it_is(charset: str | None, tmp_path: Path) -> None:
    folder, broken = tmp_path / "source", b"M\xfcller^Hans  "
    phantom.write_series(folder, sources.VOXELS)
    for path in folder.iterdir():
        content = path.read_bytes().replace(b"Phantom^Sigap ", broken + b" ")
        if charset is not None:
            place = content.index(b"\x08\x00\x08\x00CS")
            named = b"\x08\x00\x05\x00CS\x0a\x00" + charset.encode()
            content = content[:place] + named + content[place:]
        path.write_bytes(content)
    of_source = [fault for fault in faults(path) if "PatientName" in fault or "Patient's Name" in fault]
    for file, content in encoded(sources.result_on(sources.read(folder), sources.mask()), tmp_path / "a").items():
        assert read(content).get_item(Tag(0x00100010)).value.rstrip() == broken.rstrip(), file
        assert [fault for fault in faults(tmp_path / "a" / file) if "invalid data values" not in fault] == of_source, (
            file
        )


def test_a_uid_that_breaks_the_rules_still_names_what_it_names(tmp_path: Path) -> None:
    identity = phantom.Identity("1.2.03.4", "1.2.3.04", "1.2.3.05")
    with warnings.catch_warnings(action="ignore", category=UserWarning):
        phantom.write_series(
            tmp_path / "source",
            sources.VOXELS,
            identity=identity,
            per_slice=lambda index: {"SOPInstanceUID": f"1.2.03.{index}"},
        )
    found = encoded(sources.result_on(sources.read(tmp_path / "source"), sources.mask()), tmp_path / "a")
    for content in found.values():
        assert b"1.2.03.4" in content
    with warnings.catch_warnings(action="ignore", category=UserWarning):
        dataset = read(found["seg.dcm"])
        assert (dataset.StudyInstanceUID, dataset.FrameOfReferenceUID) == (identity.study, identity.frame_of_reference)
        assert dataset.ReferencedSeriesSequence[0].SeriesInstanceUID == identity.series


def test_everything_that_is_known_of_patient_and_study_is_carried_over(tmp_path: Path) -> None:
    known = {
        "IssuerOfPatientID": "Hospital",
        "TypeOfPatientID": "TEXT",
        "OtherPatientIDs": ["A1", "B2"],
        "OtherPatientNames": "Alias^Xaver",
        "PatientSex": "F",
        "PatientAge": "056Y",
        "PatientSize": "1.8",
        "PatientWeight": "80",
        "PatientComments": "none",
        "AdmissionID": "77",
        "StudyID": "S1",
        "AccessionNumber": "ACC1",
        "StudyDescription": "CT of the abdomen",
        "ReferringPhysicianName": "Refer^Ada",
        "PhysiciansOfRecord": "Doe^Jane",
    }
    for file, content in encoded(about(tmp_path, **known, BodyPartExamined="ABDOMEN"), tmp_path / "a").items():
        dataset = read(content)
        body_part = None if dataset.Modality in ("SR", "RTSTRUCT") else "ABDOMEN"
        assert {name: dataset.get(name) for name in known} == known
        assert dataset.get("BodyPartExamined") == body_part, file
        assert faults(tmp_path / "a" / file) == [], file


def test_results_that_lie_beside_the_images_change_nothing(tmp_path: Path) -> None:
    result = made_about("GE", tmp_path)
    made = encoded(result, tmp_path / "source")
    again = sources.read(tmp_path / "source")
    assert np.array_equal(again.volume.voxels, result.study.volume.voxels)
    assert again.origin.sop_instance_uids == result.study.origin.sop_instance_uids
    assert {ignored.name for ignored in again.origin.ignored} == set(made)


def test_nothing_private_is_carried_over(tmp_path: Path) -> None:
    folder = tmp_path / "source"
    for path in phantom.write_series(folder, sources.VOXELS):
        dataset = pydicom.dcmread(path)
        block = dataset.private_block(0x0011, "ACME 1.0", create=True)
        block.add_new(1, "UN", b"\x01\x02secret")
        block.add_new(2, "SQ", [phantom.item(PatientName="Somebody^Else")])
        dataset.save_as(path)
    for content in encoded(sources.result_on(sources.read(folder), sources.mask()), tmp_path / "a").values():
        assert not [element for element in read(content).iterall() if element.tag.is_private]
        assert b"Somebody" not in content


def test_nothing_private_among_codes_is_carried_over(tmp_path: Path) -> None:
    code = phantom.item(CodeValue="RPID21", CodingSchemeDesignator="RADLEX", CodeMeaning="CT Abdomen")
    code.private_block(0x0011, "ACME 1.0", create=True).add_new(1, "LO", "Somebody^Else")
    for content in encoded(about(tmp_path, ProcedureCodeSequence=[code]), tmp_path / "a").values():
        assert read(content).ProcedureCodeSequence[0].CodeValue == "RPID21"
        assert b"Somebody" not in content


def test_of_two_equal_instances_the_one_that_was_used_is_referred_to(tmp_path: Path) -> None:
    paths = phantom.write_series(tmp_path / "source", sources.VOXELS)
    twice = pydicom.dcmread(paths[3])
    twice.SOPInstanceUID = twice.file_meta.MediaStorageSOPInstanceUID = "1.2.3.4"
    twice.save_as(tmp_path / "source" / "zz.dcm")
    study = sources.read(tmp_path / "source")
    assert [reason.code for reason in study.geometry.reasons] == ["duplicate_slices"]
    found = encoded(sources.result_on(study, sources.mask()), tmp_path / "a")
    referred = read(found["seg.dcm"]).ReferencedSeriesSequence[0].ReferencedInstanceSequence
    named = [one.ReferencedSOPInstanceUID for one in referred]
    assert named == list(study.origin.sop_instance_uids)
    assert len(named) == 7


def test_two_frames_of_reference_are_refused_and_one_that_some_leave_out_is_taken(tmp_path: Path) -> None:
    phantom.write_series(
        tmp_path / "mixed", sources.VOXELS, per_slice=lambda index: {"FrameOfReferenceUID": f"1.2.3.{1 + index % 2}"}
    )
    with pytest.raises(GeometryRefused):
        sources.read(tmp_path / "mixed")
    phantom.write_series(
        tmp_path / "partly",
        sources.VOXELS,
        per_slice=lambda index: {"FrameOfReferenceUID": "1.2.3" if index == 5 else ""},
    )
    found = encoded(sources.result_on(sources.read(tmp_path / "partly"), sources.mask()), tmp_path / "a")
    assert read(found["seg.dcm"]).FrameOfReferenceUID == read(found["rtstruct.dcm"]).FrameOfReferenceUID == "1.2.3"


@pytest.mark.parametrize(
    ("offset", "date", "time"), [("+0700", "20261123", "013000.5"), ("-0330", "20261122", "150000.5")]
)
def test_times_are_in_the_study_s_own_zone(offset: str, date: str, time: str, tmp_path: Path) -> None:
    result = replace(
        about(tmp_path, TimezoneOffsetFromUTC=offset), created=datetime(2026, 11, 22, 18, 30, 0, 500000, tzinfo=UTC)
    )
    for file, content in encoded(result, tmp_path / "a").items():
        dataset = read(content)
        assert dataset.TimezoneOffsetFromUTC == offset
        assert (dataset.SeriesDate, dataset.SeriesTime) == (date, f"{time}00000"), file
        assert dataset.StudyTime == "101200"


@pytest.mark.parametrize("offset", ["nonsense", "+2500", "0700", "+07:00", "-1300", "+0100\\+0200"])
def test_a_time_zone_that_is_none_is_left_out(offset: str, tmp_path: Path) -> None:
    folder = tmp_path / "source"
    for path in phantom.write_series(folder, sources.VOXELS):
        dataset = pydicom.dcmread(path)
        dataset.TimezoneOffsetFromUTC = offset
        dataset.save_as(path)
    for file, content in encoded(sources.result_on(sources.read(folder), sources.mask()), tmp_path / "a").items():
        assert "TimezoneOffsetFromUTC" not in read(content)
        assert faults(tmp_path / "a" / file) == [], file


def test_codes_of_the_procedure_are_carried_over_unless_out_of_proportion(tmp_path: Path) -> None:
    code = phantom.item(CodeValue="RPID21", CodingSchemeDesignator="RADLEX", CodeMeaning="CT Abdomen")
    found = encoded(about(tmp_path / "few", ProcedureCodeSequence=[code]), tmp_path / "a")
    for content in found.values():
        assert read(content).ProcedureCodeSequence[0].CodeMeaning == "CT Abdomen"
    many = encoded(about(tmp_path / "many", ProcedureCodeSequence=[code] * 500), tmp_path / "b")
    assert not any("ProcedureCodeSequence" in read(content) for content in many.values())


def test_a_header_knows_no_pixels(tmp_path: Path) -> None:
    result = made_about("GE", tmp_path)
    assert len(result.study.origin.dicom.header) < 1000
    assert header()
    assert np.array_equal(result.study.volume.voxels, sources.VOXELS)
