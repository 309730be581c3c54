"""Which files become slices, which series and acquisition is read, and where the voxels stand."""

import contextlib
import logging
import threading
import warnings
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import UID, MediaStorageDirectoryStorage

from phantoms import dicom as phantom
from phantoms.dicom import REMOVE
from sigap.core.errors import BadParameter, GeometryRefused, InputError, SigapError, TooLarge, UnreadableInput
from sigap.core.grid import Orientation
from sigap.core.study import DecodeOptions, Ignored, InputFile, Limits, Study
from sigap.imaging import dicom
from sigap.imaging.dicom import acquisitions, items, reading, stored

VOXELS = phantom.body((12, 24, 28))


def read(paths: Path | Sequence[Path], **options: Any) -> Study:
    found = sorted(paths.rglob("*")) if isinstance(paths, Path) else paths
    files = [InputFile(path, path.name) for path in found if path.is_file()]
    return dicom.read(files, sha256="0" * 64, options=DecodeOptions(**options))


def refusal_of(paths: Path, **options: Any) -> GeometryRefused:
    with pytest.raises(GeometryRefused) as refused:
        read(paths, **options)
    return refused.value


# --- what becomes a slice ---


def test_order_of_files_and_their_names_mean_nothing(tmp_path: Path) -> None:
    paths = phantom.write_series(tmp_path, VOXELS)
    for order in (paths, paths[::-1], paths[6:] + paths[:6]):
        np.testing.assert_array_equal(read(order).volume.voxels, VOXELS)


def test_instance_numbers_mean_nothing(tmp_path: Path) -> None:
    paths = phantom.write_series(tmp_path, VOXELS, per_slice=lambda index: {"InstanceNumber": str(99 - index)})
    study = read(paths)
    np.testing.assert_array_equal(study.volume.voxels, VOXELS)
    uids = [pydicom.dcmread(path, stop_before_pixels=True).SOPInstanceUID for path in paths]
    assert list(study.origin.sop_instance_uids or ()) == uids


def test_what_is_no_slice_is_named_with_its_reason(tmp_path: Path) -> None:
    identity = phantom.Identity()
    paths = phantom.write_series(tmp_path, VOXELS, identity=identity)
    other = identity.another_series()
    phantom.write_report(tmp_path / "sr" / "report", identity=other)
    phantom.write_report(
        tmp_path / "pr" / "state", identity=other, sop_class=UID("1.2.840.10008.5.1.4.1.1.11.1"), modality="PR"
    )
    phantom.write_secondary_capture(tmp_path / "sc" / "page", identity=other)
    phantom.write_localizer(tmp_path / "scout", identity=other)
    (tmp_path / "twice").write_bytes(paths[3].read_bytes())
    _write_directory(tmp_path / "DICOMDIR")
    before = Ignored("readme.txt", "no DICOM")
    files = [InputFile(path, path.name) for path in sorted(tmp_path.rglob("*")) if path.is_file()]
    study = dicom.read(files, sha256="0" * 64, ignored=(before,))
    assert study.geometry.reasons == ()
    np.testing.assert_array_equal(study.volume.voxels, VOXELS)
    reasons = {entry.name: entry.reason for entry in study.origin.ignored}
    localizer = next(name for name in reasons if name.startswith("im"))
    assert set(reasons) == {"readme.txt", "report", "state", "page", "twice", "DICOMDIR", localizer}
    assert "directory" in reasons["DICOMDIR"]
    assert "SR" in reasons["report"]
    assert "Presentation State" in reasons["state"]
    assert "screenshot" in reasons["page"]


def test_the_same_file_twice_is_ignored_once(tmp_path: Path) -> None:
    paths = phantom.write_series(tmp_path, VOXELS)
    copy = tmp_path / "copy"
    copy.write_bytes(paths[3].read_bytes())
    study = read([*paths, copy])
    assert study.geometry.reasons == ()
    assert [entry.name for entry in study.origin.ignored] == ["copy"]


def test_an_enhanced_object_twice_is_ignored_once(tmp_path: Path) -> None:
    path = phantom.write_enhanced(tmp_path / "a", VOXELS)
    copy = tmp_path / "b"
    copy.write_bytes(path.read_bytes())
    study = read([path, copy])
    np.testing.assert_array_equal(study.volume.voxels, VOXELS)
    assert [entry.name for entry in study.origin.ignored] == ["b"]


def test_one_uid_with_two_contents_is_no_repetition(tmp_path: Path) -> None:
    paths = phantom.write_series(tmp_path, VOXELS)
    changed = pydicom.dcmread(paths[3])
    changed.PixelData = bytes(len(changed.PixelData))
    changed.save_as(tmp_path / "changed")
    refused = refusal_of(tmp_path)
    assert [reason.code for reason in refused.verdict.reasons] == ["duplicate_slices"]
    assert refused.verdict.reasons[0].numbers["slices"] == [3]


