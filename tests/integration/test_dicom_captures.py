"""Key images and contours about every kind of source: valid, in order, and showing what they say."""

from __future__ import annotations

import io
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest

from dicom_programs import faults
from phantoms import sources
from phantoms.sources import made_about, written
from sigap.core.result import Result
from sigap.core.segmentation import Notice
from sigap.encoders.formats import FORMATS
from sigap.encoders.overlay.pages import MOST_LESIONS, PAGE_PX, key_images

BACKGROUND = (14, 16, 19)


def pages(result: Result, folder: Path) -> list[Path]:
    files = FORMATS["sc"].files(result)
    for name, write in files.items():
        write(result, folder / name)
    return [folder / name for name in files]


@pytest.mark.parametrize("source", sources.SOURCES)
def test_every_source_gives_valid_pages_and_contours(source: str, tmp_path: Path) -> None:
    result = made_about(source, tmp_path)
    for path in [*pages(result, tmp_path), written(result, tmp_path, "rtstruct")]:
        assert faults(path) == [], path.name
        assert pydicom.dcmread(path).StudyInstanceUID == result.study.origin.study_uid


@pytest.mark.parametrize("source", ["Toshiba", "enhanced", "one slice"])
def test_a_negative_is_a_page_and_regions_without_contours(source: str, tmp_path: Path) -> None:
    result = made_about(source, tmp_path, is_empty=True)
    assert [path.name for path in pages(result, tmp_path)] == ["sc-001.dcm"]
    contours = written(result, tmp_path, "rtstruct")
    assert faults(tmp_path / "sc-001.dcm") == faults(contours) == []
    dataset = pydicom.dcmread(contours)
    assert [region.ROIName for region in dataset.StructureSetROISequence] == ["liver", "tumour"]
    assert not any("ContourSequence" in region for region in dataset.ROIContourSequence)


def test_a_summary_first_then_the_organ_then_the_lesions(tmp_path: Path) -> None:
    result = made_about("Toshiba", tmp_path)
    read = [pydicom.dcmread(path) for path in pages(result, tmp_path)]
    assert [dataset.InstanceNumber for dataset in read] == [1, 2, 3]
    assert len({dataset.SeriesInstanceUID for dataset in read}) == 1
    assert len({dataset.SOPInstanceUID for dataset in read}) == 3
    assert [(dataset.Columns, dataset.Rows) for dataset in read] == [PAGE_PX] * 3
    summary, organ, lesion = read
    assert "summary" in summary.ImageComments
    assert organ.ImageComments.startswith("Research use only. Sigap liver, liver: ")
    assert lesion.ImageComments.startswith("Research use only. Sigap liver, tumour 1: ")
    shown = result.study.origin.dicom.slices[result.measurements.lesions[0].key_slice]
    assert lesion.SourceImageSequence[0].ReferencedSOPInstanceUID == shown.sop_instance_uid
    assert list(lesion.PatientOrientation) == ["L", "P"]
    for dataset in read:
        assert (dataset.Modality, dataset.ConversionType, dataset.BurnedInAnnotation) == ("OT", "WSD", "NO")
        assert dataset.ContentQualification == "RESEARCH"
        assert list(dataset.ImageType) == ["DERIVED", "SECONDARY"]


def test_contours_are_burned_in_with_the_labels_colours(tmp_path: Path) -> None:
    result = made_about("Toshiba", tmp_path)
    for path, colours in zip(pages(result, tmp_path)[1:], ([0], [0, 1]), strict=True):
        pixels = pydicom.dcmread(path).pixel_array
        for index in colours:
            colour = result.model.contract.labels[index].colour
            assert (np.abs(pixels.astype(int) - colour).max(axis=2) < 40).sum() > 30


def test_over_http_they_come_in_a_zip(tmp_path: Path) -> None:
    result = made_about("Toshiba", tmp_path)
    path = written(result, tmp_path, "sc")
    with zipfile.ZipFile(path) as opened:
        assert opened.namelist() == ["sc-001.dcm", "sc-002.dcm", "sc-003.dcm"]
        for number, page in enumerate(pages(result, tmp_path), 1):
            assert opened.read(f"sc-{number:03}.dcm") == page.read_bytes()
            assert pydicom.dcmread(io.BytesIO(page.read_bytes())).InstanceNumber == number


def test_many_lesions_and_warnings_still_fit(tmp_path: Path) -> None:
    result = made_about("tilted gantry", tmp_path)
    (lesion,) = result.measurements.lesions
    many = tuple(replace(lesion, id=number) for number in range(1, 80))
    warnings = tuple(Notice("organ_cut", "The liver touches the first slice. " * 6) for _ in range(5))
    result = replace(result, measurements=replace(result.measurements, lesions=many), warnings=warnings)
    assert len(key_images(result)) == 1 + MOST_LESIONS
    path = pages(result, tmp_path)[0]
    assert faults(path) == []
    frame = pydicom.dcmread(path).pixel_array
    edge = np.concatenate([frame[:10].reshape(-1, 3), frame[-10:].reshape(-1, 3), frame[:, -10:].reshape(-1, 3)])
    assert (edge == BACKGROUND).all()


def test_contours_enclose_the_mask_and_name_their_slices(tmp_path: Path) -> None:
    result = made_about("enhanced, two objects", tmp_path)
    dataset = pydicom.dcmread(written(result, tmp_path, "rtstruct"))
    assert dataset.ApprovalStatus == "UNAPPROVED"
    area_mm2 = result.study.volume.grid.pixel_area_mm2
    labelmap, slices = result.segmentation.labelmap, result.study.origin.dicom.slices
    for region, mask in zip(dataset.ROIContourSequence, (labelmap > 0, labelmap == 2), strict=True):
        areas = dict.fromkeys(range(len(labelmap)), 0.0)
        for contour in region.ContourSequence:
            (image,) = contour.ContourImageSequence
            named = (image.ReferencedSOPInstanceUID, image.ReferencedFrameNumber)
            index = [(one.sop_instance_uid, one.frame_number) for one in slices].index(named)
            points = np.array(contour.ContourData, float).reshape(-1, 3)
            assert contour.NumberOfContourPoints == len(points)
            spokes = points - points[0]
            areas[index] += np.linalg.norm(np.cross(spokes[:-1], spokes[1:]).sum(axis=0)) / 2
        expected = np.count_nonzero(mask, axis=(1, 2)) * area_mm2
        assert np.allclose(list(areas.values()), expected, rtol=1e-4)
    volumes = [region.ROIVolume for region in dataset.StructureSetROISequence]
    assert np.allclose(volumes, [measure.volume_ml for measure in result.measurements.labels])


def test_a_contour_too_long_for_an_explicit_vr_is_written_and_read(tmp_path: Path) -> None:
    shape = (1, 201, 201)
    sources.series(np.zeros(shape, np.int16))(tmp_path / "source")
    rows, columns = np.indices(shape[1:])
    comb = ((columns % 2 == 0) | (rows == 100)).astype(np.uint8)[np.newaxis]
    result = sources.result_on(sources.read(tmp_path / "source"), comb)
    path = written(result, tmp_path, "rtstruct")
    (contour,) = pydicom.dcmread(path).ROIContourSequence[0].ContourSequence
    assert len(contour.ContourData) == 3 * contour.NumberOfContourPoints > 1000
    assert faults(path) == []
