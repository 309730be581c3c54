"""Every code of the geometry table: the fault gives exactly that code, and clean series of four makers give none."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from phantoms import dicom as phantom
from phantoms.dicom import REMOVE
from sigap.core.errors import GeometryRefused
from sigap.core.study import DecodeOptions, InputFile, Study
from sigap.core.verdict import GeometryVerdict
from sigap.imaging import dicom

MAKERS = list(phantom.MAKERS)


def read(folder: Path, **options: Any) -> Study:
    files = [InputFile(path, path.name) for path in sorted(folder.rglob("*")) if path.is_file()]
    return dicom.read(files, sha256="0" * 64, options=DecodeOptions(**options))


def verdict_of(folder: Path, **options: Any) -> GeometryVerdict:
    try:
        return read(folder, **options).geometry
    except GeometryRefused as refused:
        return refused.verdict


def codes_of(verdict: GeometryVerdict) -> dict[str, str]:
    return {reason.code: reason.severity.word for reason in verdict.reasons}


@dataclass(frozen=True)
class Case:
    name: str
    write: Callable[[Path], object]
    codes: dict[str, str]


VOXELS = phantom.body((12, 24, 28))


def series(**changes: Any) -> Callable[[Path], object]:
    return lambda folder: phantom.write_series(folder, VOXELS, **changes)


def tagged(**tags: Any) -> Callable[[Path], object]:
    return series(tags=tags)


def every_second(**tags: Any) -> Callable[[Path], object]:
    return series(per_slice=lambda index: tags if index % 2 else {})


def one_slice(number: int = 6, /, **tags: Any) -> Callable[[Path], object]:
    return series(per_slice=lambda index: tags if index == number else {})


def heights(*values: float) -> Callable[[Path], object]:
    def write(folder: Path) -> None:
        voxels = phantom.body((len(values), 24, 28))
        phantom.write_series(folder, voxels, positions_lps_mm=phantom.positions_at(values))

    return write


def gantry(degrees: float) -> Callable[[Path], object]:
    """The plane is tilted about x; the table still moves along z."""
    angle = np.radians(degrees)
    orientation = (1, 0, 0, 0, float(np.cos(angle)), float(np.sin(angle)))
    return series(orientation=orientation, positions_lps_mm=phantom.positions_at(5.0 * np.arange(12)))


def beside(*writers: Callable[[Path, phantom.Identity], object]) -> Callable[[Path], object]:
    """A good series, and other objects of the same study beside it."""

    def write(folder: Path) -> None:
        identity = phantom.Identity()
        phantom.write_series(folder / "axial", VOXELS, identity=identity)
        for number, writer in enumerate(writers):
            writer(folder / str(number), identity.another_series())

    return write


def coronal(folder: Path, identity: phantom.Identity) -> None:
    tags = {"ImageType": ["DERIVED", "SECONDARY", "REFORMATTED"]}
    phantom.write_series(folder, VOXELS, orientation=phantom.CORONAL, identity=identity, tags=tags)


def magnetic(folder: Path, identity: phantom.Identity) -> None:
    tags = {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.4", "Modality": "MR", "RescaleType": REMOVE}
    phantom.write_series(folder, VOXELS, identity=identity, tags=tags)


def twice(**second: Any) -> Callable[[Path], object]:
    """One series holding two scans of the same places."""

    def write(folder: Path) -> None:
        identity = phantom.Identity()
        phantom.write_series(folder / "1", VOXELS, identity=identity)
        phantom.write_series(folder / "2", phantom.body((12, 24, 28), seed=1), identity=identity, tags=second)

    return write


def overlapping(start: float) -> Callable[[Path], object]:
    """Two acquisitions of one series, the second beginning at a height."""

    def write(folder: Path) -> None:
        identity = phantom.Identity()
        for number, low in ((1, 0.0), (2, start)):
            phantom.write_series(
                folder / str(number),
                phantom.body((12, 24, 28), seed=number),
                identity=identity,
                positions_lps_mm=phantom.positions_at(low + 5 * np.arange(12)),
                tags={"AcquisitionNumber": number},
            )

    return write


def copied(*, change: bool) -> Callable[[Path], object]:
    """One slice a second time, under a new SOP Instance UID."""

    def write(folder: Path) -> None:
        identity = phantom.Identity()
        phantom.write_series(folder / "all", VOXELS, identity=identity)
        copy = VOXELS[4:5] + (7 if change else 0)
        where = phantom.even_positions(12, 5)[4:5]
        phantom.write_series(folder / "again", copy, identity=identity, positions_lps_mm=where, first_instance=5)

    return write


def perfusion(*, clock: bool) -> Callable[[Path], object]:
    """Eight time points of four places; either numbered, or told apart by their times alone."""

    def write(folder: Path) -> None:
        identity = phantom.Identity()
        for point in range(8):

            def tags(index: int, point: int = point) -> dict[str, Any]:
                time = {
                    "AcquisitionTime": f"1012{point:02d}.{index:03d}",
                    "ContentTime": f"1012{point:02d}.{index:03d}",
                }
                return time if clock else {"TemporalPositionIdentifier": point + 1}

            voxels = phantom.body((4, 24, 28), seed=point)
            phantom.write_series(folder / str(point), voxels, identity=identity, per_slice=tags, maker=phantom.PHILIPS)

    return write


def screenshot(folder: Path, identity: phantom.Identity) -> None:
    phantom.write_secondary_capture(folder / "page.dcm", identity=identity)


def protocol_page(folder: Path, identity: phantom.Identity) -> None:
    """A grey page, written as a CT image into the series itself."""
    page = np.zeros((1, 20, 30), np.int16)
    nowhere = {
        "ImageType": ["DERIVED", "SECONDARY", "OTHER", "CT_SOM5 PROT"],
        "ImagePositionPatient": phantom.REMOVE,
        "ImageOrientationPatient": phantom.REMOVE,
        "RescaleSlope": phantom.REMOVE,
        "RescaleIntercept": phantom.REMOVE,
        "FrameOfReferenceUID": phantom.REMOVE,
    }
    phantom.write_series(folder / "page", page, identity=identity, per_slice=lambda _: nowhere)


def scout(folder: Path, identity: phantom.Identity) -> None:
    phantom.write_localizer(folder, identity=identity)


def report(folder: Path, identity: phantom.Identity) -> None:
    phantom.write_report(folder / "report.dcm", identity=identity)


SOUND = {
    "head to feet": series(spacing_mm=(-5, 1, 1)),
    "a single slice": lambda folder: phantom.write_series(folder, VOXELS[:1]),
    "two slices": lambda folder: phantom.write_series(folder, VOXELS[:2]),
    "prone": series(orientation=(-1, 0, 0, 0, -1, 0)),
    "feet first": series(orientation=(-1, 0, 0, 0, 1, 0)),
    "on the side": series(orientation=(0, 1, 0, -1, 0, 0)),
    "oblique by 40 degrees": series(orientation=(1, 0, 0, 0, 0.766044, 0.642788)),
    "cosines of three decimals": series(orientation=(0.998, 0.052, 0.017, -0.052, 0.998, 0.035)),
    "positions within the noise": heights(0, 5.04, 9.97, 15.02, 20, 25.03, 29.98),
    "positions of whole tenths": heights(*np.round(np.arange(20) * 1.25, 1)),
    "stray in the plane": series(
        positions_lps_mm=phantom.even_positions(12, 5) + np.random.default_rng(0).normal(0, 0.1, (12, 3)) * [1, 1, 0]
    ),
    "spacing of another sixth decimal": series(
        per_slice=lambda index: {"PixelSpacing": ["0.703125", "0.703125"] if index % 2 else ["0.703126", "0.703124"]}
    ),
    "cosines of another sixth decimal": series(
        per_slice=lambda index: {"ImageOrientationPatient": [1, 0, 1e-6 * index, 0, 1, 0]}
    ),
    "no frame of reference": tagged(FrameOfReferenceUID=REMOVE),
    "a frame of reference in half of the slices": every_second(FrameOfReferenceUID=REMOVE),
    "no rescale type": tagged(RescaleType=REMOVE),
    "a padded rescale type": tagged(RescaleType="HU "),
    "lower case": tagged(RescaleType="hu"),
    "a tilt in the header only": tagged(GantryDetectorTilt="-15.5"),
    "a tilt of 0.3 degrees": gantry(0.3),
    "monochrome 1": tagged(PhotometricInterpretation="MONOCHROME1"),
    "blocks, one acquisition each": series(per_slice=lambda index: {"AcquisitionNumber": 1 + index // 4}),
    "an acquisition a slice": series(per_slice=lambda index: {"AcquisitionNumber": index + 1}),
    "blocks, one kernel each": series(per_slice=lambda index: {"ConvolutionKernel": "B30f" if index < 6 else "B60f"}),
    "a block rescanned": series(per_slice=lambda index: {"AcquisitionNumber": 2 if 4 <= index < 8 else 1}),
    "times that swap near a heartbeat": series(
        per_slice=lambda index: {"AcquisitionTime": f"09000{(0, 0, 0, 0, 1, 0, 1, 1, 1, 1, 1, 1)[index]}"}
    ),
    "trigger times that alternate": series(per_slice=lambda index: {"TriggerTime": 700 + 10 * (index % 2)}),
    "one name in two spellings": every_second(PatientName="PHANTOM SIGAP^^^"),
    "no name in some": every_second(PatientName="", PatientID="", PatientBirthDate=""),
    "one patient of two hospitals": series(
        per_slice=lambda index: {"PatientID": f"ID-{index % 2}", "IssuerOfPatientID": f"HOSPITAL-{index % 2}"}
    ),
    "another series description": every_second(SeriesDescription="another"),
    "a localizer beside it": beside(scout),
    "a localizer that does not say so": beside(
        lambda folder, identity: phantom.write_localizer(
            folder, identity=identity, tags={"ImageType": ["ORIGINAL", "PRIMARY", "OTHER"]}
        )
    ),
    "a scout among the slices": lambda folder: (
        phantom.write_series(folder / "a", VOXELS, identity=SAME),
        phantom.write_localizer(folder / "b", identity=SAME),
    ),
    "a report beside it": beside(report),
    "a screenshot beside it": beside(screenshot),
    "a protocol page beside it": beside(protocol_page),
    "a protocol page among the slices": lambda folder: (
        phantom.write_series(folder / "a", VOXELS, identity=SAME),
        protocol_page(folder / "b", SAME),
    ),
    "declared as not lossy": tagged(LossyImageCompression="00"),
    "overlapping reconstruction": series(spacing_mm=(2, 1, 1), tags={"SliceThickness": "5"}),
    "acquisitions that follow one another": overlapping(60),
}
SAME = phantom.Identity()

REFUSED = "refused"
WARNING = "warning"
FAULTS = [
    Case("a magnetic resonance", lambda folder: magnetic(folder, phantom.Identity()), {"not_ct": REFUSED}),
    Case("a positron emission", tagged(SOPClassUID="1.2.840.10008.5.1.4.1.1.128", Modality="PT"), {"not_ct": REFUSED}),
    Case("ct storage of another modality", tagged(Modality="PT"), {"not_ct": REFUSED}),
    Case("a secondary capture of modality ct", tagged(SOPClassUID="1.2.840.10008.5.1.4.1.1.7"), {"not_ct": REFUSED}),
    Case("nothing but a protocol page", lambda folder: protocol_page(folder, phantom.Identity()), {"not_ct": REFUSED}),
    Case("colour", lambda folder: screenshot(folder, phantom.Identity()), {"not_ct": REFUSED}),
    Case("colour in ct storage", tagged(PhotometricInterpretation="PALETTE COLOR"), {"not_ct": REFUSED}),
    Case("a report alone", lambda folder: report(folder, phantom.Identity()), {"not_ct": REFUSED}),
    Case("nothing but a localizer", lambda folder: scout(folder, phantom.Identity()), {"localizer": REFUSED}),
    Case(
        "a localizer and a screenshot",
        lambda folder: (scout(folder / "a", SAME), screenshot(folder / "b", SAME)),
        {"localizer": REFUSED},
    ),
    Case(
        "a localizer and a magnetic resonance",
        lambda folder: (scout(folder / "a", SAME), magnetic(folder / "b", SAME)),
        {"localizer": REFUSED, "not_ct": REFUSED},
    ),
    Case(
        "an axial series called localizer",
        tagged(ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]),
        {"localizer": REFUSED},
    ),
    Case("a coronal series", series(orientation=phantom.CORONAL), {"not_axial": REFUSED}),
    Case("a sagittal series", series(orientation=phantom.SAGITTAL), {"not_axial": REFUSED}),
    Case(
        "a single coronal slice",
        lambda folder: phantom.write_series(folder, VOXELS[:1], orientation=phantom.CORONAL),
        {"not_axial": REFUSED},
    ),
    Case("50 degrees off", series(orientation=(1, 0, 0, 0, 0.642788, 0.766044)), {"not_axial": REFUSED}),
    Case("no pixel spacing", tagged(PixelSpacing=REMOVE), {"no_spacing": REFUSED}),
    Case("an empty pixel spacing", tagged(PixelSpacing=None), {"no_spacing": REFUSED}),
    Case("a zero pixel spacing", tagged(PixelSpacing=[0, 1]), {"no_spacing": REFUSED}),
    Case("a negative pixel spacing", tagged(PixelSpacing=[1, -1]), {"no_spacing": REFUSED}),
    Case("no position", tagged(ImagePositionPatient=REMOVE), {"no_spacing": REFUSED}),
    Case("no position in one slice", one_slice(ImagePositionPatient=REMOVE), {"no_spacing": REFUSED}),
    Case("no orientation", tagged(ImageOrientationPatient=REMOVE), {"no_spacing": REFUSED}),
    Case("no orientation in one slice", one_slice(ImageOrientationPatient=REMOVE), {"no_spacing": REFUSED}),
    Case("parallel directions", tagged(ImageOrientationPatient=[1, 0, 0, 1, 0, 0]), {"no_spacing": REFUSED}),
    Case("no direction", tagged(ImageOrientationPatient=[0, 0, 0, 0, 0, 0]), {"no_spacing": REFUSED}),
    Case("a direction of length 2", tagged(ImageOrientationPatient=[2, 0, 0, 0, 1, 0]), {"no_spacing": REFUSED}),
    Case(
        "directions at 80 degrees",
        tagged(ImageOrientationPatient=[1, 0, 0, 0.173648, 0.984808, 0]),
        {"no_spacing": REFUSED},
    ),
    Case(
        "one slice without thickness",
        lambda folder: phantom.write_series(folder, VOXELS[:1], tags={"SliceThickness": REMOVE}),
        {"no_spacing": WARNING},
    ),
    Case("no slope", tagged(RescaleSlope=REMOVE), {"not_hounsfield": REFUSED}),
    Case("no intercept in one slice", one_slice(RescaleIntercept=REMOVE), {"not_hounsfield": REFUSED}),
    Case("a zero slope", tagged(RescaleSlope="0"), {"not_hounsfield": REFUSED}),
    Case("a negative slope", tagged(RescaleSlope="-1"), {"not_hounsfield": REFUSED}),
    Case("an unspecified rescale type", tagged(RescaleType="US"), {"not_hounsfield": REFUSED}),
    Case("modified hounsfield units", tagged(RescaleType="HU_MOD"), {"not_hounsfield": REFUSED}),
    Case("another rescale type in one slice", one_slice(RescaleType="OD"), {"not_hounsfield": REFUSED}),
    Case("two patient IDs", every_second(PatientID="OTHER-9"), {"several_patients": REFUSED}),
    Case("two names", every_second(PatientName="Other^Person"), {"several_patients": REFUSED}),
    Case("two birth dates", every_second(PatientBirthDate="19710101"), {"several_patients": REFUSED}),
    Case(
        "two axial series",
        beside(lambda folder, identity: phantom.write_series(folder, VOXELS, identity=identity)),
        {"several_series": REFUSED},
    ),
    Case("a coronal series beside it", beside(coronal), {"several_series": WARNING}),
    Case("a magnetic resonance beside it", beside(magnetic), {"several_series": WARNING}),
    Case(
        "two sizes",
        lambda folder: (
            phantom.write_series(folder / "a", VOXELS[:6], identity=SAME),
            phantom.write_series(folder / "b", VOXELS[6:, :20], identity=SAME, first_lps_mm=(-20, -16, -70)),
        ),
        {"mixed_size": REFUSED},
    ),
    Case("two pixel spacings", one_slice(PixelSpacing=[1.01, 1.01]), {"mixed_size": REFUSED}),
    Case(
        "two orientations",
        one_slice(ImageOrientationPatient=[0.9998477, 0.0174524, 0, -0.0174524, 0.9998477, 0]),
        {"mixed_size": REFUSED},
    ),
    Case("a slice turned over", one_slice(ImageOrientationPatient=[-1, 0, 0, 0, 1, 0]), {"mixed_size": REFUSED}),
    Case(
        "a coronal slice among axial ones",
        one_slice(ImageOrientationPatient=list(phantom.CORONAL)),
        {"mixed_size": REFUSED},
    ),
    Case("two frames of reference", one_slice(FrameOfReferenceUID="1.2.3"), {"mixed_frame_of_reference": REFUSED}),
    Case("acquisitions that alternate", every_second(AcquisitionNumber=7), {"interleaved_acquisitions": REFUSED}),
    Case("series numbers that alternate", every_second(SeriesNumber="9"), {"interleaved_acquisitions": REFUSED}),
    Case("kernels that alternate", every_second(ConvolutionKernel="FC52"), {"interleaved_acquisitions": REFUSED}),
    Case("energies that alternate", every_second(KVP="80"), {"interleaved_acquisitions": REFUSED}),
    Case(
        "times that alternate",
        series(per_slice=lambda index: {"AcquisitionTime": ("090000", "090130")[index % 2]}),
        {"interleaved_acquisitions": REFUSED},
    ),
    Case("acquisitions of the same places", twice(AcquisitionNumber=7), {"interleaved_acquisitions": REFUSED}),
    Case("kernels of the same places", twice(ConvolutionKernel="FC52"), {"interleaved_acquisitions": REFUSED}),
    Case("energies of the same places", twice(KVP="80"), {"interleaved_acquisitions": REFUSED}),
    Case(
        "phases of the same places", twice(NominalPercentageOfCardiacPhase=40.0), {"interleaved_acquisitions": REFUSED}
    ),
    Case("trigger times of the same places", twice(TriggerTime="400"), {"interleaved_acquisitions": REFUSED}),
    Case("times of the same places", twice(ContentTime="120000"), {"interleaved_acquisitions": REFUSED}),
    Case(
        "descriptions of the same places", twice(SeriesDescription="mono 40 keV"), {"interleaved_acquisitions": REFUSED}
    ),
    Case("time points, numbered", perfusion(clock=False), {"interleaved_acquisitions": REFUSED}),
    Case("time points by the clock", perfusion(clock=True), {"interleaved_acquisitions": REFUSED}),
    Case("acquisitions that overlap", overlapping(45), {"interleaved_acquisitions": REFUSED}),
    Case("acquisitions that share one place", overlapping(55), {"interleaved_acquisitions": REFUSED}),
    Case("acquisitions that overlap off the grid", overlapping(47.5), {"interleaved_acquisitions": REFUSED}),
    Case("one place, other pixels", copied(change=True), {"duplicate_slices": REFUSED}),
    Case("one place, equal pixels", copied(change=False), {"duplicate_slices": WARNING}),
    Case("two scans that nothing tells apart", twice(), {"duplicate_slices": REFUSED}),
    Case("a gap", heights(0, 5, 10, 25, 30, 35), {"missing_slices": WARNING}),
    Case("one slice missing", heights(0, 5, 10, 20, 25, 30), {"missing_slices": WARNING}),
    Case("a gap at the feet", heights(0, 10, 15, 20, 25), {"missing_slices": WARNING}),
    Case("a gap at the head", heights(0, 5, 10, 15, 25), {"missing_slices": WARNING}),
    Case("another spacing for good", heights(0, 2.5, 5, 7.5, 12.5, 17.5, 22.5, 27.5), {"mixed_spacing": WARNING}),
    Case(
        "a gap and another spacing",
        heights(0, 2, 4, 6, 20, 24, 28, 32),
        {"missing_slices": WARNING, "mixed_spacing": WARNING},
    ),
    Case("a tilt", gantry(12), {"gantry_tilt": WARNING}),
    Case("a tilt the other way", gantry(-12), {"gantry_tilt": WARNING}),
    Case("a tilt of one degree", gantry(1), {"gantry_tilt": WARNING}),
    Case(
        "positions that drift sideways",
        series(positions_lps_mm=phantom.even_positions(12, 5) + np.arange(12)[:, None] * [0.5, 0, 0]),
        {"gantry_tilt": WARNING},
    ),
    Case("a lossy syntax", series(syntax=phantom.JPEG_2000_LOSSY), {"lossy": WARNING}),
    Case("near lossless", series(syntax=phantom.JPEG_LS_NEAR), {"lossy": WARNING}),
    Case("declared lossy", tagged(LossyImageCompression="01"), {"lossy": WARNING}),
    Case("one slice declared lossy", one_slice(LossyImageCompression="01"), {"lossy": WARNING}),
    Case(
        "three faults at once",
        series(
            tags={"RescaleSlope": REMOVE},
            per_slice=lambda index: {"PixelSpacing": [1 + index % 2, 1], "PatientID": str(index)},
        ),
        {"several_patients": REFUSED, "not_hounsfield": REFUSED, "mixed_size": REFUSED},
    ),
]


@pytest.mark.parametrize("maker", MAKERS)
def test_a_clean_series_of_each_maker_is_ok(tmp_path: Path, maker: str) -> None:
    phantom.write_series(tmp_path, VOXELS, maker=phantom.MAKERS[maker])
    assert verdict_of(tmp_path).as_json() == {"verdict": "ok", "reasons": []}


@pytest.mark.parametrize("name", list(SOUND))
def test_nothing_is_said_of_a_sound_series(tmp_path: Path, name: str) -> None:
    SOUND[name](tmp_path)
    assert codes_of(verdict_of(tmp_path)) == {}


@pytest.mark.parametrize("case", FAULTS, ids=lambda case: case.name)
def test_a_fault_gives_its_code_and_no_other(tmp_path: Path, case: Case) -> None:
    case.write(tmp_path)
    verdict = verdict_of(tmp_path)
    assert codes_of(verdict) == case.codes
    assert all(reason.message.endswith(".") for reason in verdict.reasons)
    json.dumps(verdict.as_json(), allow_nan=False)