def test_one_slice_recompressed_is_an_equal_slice(tmp_path: Path) -> None:
    paths = phantom.write_series(tmp_path, VOXELS)
    dataset = pydicom.dcmread(paths[3])
    phantom.set_pixels(dataset, dataset.pixel_array[np.newaxis], phantom.RLE)
    phantom.save(dataset, tmp_path / "again", phantom.RLE)
    study = read(tmp_path)
    assert [(one.code, one.severity.word) for one in study.geometry.reasons] == [("duplicate_slices", "warning")]
    np.testing.assert_array_equal(study.volume.voxels, VOXELS)
    assert len(study.origin.ignored) == 1


def test_only_a_directory(tmp_path: Path) -> None:
    _write_directory(tmp_path / "DICOMDIR")
    with pytest.raises(UnreadableInput) as error:
        read(tmp_path)
    assert error.value.slug == "no-pixels"


# --- several series ---


def test_several_series_are_listed_and_one_is_picked(tmp_path: Path) -> None:
    identity = phantom.Identity()
    other = identity.another_series()
    phantom.write_series(tmp_path / "1", VOXELS, identity=identity, tags={"SeriesDescription": "thin"})
    phantom.write_series(tmp_path / "2", VOXELS[:7] + 1, identity=other, tags={"ConvolutionKernel": "FC52"})
    [reason] = refusal_of(tmp_path).verdict.reasons
    assert reason.code == "several_series"
    listed = {entry["series_uid"]: entry for entry in reason.numbers["series"]}
    assert listed[identity.series]["description"] == "thin"
    assert listed[identity.series]["slices"] == 12
    assert listed[other.series]["kernel"] == "FC52"
    assert listed[other.series]["thickness_mm"] == 5
    study = read(tmp_path, series_uid=other.series)
    assert study.geometry.reasons == ()
    assert study.origin.series_uid == other.series
    np.testing.assert_array_equal(study.volume.voxels, VOXELS[:7] + 1)
    assert len(study.origin.ignored) == 12


def test_a_series_of_two_studies_is_picked_from_neither(tmp_path: Path) -> None:
    identity = phantom.Identity()
    phantom.write_series(tmp_path / "1", VOXELS, identity=identity)
    phantom.write_series(tmp_path / "2", VOXELS[:7] + 1, identity=phantom.Identity(series=identity.series))
    [reason] = refusal_of(tmp_path, series_uid=identity.series).verdict.reasons
    assert reason.code == "several_series"
    assert [entry["slices"] for entry in reason.numbers["series"]] == [12, 7]
    assert "send one study" in reason.message


def test_an_unknown_series(tmp_path: Path) -> None:
    phantom.write_series(tmp_path, VOXELS)
    with pytest.raises(BadParameter) as error:
        read(tmp_path, series_uid="1.2.3")
    assert error.value.slug == "unknown-series"


@pytest.mark.parametrize(
    ("write", "code"),
    [
        (lambda folder, identity: phantom.write_localizer(folder, identity=identity), "localizer"),
        (lambda folder, identity: phantom.write_secondary_capture(folder / "x", identity=identity), "not_ct"),
        (
            lambda folder, identity: phantom.write_series(
                folder, VOXELS, identity=identity, orientation=phantom.CORONAL
            ),
            "not_axial",
        ),
    ],
)
def test_a_series_asked_for_that_is_no_axial_ct(tmp_path: Path, write: Callable[..., object], code: str) -> None:
    identity = phantom.Identity()
    other = identity.another_series()
    phantom.write_series(tmp_path / "1", VOXELS, identity=identity)
    write(tmp_path / "2", other)
    assert [reason.code for reason in refusal_of(tmp_path, series_uid=other.series).verdict.reasons] == [code]


def test_the_only_axial_series_is_taken_and_the_others_are_listed(tmp_path: Path) -> None:
    identity = phantom.Identity()
    other = identity.another_series()
    phantom.write_series(tmp_path / "1", VOXELS, identity=identity)
    phantom.write_series(tmp_path / "2", VOXELS, identity=other, orientation=phantom.CORONAL)
    study = read(tmp_path)
    [reason] = study.geometry.reasons
    assert reason.severity.word == "warning"
    assert [entry["series_uid"] for entry in reason.numbers["series"]] == [other.series]
    assert study.origin.series_uid == identity.series


# --- interleaved acquisitions ---


@pytest.mark.parametrize(
    ("tags", "keys"),
    [
        ({"AcquisitionNumber": "7"}, ["acquisition-2", "acquisition-7"]),
        ({"ConvolutionKernel": ["B60f", "2"]}, ["kernel-B60f-2", "kernel-FC13"]),
        ({"KVP": "80"}, ["kvp-80", "kvp-120"]),
    ],
)
def test_interleaved_acquisitions_are_listed_and_one_is_picked(
    tmp_path: Path, tags: dict[str, Any], keys: list[str]
) -> None:
    identity = phantom.Identity()
    second = phantom.body((12, 24, 28), seed=1)
    phantom.write_series(tmp_path / "1", VOXELS, identity=identity)
    phantom.write_series(tmp_path / "2", second, identity=identity, tags=tags)
    refused = refusal_of(tmp_path)
    [reason] = refused.verdict.reasons
    assert [entry["acquisition"] for entry in reason.numbers["acquisitions"]] == keys
    assert [entry["slices"] for entry in reason.numbers["acquisitions"]] == [12, 12]
    assert reason.numbers["shared_places"] == 12
    found = [read(tmp_path, acquisition=key) for key in keys]
    assert all(study.geometry.reasons == () and len(study.origin.ignored) == 12 for study in found)
    volumes = [study.volume.voxels for study in found]
    assert any(np.array_equal(volume, VOXELS) for volume in volumes)
    assert any(np.array_equal(volume, second) for volume in volumes)


