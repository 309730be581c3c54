"""Synthetic CT series as DICOM files: known voxels at known places, in every syntax and with any fault.

    paths = write_series(folder, voxels_hu, spacing_mm=(5, 1, 1))
    paths = write_series(folder, voxels_hu, maker=SIEMENS, syntax=RLE, per_slice=lambda index: {"KVP": 80 + index})

`tags` and `per_slice` set any attribute by keyword; the value `REMOVE` deletes it. The names of the files say nothing
about their order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.pixels.encoders.base import RLELosslessEncoder
from pydicom.sequence import Sequence as Items
from pydicom.uid import (
    UID,
    BasicTextSRStorage,
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    EnhancedCTImageStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    SecondaryCaptureImageStorage,
    generate_uid,
)

IMPLICIT = ImplicitVRLittleEndian
EXPLICIT = ExplicitVRLittleEndian
BIG_ENDIAN = ExplicitVRBigEndian
DEFLATED = DeflatedExplicitVRLittleEndian
RLE = UID("1.2.840.10008.1.2.5")
JPEG_BASELINE = UID("1.2.840.10008.1.2.4.50")
JPEG_EXTENDED = UID("1.2.840.10008.1.2.4.51")
JPEG_LOSSLESS = UID("1.2.840.10008.1.2.4.57")
JPEG_LOSSLESS_SV1 = UID("1.2.840.10008.1.2.4.70")
JPEG_LS = UID("1.2.840.10008.1.2.4.80")
JPEG_LS_NEAR = UID("1.2.840.10008.1.2.4.81")
JPEG_2000 = UID("1.2.840.10008.1.2.4.90")
JPEG_2000_LOSSY = UID("1.2.840.10008.1.2.4.91")
HTJ2K = UID("1.2.840.10008.1.2.4.201")
HTJ2K_RPCL = UID("1.2.840.10008.1.2.4.202")
HTJ2K_LOSSY = UID("1.2.840.10008.1.2.4.203")
NATIVE = (IMPLICIT, EXPLICIT, BIG_ENDIAN, DEFLATED)
LOSSLESS = (RLE, JPEG_LOSSLESS, JPEG_LOSSLESS_SV1, JPEG_LS, JPEG_2000, HTJ2K, HTJ2K_RPCL)

REMOVE = object()
AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
CORONAL = (1.0, 0.0, 0.0, 0.0, 0.0, -1.0)
SAGITTAL = (0.0, 1.0, 0.0, 0.0, 0.0, -1.0)


@dataclass(frozen=True)
class Maker:
    """What a maker's files look like where it matters to a reader.

    Attributes:
        signed: Pixel Representation 1.
        bits_stored: of 16 allocated.
        intercept: HU of a stored 0; the slope is 1.
        tags: attributes of every file.
        per_slice: attributes of one file.
    """

    signed: bool
    bits_stored: int
    intercept: float
    tags: Mapping[str, Any]
    per_slice: Callable[[int], Mapping[str, Any]] = lambda _: {}


GE = Maker(
    signed=True,
    bits_stored=16,
    intercept=-1024,
    tags={
        "Manufacturer": "GE MEDICAL SYSTEMS",
        "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"],
        "ConvolutionKernel": "STANDARD",
        "AcquisitionNumber": "1",
        "GantryDetectorTilt": "0.000000",
        "RescaleType": "HU",
        "PixelPaddingValue": -2000,
        "ScanOptions": "HELICAL MODE",
    },
    per_slice=lambda index: {
        "SliceLocation": f"{-100.0 + index:.7f}",
        "ContentTime": f"10{index // 60:02d}{index % 60:02d}",
    },
)
SIEMENS = Maker(
    signed=False,
    bits_stored=12,
    intercept=-1024,
    tags={
        "Manufacturer": "SIEMENS",
        "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL", "CT_SOM5 SPI"],
        "ConvolutionKernel": ["I30f", "3"],
        "AcquisitionNumber": "3",
        "GantryDetectorTilt": "0",
        "PixelPaddingValue": 0,
    },
    per_slice=lambda index: {
        "AcquisitionTime": f"1012{index % 60:02d}.{index:06d}",
        "ContentTime": f"1012{index % 60:02d}.{index:06d}",
    },
)
PHILIPS = Maker(
    signed=False,
    bits_stored=12,
    intercept=-1000,
    tags={
        "Manufacturer": "Philips",
        "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL", "HELIX"],
        "ConvolutionKernel": "B",
        "AcquisitionNumber": "5",
        "RescaleType": "HU",
    },
)
TOSHIBA = Maker(
    signed=True,
    bits_stored=16,
    intercept=0,
    tags={
        "Manufacturer": "TOSHIBA",
        "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"],
        "ConvolutionKernel": "FC13",
        "AcquisitionNumber": "2",
        "RescaleType": "HU",
        "ScanOptions": "HELICAL_CT",
    },
    per_slice=lambda index: {"AcquisitionTime": f"1012{index % 60:02d}.{index % 1000:03d}"},
)
MAKERS = {"GE": GE, "Siemens": SIEMENS, "Philips": PHILIPS, "Toshiba": TOSHIBA}


@dataclass(frozen=True)
class Identity:
    """UIDs that the files of one series share; a second series of the same study differs in `series` alone."""

    study: str = field(default_factory=generate_uid)
    series: str = field(default_factory=generate_uid)
    frame_of_reference: str = field(default_factory=generate_uid)

    def another_series(self) -> Identity:
        return Identity(self.study, generate_uid(), self.frame_of_reference)


def body(shape: tuple[int, int, int] = (12, 32, 40), seed: int = 0) -> NDArray[np.int16]:
    """Air around noisy soft tissue, no two slices equal; HU within -1000..1000."""
    noise = np.random.default_rng(seed).integers(-20, 20, shape)
    rows, columns = np.mgrid[-1 : 1 : shape[1] * 1j, -1 : 1 : shape[2] * 1j]
    inside = rows**2 + columns**2 < 0.7
    voxels = np.where(inside, 50 + noise, -980 + noise)
    return voxels.astype(np.int16)


def write_series(
    folder: Path,
    voxels_hu: NDArray[Any],
    *,
    spacing_mm: tuple[float, float, float] = (5.0, 1.0, 1.0),
    first_lps_mm: tuple[float, float, float] = (-20.0, -16.0, -100.0),
    positions_lps_mm: NDArray[np.float64] | None = None,
    orientation: Sequence[float] = AXIAL,
    maker: Maker = TOSHIBA,
    slope: float = 1.0,
    syntax: UID = EXPLICIT,
    identity: Identity | None = None,
    tags: Mapping[str, Any] | None = None,
    per_slice: Callable[[int], Mapping[str, Any]] = lambda _: {},
    preamble: bool = True,
    first_instance: int = 1,
) -> list[Path]:
    """Write one file a slice.

    Args:
        voxels_hu: (slices, rows, columns); slice 0 lies at `first_lps_mm`, the next one a step along the normal.
        positions_lps_mm: (slices, 3): Image Position of each slice instead of an even step.
        tags: attributes of every file, after the maker's own.
        per_slice: attributes of the file of slice `index`, last of all.
        preamble: False leaves out preamble and file meta information (then only native little endian can be read).

    Returns:
        The files in the order of `voxels_hu`; their names are in another order.
    """
    identity = identity or Identity()
    folder.mkdir(parents=True, exist_ok=True)
    if positions_lps_mm is None:
        positions_lps_mm = even_positions(len(voxels_hu), spacing_mm[0], first_lps_mm, orientation)
    paths = []
    for index, plane in enumerate(voxels_hu):
        dataset = _image_header(CTImageStorage, identity, maker, slope)
        dataset.InstanceNumber = str(first_instance + index)
        dataset.SliceThickness = f"{spacing_mm[0]:g}"
        dataset.PixelSpacing = [float(spacing_mm[1]), float(spacing_mm[2])]
        dataset.ImageOrientationPatient = [float(cosine) for cosine in orientation]
        dataset.ImagePositionPatient = [round(float(value), 6) for value in positions_lps_mm[index]]
        for extra in (maker.per_slice(index), tags or {}, per_slice(index)):
            apply(dataset, extra)
        stored = to_stored(plane, maker, slope, getattr(dataset, "RescaleIntercept", None))
        set_pixels(dataset, stored[np.newaxis], syntax)
        paths.append(folder / f"im{(index * 7919 + first_instance) % 100_003:06d}.dcm")
        save(dataset, paths[-1], syntax, preamble=preamble)
    return paths


def write_enhanced(
    path: Path,
    voxels_hu: NDArray[Any],
    *,
    spacing_mm: tuple[float, float, float] = (5.0, 1.0, 1.0),
    first_lps_mm: tuple[float, float, float] = (-20.0, -16.0, -100.0),
    positions_lps_mm: NDArray[np.float64] | None = None,
    orientation: Sequence[float] = AXIAL,
    maker: Maker = TOSHIBA,
    slope: float = 1.0,
    syntax: UID = EXPLICIT,
    sop_class: UID = EnhancedCTImageStorage,
    identity: Identity | None = None,
    tags: Mapping[str, Any] | None = None,
    per_frame: Callable[[int, Dataset], None] = lambda _index, _groups: None,
    shared: Callable[[Dataset], None] = lambda _groups: None,
) -> Path:
    """Write one multi-frame object; `per_frame` and `shared` may change its functional groups (PS3.3 C.7.6.16)."""
    identity = identity or Identity()
    path.parent.mkdir(parents=True, exist_ok=True)
    if positions_lps_mm is None:
        positions_lps_mm = even_positions(len(voxels_hu), spacing_mm[0], first_lps_mm, orientation)
    dataset = _image_header(sop_class, identity, maker, slope)
    dataset.NumberOfFrames = len(voxels_hu)
    for name in ("RescaleSlope", "RescaleIntercept", "RescaleType"):
        if name in dataset:
            delattr(dataset, name)
    common = Dataset()
    common.PixelMeasuresSequence = [item(PixelSpacing=list(spacing_mm[1:]), SliceThickness=spacing_mm[0])]
    common.PlaneOrientationSequence = [item(ImageOrientationPatient=list(orientation))]
    common.PixelValueTransformationSequence = [
        item(RescaleSlope=slope, RescaleIntercept=maker.intercept, RescaleType="HU")
    ]
    common.CTReconstructionSequence = [item(ConvolutionKernel="FC13")]
    shared(common)
    frames = []
    for index, position in enumerate(positions_lps_mm):
        groups = Dataset()
        groups.PlanePositionSequence = [item(ImagePositionPatient=[round(float(value), 6) for value in position])]
        groups.FrameContentSequence = [item(FrameAcquisitionNumber=1, StackID="1", InStackPositionNumber=index + 1)]
        per_frame(index, groups)
        frames.append(groups)
    dataset.SharedFunctionalGroupsSequence = Items([common])
    dataset.PerFrameFunctionalGroupsSequence = Items(frames)
    apply(dataset, tags or {})
    set_pixels(dataset, to_stored(np.asarray(voxels_hu), maker, slope), syntax)
    save(dataset, path, syntax)
    return path


def write_localizer(
    folder: Path, *, identity: Identity | None = None, tags: Mapping[str, Any] | None = None
) -> list[Path]:
    """One scout, coronal, in a series of its own."""
    identity = identity or Identity()
    changes = {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"], "ConvolutionKernel": REMOVE, **(tags or {})}
    return write_series(
        folder,
        body((1, 48, 24), seed=9),
        orientation=CORONAL,
        first_lps_mm=(-12, 0, 40),
        identity=identity,
        tags=changes,
    )


def write_secondary_capture(
    path: Path, *, identity: Identity | None = None, tags: Mapping[str, Any] | None = None
) -> Path:
    """A colour screenshot such as a dose page."""
    identity = identity or Identity()
    dataset = _image_header(SecondaryCaptureImageStorage, identity, TOSHIBA, 1)
    for name in ("RescaleSlope", "RescaleIntercept", "RescaleType", "FrameOfReferenceUID"):
        if name in dataset:
            delattr(dataset, name)
    dataset.ImageType = ["DERIVED", "SECONDARY", "SCREEN SAVE"]
    dataset.Rows, dataset.Columns = 16, 16
    dataset.SamplesPerPixel, dataset.PlanarConfiguration, dataset.PhotometricInterpretation = 3, 0, "RGB"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 8, 8, 7, 0
    dataset.PixelData = bytes(16 * 16 * 3)
    apply(dataset, tags or {})
    path.parent.mkdir(parents=True, exist_ok=True)
    save(dataset, path, EXPLICIT)
    return path


def write_report(
    path: Path, *, identity: Identity | None = None, sop_class: UID = BasicTextSRStorage, modality: str = "SR"
) -> Path:
    """An object without pixels: a structured report, a presentation state, an RT structure set …"""
    identity = identity or Identity()
    dataset = _patient(sop_class, identity)
    dataset.Modality = modality
    path.parent.mkdir(parents=True, exist_ok=True)
    save(dataset, path, EXPLICIT)
    return path


def even_positions(
    count: int,
    distance_mm: float,
    first_lps_mm: Sequence[float] = (-20.0, -16.0, -100.0),
    orientation: Sequence[float] = AXIAL,
) -> NDArray[np.float64]:
    """(count, 3): a straight line along the normal."""
    normal = np.cross(orientation[:3], orientation[3:])
    steps = np.arange(count)[:, np.newaxis] * distance_mm * normal
    return np.asarray(np.asarray(first_lps_mm, float) + steps)


def positions_at(
    distances_along_mm: Sequence[float], first_lps_mm: Sequence[float] = (-20.0, -16.0, -100.0)
) -> NDArray[np.float64]:
    """(count, 3): axial slices at given heights above the first position."""
    heights = np.asarray(distances_along_mm, float)[:, np.newaxis]
    return np.asarray(np.asarray(first_lps_mm, float) + heights * np.array([0.0, 0.0, 1.0]))


def to_stored(voxels_hu: NDArray[Any], maker: Maker, slope: float = 1.0, intercept: Any = None) -> NDArray[Any]:
    """The inverse of the rescale, in the maker's pixel type."""
    try:
        offset = float(maker.intercept if intercept is None else intercept)
    except (TypeError, ValueError):
        offset = maker.intercept
    low = -(2 ** (maker.bits_stored - 1)) if maker.signed else 0
    high = low + 2**maker.bits_stored - 1
    stored = np.rint((np.asarray(voxels_hu, float) - offset) / slope)
    return np.clip(stored, low, high).astype(np.int16 if maker.signed else np.uint16)


