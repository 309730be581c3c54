"""A decoded input: the volume, where it came from, and the verdict on its geometry."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from numpy.typing import NDArray

from sigap.core.grid import Grid
from sigap.core.verdict import GeometryVerdict

Kind = Literal["dicom", "nifti", "png", "jpeg"]

LARGEST_MM = 999.0
"""Of a size that a client gives: wider than any scanner's, narrow enough that areas and volumes stay finite."""


@dataclass(frozen=True)
class InputFile:
    """A file on this machine under a name of our own choosing.

    Attributes:
        path: where its bytes lie.
        name: what the client called it; for the report's `ignored` list only, never for a path or a log.
    """

    path: Path
    name: str


def combined_sha256(digests: Sequence[str]) -> str:
    """One SHA-256 for an input of one file or several.

    Args:
        digests: each file's, in hexadecimal, in any order.

    Returns:
        Of one file its own; of several, that of their sorted SHA-256s, written in hexadecimal one after the other.
    """
    if len(digests) == 1:
        return digests[0]
    return hashlib.sha256("".join(sorted(digests)).encode("ascii")).hexdigest()


@dataclass(frozen=True)
class Ignored:
    """A file beside the images that was not used, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class NiftiFrame:
    """What a mask needs in order to lie on its NIfTI input to the last bit.

    Attributes:
        header: the input's header as stored, native or swapped byte order, NIfTI-1 (348 bytes) or NIfTI-2 (540).
        axes: for slice, row, column: which stored axis (0, 1 or 2) it is.
    """

    header: bytes
    axes: tuple[int, int, int]


@dataclass(frozen=True)
class DicomSlice:
    """Which DICOM object holds a slice.

    Attributes:
        sop_class_uid, sop_instance_uid: None where the element is missing.
        frame_number: of a multi-frame object, from 1; None: the object is one slice.
    """

    sop_class_uid: str | None
    sop_instance_uid: str | None
    frame_number: int | None


@dataclass(frozen=True)
class DicomSource:
    """What a DICOM object made from a volume takes over from its slices, and how it refers to them.

    Attributes:
        header: who the patient is and what the study, of one of the slices: a data set in Explicit VR Little Endian
            without file meta information, its texts in the bytes and the character set of the source.
        frame_of_reference_uid: None where no slice names one.
        thickness_mm: Slice Thickness; None where it is missing.
        slices: one a slice, in the volume's order.
    """

    header: bytes
    frame_of_reference_uid: str | None
    thickness_mm: float | None
    slices: tuple[DicomSlice, ...]


@dataclass(frozen=True)
class Origin:
    """Where a volume came from; what the report's `input` says beside shape and spacing.

    Attributes:
        kind: by content.
        sha256: `combined_sha256` of the files sent.
        ignored: files that were not used.
        study_uid: DICOM only.
        series_uid: DICOM only.
        sop_instance_uids: DICOM only, one a slice (equal for the frames of an enhanced object); None where missing.
        body_part: Body Part Examined, if the tag is there and not empty.
        contrast_agent: Contrast/Bolus Agent, if the tag is there and not empty.
        nifti: NIfTI only.
        dicom: DICOM only, of a series that was accepted.
    """

    kind: Kind
    sha256: str
    ignored: tuple[Ignored, ...] = ()
    study_uid: str | None = None
    series_uid: str | None = None
    sop_instance_uids: tuple[str | None, ...] | None = None
    body_part: str | None = None
    contrast_agent: str | None = None
    nifti: NiftiFrame | None = None
    dicom: DicomSource | None = None


@dataclass(frozen=True)
class Volume:
    """Voxels and their places.

    Attributes:
        voxels: (slices, rows, columns) as stored. CT numbers in HU: int16 where every value is a whole number, else
            float32. Of a PNG or JPEG: uint8, an already windowed picture.
        is_hounsfield: False for a picture; then there is no HU to report.
        grid: where the voxels stand.
    """

    voxels: NDArray[Any]
    is_hounsfield: bool
    grid: Grid


@dataclass(frozen=True)
class Study:
    """One decoded input, accepted for segmentation."""

    volume: Volume
    origin: Origin
    geometry: GeometryVerdict


@dataclass(frozen=True)
class DecodeOptions:
    """What a client may say about its input.

    Attributes:
        series_uid: which DICOM series to take.
        acquisition: which of interleaved acquisitions to take, by the key that the refusal listed.
        pixel_spacing_mm: of a PNG or JPEG: distance of its rows and of its columns.
        slice_thickness_mm: of a PNG or JPEG.
    """

    series_uid: str | None = None
    acquisition: str | None = None
    pixel_spacing_mm: tuple[float, float] | None = None
    slice_thickness_mm: float | None = None


@dataclass(frozen=True)
class Limits:
    """Caps on what one input may unpack to; over any of them it is `TooLarge`.

    Attributes:
        members: files in an archive.
        unpacked_bytes: of an archive or a gzip stream.
        plane_pixels: rows x columns of one slice.
        volume_bytes: voxels x 2, the volume as int16.
    """

    members: int = 20_000
    unpacked_bytes: int = 8 << 30
    plane_pixels: int = 50_000_000
    volume_bytes: int = 2 << 30