@pytest.mark.parametrize("copies", [1, 3, 12])
def test_slices_sent_again_do_not_hide_interleaved_acquisitions(tmp_path: Path, copies: int) -> None:
    identity = phantom.Identity()
    phantom.write_series(tmp_path / "1", VOXELS, identity=identity)
    phantom.write_series(tmp_path / "2", VOXELS + 7, identity=identity, tags={"AcquisitionNumber": "7"})
    phantom.write_series(tmp_path / "again", VOXELS[:copies], identity=identity)
    assert [reason.code for reason in refusal_of(tmp_path).verdict.reasons] == ["interleaved_acquisitions"]
    picked = read(tmp_path, acquisition="acquisition-2")
    assert [reason.code for reason in picked.geometry.reasons] == ["duplicate_slices"]
    assert np.array_equal(picked.volume.voxels, VOXELS)


def test_only_the_acquisition_picked_must_agree(tmp_path: Path) -> None:
    identity = phantom.Identity()
    phantom.write_series(tmp_path / "1", VOXELS, identity=identity)
    other = {"AcquisitionNumber": "7", "PixelSpacing": [0.7, 0.7]}
    phantom.write_series(
        tmp_path / "2", VOXELS, identity=identity, tags={"AcquisitionNumber": "7"}, per_slice=lambda _: other
    )
    assert {reason.code for reason in refusal_of(tmp_path).verdict.reasons} == {
        "mixed_size",
        "interleaved_acquisitions",
    }
    for key, spacing in (("acquisition-2", 1.0), ("acquisition-7", 0.7)):
        study = read(tmp_path, acquisition=key)
        assert study.geometry.reasons == ()
        assert study.volume.grid.spacing_mm[1] == spacing


def test_a_boundary_in_both_of_two_blocks_is_one_scan(tmp_path: Path) -> None:
    identity = phantom.Identity()
    phantom.write_series(tmp_path / "1", VOXELS[:7], identity=identity)
    above = phantom.positions_at([5.0 * place for place in range(6, 12)])
    phantom.write_series(
        tmp_path / "2", VOXELS[6:], identity=identity, positions_lps_mm=above, tags={"AcquisitionNumber": "7"}
    )
    study = read(tmp_path)
    assert [reason.code for reason in study.geometry.reasons] == ["duplicate_slices"]
    assert np.array_equal(study.volume.voxels, VOXELS)


def test_time_points_that_only_the_clock_tells_apart(tmp_path: Path) -> None:
    identity = phantom.Identity()
    volumes = [phantom.body((4, 24, 28), seed=point) for point in range(5)]
    for point, voxels in enumerate(volumes):
        phantom.write_series(
            tmp_path / str(9 - point),
            voxels,
            identity=identity,
            maker=phantom.PHILIPS,
            per_slice=lambda index, point=point: {"AcquisitionTime": f"10{point:02d}{index:02d}"},
        )
    [reason] = refusal_of(tmp_path).verdict.reasons
    keys = [entry["acquisition"] for entry in reason.numbers["acquisitions"]]
    assert keys == [f"time-{point}" for point in range(1, 6)]
    for key, voxels in zip(keys, volumes, strict=True):
        np.testing.assert_array_equal(read(tmp_path, acquisition=key).volume.voxels, voxels)


def test_an_unknown_acquisition(tmp_path: Path) -> None:
    phantom.write_series(tmp_path, VOXELS)
    with pytest.raises(BadParameter) as error:
        read(tmp_path, acquisition="7")
    assert error.value.slug == "unknown-acquisition"


def test_an_acquisition_that_is_not_listed(tmp_path: Path) -> None:
    phantom.write_series(tmp_path, VOXELS, per_slice=lambda index: {"AcquisitionNumber": index % 2})
    with pytest.raises(BadParameter, match="acquisition-0, acquisition-1"):
        read(tmp_path, acquisition="acquisition-9")


# --- enhanced objects ---


UNSPECIFIED = {"RescaleSlope": 1, "RescaleIntercept": 0, "RescaleType": "US"}


@pytest.mark.parametrize("sop_class", ["1.2.840.10008.5.1.4.1.1.2.1", "1.2.840.10008.5.1.4.1.1.2.2"])
def test_enhanced_frames_are_sorted_by_position(tmp_path: Path, sop_class: str) -> None:
    order = np.random.default_rng(0).permutation(12)
    positions = phantom.even_positions(12, 2.5)[order]
    path = phantom.write_enhanced(tmp_path / "x", VOXELS[order], positions_lps_mm=positions, sop_class=UID(sop_class))
    study = read([path])
    assert study.geometry.reasons == ()
    np.testing.assert_array_equal(study.volume.voxels, VOXELS)
    assert study.volume.grid.spacing_mm == (2.5, 1, 1)
    assert len(set(study.origin.sop_instance_uids or ())) == 1
    assert len(study.origin.sop_instance_uids or ()) == 12