def apply(dataset: Dataset, changes: Mapping[str, Any]) -> None:
    """Set attributes by keyword; `REMOVE` deletes."""
    for keyword, value in changes.items():
        if value is REMOVE:
            if keyword in dataset:
                delattr(dataset, keyword)
        else:
            setattr(dataset, keyword, value)


def set_pixels(dataset: Dataset, stored: NDArray[Any], syntax: UID) -> None:
    """Describe and attach `stored` (frames, rows, columns), encoded as `syntax` wants it."""
    if "Rows" not in dataset:
        dataset.Rows, dataset.Columns = stored.shape[1:]
    if not syntax.is_compressed or syntax == DEFLATED:
        little = stored.astype(stored.dtype.newbyteorder("<"))
        dataset.PixelData = (little.byteswap() if syntax == BIG_ENDIAN else little).tobytes()
        dataset["PixelData"].VR = "OW"
        return
    encode = _rle if syntax == RLE else lambda plane: _encode(plane, syntax)
    dataset.PixelData = encapsulate([encode(np.ascontiguousarray(plane)) for plane in stored])
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True


def save(dataset: Dataset, path: Path, syntax: UID, *, preamble: bool = True) -> None:
    if not preamble:
        dataset.save_as(path, implicit_vr=syntax == IMPLICIT, little_endian=True, enforce_file_format=False)
        return
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = syntax
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID if "SOPClassUID" in dataset else CTImageStorage
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.file_meta = meta
    dataset.save_as(path, enforce_file_format=True)


