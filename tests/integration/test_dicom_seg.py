"""DICOM SEG about every kind of source: valid, on the source's frames, and the same voxels to every reader."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import highdicom as hd
import numpy as np
import pydicom
import pytest

from dicom_programs import faults, run
from phantoms import dicom as phantom
from phantoms import sources
from phantoms.results import header, hemorrhage_model, liver_model, result_of, small_labelmap
from phantoms.sources import made_about, written
from sigap.core.errors import FormatNotForInput
from sigap.core.result import Result


def read_back(path: Path, result: Result) -> np.ndarray:
    """(slices, rows, columns, segments), slice by slice as their objects are referred to."""
    segmentation = hd.seg.segread(path)
    slices = result.study.origin.dicom.slices
    frames = []
    for one in slices:
        if one.frame_number is None:
            pixels = segmentation.get_pixels_by_source_instance(
                [one.sop_instance_uid], assert_missing_frames_are_empty=True
            )
        else:
            pixels = segmentation.get_pixels_by_source_frame(
                one.sop_instance_uid, [one.frame_number], assert_missing_frames_are_empty=True
            )
        frames.append(pixels[0])
    return np.stack(frames)


@pytest.mark.parametrize("source", sources.SOURCES)
def test_every_source_gives_a_valid_object_with_the_same_voxels(source: str, tmp_path: Path) -> None:
    result = made_about(source, tmp_path)
    path = written(result, tmp_path)
    assert faults(path) == []
    labelmap = result.segmentation.labelmap
    pixels = read_back(path, result)
    assert np.array_equal(pixels[..., 0], labelmap > 0)
    assert np.array_equal(pixels[..., 1], labelmap == 2)


@pytest.mark.parametrize("source", ["Toshiba", "enhanced", "one slice", "tilted gantry", "no patient, no study date"])
def test_an_empty_result_is_a_valid_object(source: str, tmp_path: Path) -> None:
    result = made_about(source, tmp_path, is_empty=True)
    path = written(result, tmp_path)
    assert faults(path) == []
    dataset = pydicom.dcmread(path)
    assert [segment.SegmentLabel for segment in dataset.SegmentSequence] == ["liver", "tumour"]
    assert dataset.NumberOfFrames == 2
    assert not read_back(path, result).any()


@pytest.mark.parametrize("source", ["Toshiba", "enhanced", "oblique", "head last", "one slice"])
@pytest.mark.parametrize("is_empty", [False, True])
def test_dcmqi_reads_the_same_voxels(source: str, is_empty: bool, tmp_path: Path) -> None:
    result = made_about(source, tmp_path, is_empty=is_empty)
    ended = run(
        "segimage2itkimage", "--inputDICOM", written(result, tmp_path), "--outputDirectory", tmp_path, "-t", "nii"
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    labelmap, grid = result.segmentation.labelmap, result.study.volume.grid
    for number, expected in ((1, labelmap > 0), (2, labelmap == 2)):
        image = pytest.importorskip("nibabel").load(tmp_path / f"{number}.nii.gz")
        voxels = np.argwhere(np.asanyarray(image.dataobj))
        places = np.c_[voxels, np.ones(len(voxels))] @ image.affine.T[:, :3] * (-1, -1, 1)
        wanted = [grid.world_lps_mm(tuple(index)) for index in np.argwhere(expected).astype(float)]
        assert len(places) == len(wanted)
        if wanted:
            nearest = np.linalg.norm(places[:, None] - np.array(wanted)[None], axis=2).min(axis=1)
            assert nearest.max() < 0.01


def test_segments_are_coded_as_the_contract_says(tmp_path: Path) -> None:
    dataset = pydicom.dcmread(written(made_about("Toshiba", tmp_path), tmp_path))
    coded = [
        (
            segment.SegmentNumber,
            segment.SegmentLabel,
            segment.SegmentedPropertyCategoryCodeSequence[0].CodeValue,
            segment.SegmentedPropertyTypeCodeSequence[0].CodeValue,
            segment.AnatomicRegionSequence[0].CodeValue if "AnatomicRegionSequence" in segment else None,
        )
        for segment in dataset.SegmentSequence
    ]
    assert coded == [(1, "liver", "123037004", "10200004", None), (2, "tumour", "49755003", "108369006", "10200004")]
    colours = [
        hd.color.CIELabColor.from_dicom_value(segment.RecommendedDisplayCIELabValue).to_rgb()
        for segment in dataset.SegmentSequence
    ]
    assert colours == [label.colour for label in liver_model().contract.labels]
    for segment in dataset.SegmentSequence:
        assert segment.SegmentAlgorithmType == "AUTOMATIC"
        (algorithm,) = segment.SegmentationAlgorithmIdentificationSequence
        assert (algorithm.AlgorithmName, algorithm.AlgorithmVersion) == ("Sigap liver", "1")
        assert "a" * 64 in algorithm.AlgorithmParameters


def test_a_bleed_is_coded_as_the_contract_says(tmp_path: Path) -> None:
    result = result_of((small_labelmap() > 0).astype(np.uint8), model=hemorrhage_model())
    path = written(result, tmp_path)
    (segment,) = pydicom.dcmread(path).SegmentSequence
    assert segment.SegmentedPropertyCategoryCodeSequence[0].CodeValue == "49755003"
    assert segment.SegmentedPropertyTypeCodeSequence[0].CodeValue == "50960005"
    assert segment.AnatomicRegionSequence[0].CodeValue == "1101003"
    assert {code.CodingSchemeDesignator for code in segment.AnatomicRegionSequence} == {"SCT"}
    assert faults(path) == []


def test_it_refers_to_every_instance_and_each_frame_to_its_own(tmp_path: Path) -> None:
    result = made_about("enhanced, two objects", tmp_path)
    dataset = pydicom.dcmread(written(result, tmp_path))
    (referred,) = dataset.ReferencedSeriesSequence
    assert referred.SeriesInstanceUID == result.study.origin.series_uid
    uids = list(dict.fromkeys(result.study.origin.sop_instance_uids))
    assert [one.ReferencedSOPInstanceUID for one in referred.ReferencedInstanceSequence] == uids
    assert len(uids) == 2
    derived = [frame.DerivationImageSequence[0].SourceImageSequence[0] for frame in dataset[0x52009230].value]
    named = {(one.ReferencedSOPInstanceUID, one.ReferencedFrameNumber) for one in derived}
    assert named == {(uids[0], 2), (uids[0], 3), (uids[1], 1), (uids[1], 2)}


def test_it_lies_in_the_frame_of_reference_of_its_source(tmp_path: Path) -> None:
    named = made_about("Toshiba", tmp_path / "named")
    dataset = pydicom.dcmread(written(named, tmp_path))
    first = pydicom.dcmread(next((tmp_path / "named").rglob("*.dcm")), stop_before_pixels=True)
    assert dataset.FrameOfReferenceUID == first.FrameOfReferenceUID
    unnamed = made_about("no frame of reference", tmp_path / "unnamed")
    derived = pydicom.dcmread(written(unnamed, tmp_path)).FrameOfReferenceUID
    another = replace(unnamed, model=hemorrhage_model(), created=unnamed.created.replace(year=2027))
    another = replace(another, segmentation=replace(another.segmentation, labelmap=np.ones(sources.SHAPE, np.uint8)))
    assert derived.startswith("2.25.")
    assert pydicom.dcmread(written(another, tmp_path)).FrameOfReferenceUID == derived


def test_a_lossy_source_marks_what_is_made_of_it(tmp_path: Path) -> None:
    for source, ratio in (("declared lossy", [10.5, 2]), ("JPEG-LS, lossy", None)):
        dataset = pydicom.dcmread(written(made_about(source, tmp_path / source), tmp_path))
        assert dataset.LossyImageCompression == "01"
        assert dataset.get("LossyImageCompressionRatio") == ratio
    assert pydicom.dcmread(written(made_about("JPEG-LS", tmp_path), tmp_path)).LossyImageCompression == "00"


def test_a_frame_only_where_there_is_something(tmp_path: Path) -> None:
    dataset = pydicom.dcmread(written(made_about("Toshiba", tmp_path), tmp_path))
    places = [
        (frame.SegmentIdentificationSequence[0].ReferencedSegmentNumber, frame.PlanePositionSequence[0][0x00200032][2])
        for frame in dataset[0x52009230].value
    ]
    heights = [-100.0 + 5 * index for index in range(7)]
    assert places == [(1, height) for height in heights[1:5]] + [(2, height) for height in heights[2:4]]


@pytest.mark.parametrize("missing", ["StudyInstanceUID", "SeriesInstanceUID"])
def test_without_a_uid_to_refer_to_there_is_no_object(missing: str, tmp_path: Path) -> None:
    sources.without(missing)(tmp_path / "source")
    result = sources.result_on(sources.read(tmp_path / "source"), sources.mask())
    with pytest.raises(FormatNotForInput, match=r"have no (Study|Series) Instance UID"):
        written(result, tmp_path)


def test_without_instances_to_refer_to_there_is_no_object(tmp_path: Path) -> None:
    phantom.write_series(tmp_path, sources.VOXELS, syntax=phantom.IMPLICIT, preamble=False, tags={"SOPInstanceUID": ""})
    result = sources.result_on(sources.read(tmp_path), sources.mask())
    with pytest.raises(FormatNotForInput, match="no SOP Instance UID"):
        written(result, tmp_path / "..")


@pytest.mark.parametrize("kind", ["nifti", "png", "jpeg"])
def test_of_another_kind_of_input_there_is_no_object(kind: str, tmp_path: Path) -> None:
    with pytest.raises(FormatNotForInput, match="DICOM images"):
        written(result_of(small_labelmap(), kind=kind), tmp_path)


def test_a_header_of_the_tests_own_is_a_valid_one(tmp_path: Path) -> None:
    assert header()
    assert faults(written(result_of(small_labelmap()), tmp_path)) == []