def test_enhanced_groups_may_be_each_frames_own(tmp_path: Path) -> None:
    def own(index: int, groups: Dataset) -> None:
        rescale = phantom.item(RescaleSlope=1, RescaleIntercept=-index, RescaleType="HU")
        groups.PixelValueTransformationSequence = [rescale]
        groups.PlaneOrientationSequence = [phantom.item(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])]
        groups.PixelMeasuresSequence = [phantom.item(PixelSpacing=[0.5, 0.75], SliceThickness=5)]

    def nothing_shared(groups: Dataset) -> None:
        del groups.PlaneOrientationSequence, groups.PixelMeasuresSequence, groups.PixelValueTransformationSequence

    study = read([phantom.write_enhanced(tmp_path / "x", VOXELS, per_frame=own, shared=nothing_shared)])
    np.testing.assert_array_equal(study.volume.voxels, VOXELS - np.arange(12)[:, None, None])
    assert study.volume.grid.spacing_mm == (5, 0.5, 0.75)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"PlanePositionSequence": REMOVE}, "no_spacing"),
        ({"FrameContentSequence": lambda index: {"FrameAcquisitionNumber": index % 2}}, "interleaved_acquisitions"),
        ({"FrameContentSequence": lambda index: {"TemporalPositionIndex": 1 + index % 2}}, "interleaved_acquisitions"),
        ({"CTReconstructionSequence": lambda i: {"ConvolutionKernel": "AB"[i % 2]}}, "interleaved_acquisitions"),
        ({"PixelValueTransformationSequence": lambda _: UNSPECIFIED}, "not_hounsfield"),
        ({"PixelMeasuresSequence": lambda index: {"PixelSpacing": [1, 1 + index % 2]}}, "mixed_size"),
        ({"CTImageFrameTypeSequence": lambda _: {"FrameType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}}, "localizer"),
    ],
)  # fmt: skip
def test_faults_of_enhanced_objects(tmp_path: Path, change: dict[str, Any], code: str) -> None:
    def spoil(index: int, groups: Dataset) -> None:
        for keyword, value in change.items():
            phantom.apply(groups, {keyword: REMOVE if value is REMOVE else [phantom.item(**value(index))]})

    phantom.write_enhanced(tmp_path / "x", VOXELS, per_frame=spoil)
    assert [reason.code for reason in refusal_of(tmp_path).verdict.reasons] == [code]


@pytest.mark.parametrize("frames", [2, 2_000_000_000])
def test_several_frames_without_functional_groups_have_no_places(tmp_path: Path, frames: int) -> None:
    paths = phantom.write_series(tmp_path, VOXELS[:1])
    dataset = pydicom.dcmread(paths[0])
    dataset.NumberOfFrames = frames
    dataset.PixelData *= 2
    dataset.save_as(paths[0])
    assert [reason.code for reason in refusal_of(tmp_path).verdict.reasons] == ["no_spacing"]


# --- the grid ---


@pytest.mark.parametrize(
    ("cosines", "orientation"),
    [
        ((1, 0, 0, 0, 1, 0), Orientation()),
        ((-1, 0, 0, 0, 1, 0), Orientation(flip_columns=True)),
        ((1, 0, 0, 0, -1, 0), Orientation(flip_rows=True)),
        ((-1, 0, 0, 0, -1, 0), Orientation(flip_rows=True, flip_columns=True)),
        ((0, 1, 0, 1, 0, 0), Orientation(transpose=True)),
        ((0, 1, 0, -1, 0, 0), Orientation(transpose=True, flip_columns=True)),
        ((0, -1, 0, 1, 0, 0), Orientation(transpose=True, flip_rows=True)),
        ((0.9, 0.4359, 0, -0.4359, 0.9, 0), Orientation()),
    ],
)
def test_orientation_leads_to_the_canonical_view(
    tmp_path: Path, cosines: tuple[float, ...], orientation: Orientation
) -> None:
    study = read(phantom.write_series(tmp_path, VOXELS, orientation=cosines, first_lps_mm=(0, 0, 0)))
    grid = study.volume.grid
    assert grid.orientation == orientation
    indices = np.stack(np.indices(grid.shape), axis=0)
    canonical = [orientation.to_canonical(axis) for axis in indices]

    def at(*place: int) -> np.ndarray:
        found = grid.world_lps_mm(tuple(float(axis[place]) for axis in canonical))
        assert found is not None
        return found

    origin = at(0, 0, 0)
    assert (at(1, 0, 0) - origin)[2] > 0  # towards the head
    assert (at(0, 1, 0) - origin)[1] > 0  # towards the back
    assert (at(0, 0, 1) - origin)[0] > 0  # towards the left


@pytest.mark.parametrize("cosines", [(1, 0, 0, 0, 1, 0), (-1, 0, 0, 0, 1, 0), (1, 0, 0, 0, 0.866025, -0.5)])
def test_slices_run_from_the_feet_to_the_head(tmp_path: Path, cosines: tuple[float, ...]) -> None:
    normal = np.cross(cosines[:3], cosines[3:])
    step = 5 * float(np.sign(normal[2]))
    study = read(phantom.write_series(tmp_path, VOXELS, spacing_mm=(step, 1, 1), orientation=cosines))
    np.testing.assert_array_equal(study.volume.voxels, VOXELS)
    first_voxels = study.volume.grid.first_voxels_lps_mm
    assert first_voxels is not None
    assert np.all(np.diff(first_voxels[:, 2]) > 0)


def test_steps_and_spacings(tmp_path: Path) -> None:
    grid = read(phantom.write_series(tmp_path, VOXELS, spacing_mm=(3, 0.5, 0.75), first_lps_mm=(1, 2, 3))).volume.grid
    assert grid.shape == (12, 24, 28)
    assert grid.spacing_mm == (3, 0.5, 0.75)
    assert grid.shares_mm == (3,) * 12
    np.testing.assert_allclose(grid.row_step_lps_mm, [0, 0.5, 0])
    np.testing.assert_allclose(grid.column_step_lps_mm, [0.75, 0, 0])
    np.testing.assert_allclose(grid.first_voxels_lps_mm, [[1, 2, 3 + 3 * index] for index in range(12)])
    assert grid.is_uniform
    assert grid.is_oriented


def test_a_tilt_is_measured_along_the_normal(tmp_path: Path) -> None:
    angle = np.radians(20)
    orientation = (1, 0, 0, 0, float(np.cos(angle)), float(np.sin(angle)))
    positions = np.array([[0, 0, 5.0 * index] for index in range(12)])
    study = read(phantom.write_series(tmp_path, VOXELS, orientation=orientation, positions_lps_mm=positions))
    [reason] = study.geometry.reasons
    assert reason.code == "gantry_tilt"
    assert reason.numbers["angle_degrees"] == pytest.approx(20, abs=0.01)
    assert study.volume.grid.spacing_mm[0] == pytest.approx(5 * np.cos(angle), abs=1e-4)
    assert study.volume.grid.is_uniform


@pytest.mark.parametrize("values", [[0, 5, 10, 20, 25], [0, 2, 4, 6, 10, 14, 18]])
def test_uneven_slices_have_no_single_affine(tmp_path: Path, values: list[float]) -> None:
    voxels = phantom.body((len(values), 24, 28))
    study = read(phantom.write_series(tmp_path, voxels, positions_lps_mm=phantom.positions_at(values)))
    assert not study.volume.grid.is_uniform


def test_gaps_are_named_with_their_place(tmp_path: Path) -> None:
    positions = phantom.positions_at([0, 5, 10, 25, 30], (0, 0, -100))
    study = read(phantom.write_series(tmp_path, VOXELS[:5], positions_lps_mm=positions))
    [reason] = study.geometry.reasons
    [gap] = reason.numbers["gaps"]
    assert gap == {"after_slice": 2, "distance_mm": 15, "usual_mm": 5, "from_mm": -90, "to_mm": -75}
    assert study.volume.grid.shares_mm == (5,) * 5


# --- the border ---


def test_origin_names_study_series_body_part_and_contrast(tmp_path: Path) -> None:
    identity = phantom.Identity()
    tags = {"BodyPartExamined": "ABDOMEN", "ContrastBolusAgent": "Iohexol"}
    origin = read(phantom.write_series(tmp_path, VOXELS, identity=identity, tags=tags)).origin
    assert (origin.kind, origin.study_uid, origin.series_uid) == ("dicom", identity.study, identity.series)
    assert (origin.body_part, origin.contrast_agent) == ("ABDOMEN", "Iohexol")


def test_a_refusal_carries_the_origin(tmp_path: Path) -> None:
    identity = phantom.Identity()
    phantom.write_series(tmp_path, VOXELS, identity=identity, tags={"RescaleType": "US"})
    refused = refusal_of(tmp_path)
    assert refused.origin is not None
    assert (refused.origin.sha256, refused.origin.series_uid) == ("0" * 64, identity.series)
    assert "Phantom" not in refused.message


BAD_VALUES = {
    "SliceThickness": "5.000000000000000000001",
    "SOPInstanceUID": "1.02.not-a-uid",
    "PatientBirthDate": "1970/01/01",
    "SeriesDescription": "x" * 100,
    "AcquisitionTime": "10:12:00",
    "SpecificCharacterSet": "ISO_IR 999",
    "KVP": "120kV",
    "InstanceNumber": "1.5",
}


def test_bad_values_beside_the_point_harm_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    paths = phantom.write_series(tmp_path, VOXELS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for path in paths:
            dataset = pydicom.dcmread(path)
            for keyword, value in BAD_VALUES.items():
                vr = pydicom.datadict.dictionary_VR(keyword)
                tag = pydicom.datadict.tag_for_keyword(keyword)
                assert tag is not None
                dataset[tag] = pydicom.dataelem.RawDataElement(
                    pydicom.tag.Tag(tag), vr, len(value), value.encode(), 0, False, True
                )
            dataset.save_as(path)
    caplog.clear()
    with caplog.at_level(logging.DEBUG):
        study = read(paths)
    assert study.geometry.reasons == ()
    np.testing.assert_array_equal(study.volume.voxels, VOXELS)
    assert caplog.records == []


def test_reading_in_several_threads_restores_the_warnings_filters(tmp_path: Path) -> None:
    paths = phantom.write_series(tmp_path, VOXELS)
    before = list(warnings.filters)
    results: list[Study] = []
    threads = [threading.Thread(target=lambda: results.append(read(paths))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 6
    assert list(warnings.filters) == before
    assert not logging.getLogger("pydicom").disabled


@pytest.mark.parametrize("length", [0, 1, 100, 131, 132, 140, 200, 400, 700, 1000])
def test_stumps_of_files_are_refused(tmp_path: Path, length: int) -> None:
    paths = phantom.write_series(tmp_path, VOXELS[:3])
    paths[1].write_bytes(paths[1].read_bytes()[:length])
    with pytest.raises(InputError):
        read(paths)


def test_random_bytes_in_the_header_never_escape_as_foreign_errors(tmp_path: Path) -> None:
    paths = phantom.write_series(tmp_path, VOXELS[:2])
    content = paths[1].read_bytes()
    random = np.random.default_rng(0)
    for _ in range(150):
        spoiled = bytearray(content)
        for place in random.integers(132, 1100, 4):
            spoiled[place] = random.integers(0, 256)
        paths[1].write_bytes(bytes(spoiled))
        with contextlib.suppress(InputError):
            read(paths)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("CT_small.dcm", True),
        ("meta_missing_tsyntax.dcm", True),
        ("ExplVR_BigEndNoMeta.dcm", True),
        ("ExplVR_LitEndNoMeta.dcm", True),
        ("image_dfl.dcm", True),
        ("DICOMDIR", True),
        ("rtplan.dump", False),
        ("README.txt", False),
        ("zipMR.gz", False),
        ("test1.json", False),
    ],
)
def test_dicom_is_told_by_content(name: str, expected: bool) -> None:
    path = pydicom.data.get_testdata_file(name, download=False)
    assert isinstance(path, str)
    assert dicom.is_dicom(Path(path)) is expected


@pytest.mark.parametrize("content", [b"", b"\x08\x00", b"\x08\x00\x05\x00", bytes(4096), b"hello world " * 50])
def test_scraps_are_no_dicom(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x").write_bytes(content)
    assert not dicom.is_dicom(tmp_path / "x")


@pytest.mark.parametrize("name", ["CT_small.dcm", "693_J2KI.dcm", "J2K_pixelrep_mismatch.dcm"])
def test_single_slices_of_real_scanners(name: str) -> None:
    path = pydicom.data.get_testdata_file(name, download=False)
    assert isinstance(path, str)
    voxels = read([Path(path)]).volume.voxels
    assert voxels.dtype == np.int16
    assert voxels.min() < -800
    assert -120 < np.median(voxels[voxels > -200]) < 100


def test_a_real_study(samples: Path, tmp_path: Path) -> None:
    import zipfile

    with zipfile.ZipFile(samples / "abdomen_ct_dicom.zip") as archive:
        archive.extractall(tmp_path)
    study = read(tmp_path)
    assert study.geometry.reasons == ()
    assert study.volume.grid.shape == (129, 512, 512)
    assert study.volume.grid.spacing_mm == pytest.approx((1.6, 0.57, 0.57))
    assert study.volume.grid.is_uniform


def _write_directory(path: Path) -> None:
    dataset = phantom.item(SOPClassUID=MediaStorageDirectoryStorage, SOPInstanceUID="1.2.3", FileSetID="X")
    phantom.save(dataset, path, phantom.EXPLICIT)


# --- hostile headers ---


@pytest.mark.parametrize(
    ("tags", "code"),
    [
        ({"RescaleSlope": "1e30"}, "not_hounsfield"),
        ({"RescaleSlope": "2e6"}, "not_hounsfield"),
        ({"RescaleSlope": "1e-30"}, "not_hounsfield"),
        ({"RescaleIntercept": "1e20"}, "not_hounsfield"),
        ({"RescaleIntercept": "-1.5e39"}, "not_hounsfield"),
        ({"PixelSpacing": ["1e200", "1e200"]}, "no_spacing"),
        ({"PixelSpacing": ["1e-200", "1e-200"]}, "no_spacing"),
        ({"ImagePositionPatient": ["0", "0", "1e200"]}, "no_spacing"),
        ({"ImageOrientationPatient": ["1e200"] * 6}, "no_spacing"),
    ],
)
def test_numbers_that_no_scanner_writes_are_refused(tmp_path: Path, tags: dict[str, Any], code: str) -> None:
    [path] = phantom.write_series(tmp_path, VOXELS[:1])
    dataset = pydicom.dcmread(path)
    phantom.apply(dataset, tags)
    dataset.save_as(path)
    assert [reason.code for reason in refusal_of(tmp_path).verdict.reasons] == [code]


def test_a_thickness_that_no_scanner_writes_is_none(tmp_path: Path) -> None:
    study = read(phantom.write_series(tmp_path, VOXELS[:1], tags={"SliceThickness": "1e200"}))
    assert study.volume.grid.shares_mm is None
    assert [reason.code for reason in study.geometry.reasons] == ["no_spacing"]


@pytest.mark.parametrize(("slope", "intercept"), [(1000, -100_000), (0.001, 100_000)])
def test_the_widest_rescale_that_is_read_overflows_nothing(tmp_path: Path, slope: float, intercept: float) -> None:
    paths = phantom.write_series(tmp_path, VOXELS[:1])
    dataset = pydicom.dcmread(paths[0])
    stored = np.frombuffer(dataset.PixelData, np.int16).reshape(24, 28)
    dataset.RescaleSlope, dataset.RescaleIntercept = slope, intercept
    dataset.save_as(paths[0])
    np.testing.assert_allclose(read(paths).volume.voxels[0], stored * float(slope) + intercept, rtol=1e-6)


def test_a_missing_instance_uid_is_none(tmp_path: Path) -> None:
    paths = phantom.write_series(tmp_path, VOXELS, preamble=False, syntax=phantom.EXPLICIT)
    for path in paths[:2]:
        dataset = pydicom.dcmread(path, force=True)
        del dataset.SOPInstanceUID
        dataset.save_as(path, implicit_vr=False, little_endian=True, enforce_file_format=False)
    uids = read(paths).origin.sop_instance_uids or ()
    assert uids[:2] == (None, None)
    assert all(uids[2:])


@pytest.mark.parametrize("times", [(".a", "b."), ("..", "."), ("1.2.3", "٣.")])
def test_times_that_are_none_sort_somehow(tmp_path: Path, times: tuple[str, str]) -> None:
    identity = phantom.Identity()
    for number, time in enumerate(times):
        voxels = phantom.body((4, 24, 28), seed=number)
        folder = tmp_path / str(number)
        for path in phantom.write_series(folder, voxels, identity=identity, maker=phantom.PHILIPS):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                dataset = pydicom.dcmread(path)
                dataset.SpecificCharacterSet = "ISO_IR 192"
                dataset.add_new("AcquisitionTime", "LO", time)
                dataset.save_as(path)
    [reason] = refusal_of(tmp_path).verdict.reasons
    assert [entry["acquisition"] for entry in reason.numbers["acquisitions"]] == ["time-1", "time-2"]


@pytest.mark.parametrize(
    ("keyword", "values", "keys"),
    [
        ("AcquisitionTime", ("101500", "093000"), ["time-1", "time-2"]),
        ("ContentTime", ("101500", "093000"), ["content-time-1", "content-time-2"]),
        ("IrradiationEventUID", ("1.2.826.9.10", "1.2.826.9.9"), ["event-1", "event-2"]),
    ],
)
def test_a_refusal_tells_no_times_and_no_uids(
    tmp_path: Path, keyword: str, values: tuple[str, str], keys: list[str]
) -> None:
    identity = phantom.Identity()
    volumes = [phantom.body((4, 24, 28), seed=number) for number in range(2)]
    for voxels, value in zip(volumes, values, strict=True):
        phantom.write_series(tmp_path / value, voxels, identity=identity, maker=phantom.PHILIPS, tags={keyword: value})
    [reason] = refusal_of(tmp_path).verdict.reasons
    assert [entry["acquisition"] for entry in reason.numbers["acquisitions"]] == keys
    assert not any(value in f"{reason.message} {reason.numbers}" for value in values)
    for key, voxels in zip(keys, volumes[::-1], strict=True):
        np.testing.assert_array_equal(read(tmp_path, acquisition=key).volume.voxels, voxels)


def test_marks_are_gathered_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counted: list[object] = []
    original = acquisitions._count_distinct
    monkeypatch.setattr(acquisitions, "_count_distinct", lambda placed: counted.append(placed) or original(placed))
    test_a_refusal_tells_no_times_and_no_uids(
        tmp_path, "ContentTime", ("101500", "093000"), ["content-time-1", "content-time-2"]
    )
    assert len(counted) == 3  # once a reading


@pytest.mark.parametrize("is_deflated", [False, True])
def test_slices_of_shared_places_are_compared_in_one_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_deflated: bool
) -> None:
    syntax = phantom.DEFLATED if is_deflated else phantom.EXPLICIT
    path = phantom.write_enhanced(
        tmp_path / "x",
        np.concatenate([VOXELS, VOXELS]),
        positions_lps_mm=np.concatenate([phantom.even_positions(12, 5)] * 2),
        syntax=syntax,
    )
    opened: list[Path] = []
    original = stored.open_source
    monkeypatch.setattr(stored, "open_source", lambda path, limits: opened.append(path) or original(path, limits))
    study = read([path])
    np.testing.assert_array_equal(study.volume.voxels, VOXELS)
    assert [reason.code for reason in study.geometry.reasons] == ["duplicate_slices"]
    assert len(opened) == 2  # to compare, and to read


def test_limits_hold_before_slices_are_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    identity = phantom.Identity()
    for name in "ab":
        phantom.write_series(tmp_path / name, VOXELS, identity=identity)
    monkeypatch.setattr(stored, "open_source", lambda *_: pytest.fail("a slice was read"))
    files = [InputFile(path, path.name) for path in tmp_path.rglob("*.dcm")]
    with pytest.raises(TooLarge):
        dicom.read(files, sha256="", limits=Limits(volume_bytes=VOXELS.size * 2 - 1))


@pytest.mark.parametrize("limits", [Limits(members=11), Limits(volume_bytes=VOXELS.size * 2 - 1)])
def test_frames_announced_over_the_limits_are_never_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limits: Limits
) -> None:
    path = phantom.write_enhanced(tmp_path / "x", VOXELS)
    monkeypatch.setattr(reading, "frames_of", lambda *_: pytest.fail("frames were built"))
    with pytest.raises(TooLarge):
        dicom.read([InputFile(path, "x")], sha256="", limits=limits)


@pytest.mark.parametrize("is_undefined_length", [False, True])
def test_items_beyond_measure_are_never_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_undefined_length: bool
) -> None:
    path = phantom.write_enhanced(tmp_path / "x", VOXELS[:1])
    dataset = pydicom.dcmread(path)
    dataset.PerFrameFunctionalGroupsSequence = [Dataset() for _ in range(1000)]
    dataset["PerFrameFunctionalGroupsSequence"].is_undefined_length = is_undefined_length
    dataset.save_as(path)
    monkeypatch.setattr(items, "MOST_ITEMS", 900)
    monkeypatch.setattr(reading, "frames_of", lambda *_: pytest.fail("items were read"))
    with pytest.raises(TooLarge, match="header"):
        read([path])