def _encode(plane: NDArray[Any], syntax: UID) -> bytes:
    unsigned = plane.view(np.uint16)
    is_lossless = syntax in LOSSLESS
    if syntax in (JPEG_LOSSLESS, JPEG_LOSSLESS_SV1):
        encoded = imagecodecs.ljpeg_encode(unsigned, bitspersample=16)
    elif syntax in (JPEG_LS, JPEG_LS_NEAR):
        encoded = imagecodecs.jpegls_encode(unsigned, level=0 if is_lossless else 2)
    elif syntax == JPEG_BASELINE:
        encoded = imagecodecs.jpeg8_encode(plane.astype(np.uint8), level=95)
    elif syntax == JPEG_EXTENDED:
        encoded = imagecodecs.jpeg8_encode(unsigned, level=98, bitspersample=12)
    elif syntax in (JPEG_2000, JPEG_2000_LOSSY):
        level = None if is_lossless else 60
        encoded = imagecodecs.jpeg2k_encode(
            plane, codecformat="J2K", reversible=is_lossless, level=level, resolutions=3, mct=False
        )
    else:
        encoded = imagecodecs.htj2k_encode(plane, reversible=is_lossless)
    return bytes(encoded)


def _rle(plane: NDArray[Any]) -> bytes:
    return RLELosslessEncoder.encode(
        plane.astype("<u2").tobytes(),
        rows=plane.shape[0],
        columns=plane.shape[1],
        samples_per_pixel=1,
        bits_allocated=16,
        bits_stored=16,
        pixel_representation=0,
        photometric_interpretation="MONOCHROME2",
        number_of_frames=1,
    )


def _patient(sop_class: UID, identity: Identity) -> Dataset:
    return item(
        SOPClassUID=sop_class,
        SOPInstanceUID=generate_uid(),
        StudyInstanceUID=identity.study,
        SeriesInstanceUID=identity.series,
        PatientName="Phantom^Sigap",
        PatientID="PHANTOM-1",
        PatientBirthDate="19700101",
        StudyDate="20260101",
        StudyTime="101200",
    )


def _image_header(sop_class: UID, identity: Identity, maker: Maker, slope: float) -> Dataset:
    dataset = _patient(sop_class, identity)
    dataset.Modality = "CT"
    dataset.KVP = "120"
    dataset.FrameOfReferenceUID = identity.frame_of_reference
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, maker.bits_stored, maker.bits_stored - 1
    dataset.PixelRepresentation = int(maker.signed)
    dataset.RescaleSlope, dataset.RescaleIntercept = f"{slope:g}", f"{maker.intercept:g}"
    apply(dataset, maker.tags)
    return dataset


def item(**attributes: Any) -> Dataset:
    """A data set of these attributes."""
    dataset = Dataset()
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    return dataset