@pytest.mark.parametrize("is_deflated", [False, True])
def test_elements_beyond_measure_are_never_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_deflated: bool
) -> None:
    """A gigabyte of zeros packs into a megabyte, and would be read for minutes."""
    path = phantom.write_series(tmp_path, VOXELS[:1], syntax=phantom.DEFLATED if is_deflated else phantom.EXPLICIT)[0]
    content = path.read_bytes()
    head = content[: 144 + int.from_bytes(content[140:144], "little")]  # preamble and file meta information
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    zeros = bytes(8 * 1000)
    path.write_bytes(head + (packer.compress(zeros) + packer.flush() if is_deflated else zeros))
    calls: list[None] = []
    monkeypatch.setattr(items, "_CHECK_EVERY", 100)
    monkeypatch.setattr(items, "MOST_ELEMENTS", 900)
    with pytest.raises(TooLarge, match="header"):
        dicom.read([InputFile(path, "x")], sha256="", check=lambda: calls.append(None))
    assert len(calls) >= 9
    with pytest.raises(TooLarge, match="header"):
        reading.read_uids(path, Limits())


def test_a_check_can_end_a_long_header(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = phantom.write_enhanced(tmp_path / "x", VOXELS)
    dataset = pydicom.dcmread(path)
    dataset["PerFrameFunctionalGroupsSequence"].is_undefined_length = True
    dataset.save_as(path)
    monkeypatch.setattr(items, "_CHECK_EVERY", 5)
    left = iter([None])

    def check() -> None:
        if next(left, _Enough) is _Enough:
            raise _Enough("enough")

    monkeypatch.setattr(reading, "check_announced", lambda *_: pytest.fail("the header was read to its end"))
    with pytest.raises(_Enough):
        dicom.read([InputFile(path, "x")], sha256="", check=check)


class _Enough(SigapError):
    """Raised by the caller's check."""


@pytest.mark.parametrize("is_enhanced", [False, True])
def test_a_check_can_end_the_reading_at_each_file_and_slice(tmp_path: Path, *, is_enhanced: bool) -> None:
    voxels, places = np.concatenate([VOXELS, VOXELS]), np.concatenate([phantom.even_positions(12, 5)] * 2)
    if is_enhanced:
        paths = [phantom.write_enhanced(tmp_path / "x", voxels, positions_lps_mm=places)]
    else:
        paths = phantom.write_series(tmp_path, voxels, positions_lps_mm=places)
    files = [InputFile(path, path.name) for path in paths]
    calls: list[None] = []
    dicom.read(files, sha256="", check=lambda: calls.append(None))
    assert len(calls) >= 24 + 24 + 12  # headers, slices compared, slices read
    for last in range(1, len(calls) + 1):
        left = iter([None] * (last - 1))

        def check(left: Iterator[None] = left) -> None:
            if next(left, _Enough) is _Enough:
                raise _Enough("enough")

        with pytest.raises(_Enough):
            dicom.read(files, sha256="", check=check)
