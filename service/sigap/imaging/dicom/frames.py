"""Images without their pixels: what the first pass over the files keeps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pydicom.uid import UID

from sigap.core.study import InputFile
from sigap.imaging.dicom.layout import PixelLayout

CT_CLASSES = {
    "1.2.840.10008.5.1.4.1.1.2": "CT Image Storage",
    "1.2.840.10008.5.1.4.1.1.2.1": "Enhanced CT Image Storage",
    "1.2.840.10008.5.1.4.1.1.2.2": "Legacy Converted Enhanced CT Image Storage",
}


@dataclass(frozen=True)
class Patient:
    """Who is in the image; compared, never shown. None: the element is missing or empty."""

    id: str | None
    issuer: str | None
    name: str | None
    birth_date: str | None


@dataclass(frozen=True)
class Image:
    """One file that holds an image."""

    file: InputFile
    sop_class: str | None
    sop_uid: str | None
    study_uid: str
    series_uid: str
    description: str | None
    modality: str | None
    patient: Patient
    frame_of_reference: str | None
    body_part: str | None
    contrast_agent: str | None
    is_declared_lossy: bool
    layout: PixelLayout

    @property
    def is_ct(self) -> bool:
        """Whether this is a CT image object of a CT examination; an element that is missing speaks for nothing."""
        is_ct_object = self.sop_class in CT_CLASSES if self.sop_class else self.modality is not None
        return is_ct_object and (self.modality or "CT").upper() == "CT"

    @property
    def is_multiframe(self) -> bool:
        """Whether a slice must be named by its frame's number too, as those of an enhanced object, even a lone one."""
        return self.layout.frames > 1 or self.sop_class in tuple(CT_CLASSES)[1:]

    @property
    def is_colour(self) -> bool:
        return self.layout.samples != 1 or not self.layout.photometric.startswith("MONOCHROME")


@dataclass(frozen=True)
class Frame:
    """One slice: a whole file, or one frame of an enhanced object. None: the element is missing or unusable.

    Attributes:
        index: of the frame in its file, from 0.
        position_mm: Image Position (Patient), LPS.
        orientation: Image Orientation (Patient): the cosines of a row's direction, then of a column's.
        pixel_spacing_mm: distance of rows, of columns.
        image_type: its values, upper case.
        scan_options: upper case.
        marks: what tells acquisitions, kernels and time points apart: see `groups.py`; "" where an element is missing.
    """

    image: Image
    index: int
    position_mm: tuple[float, ...] | None
    orientation: tuple[float, ...] | None
    pixel_spacing_mm: tuple[float, ...] | None
    thickness_mm: float | None
    slope: float | None
    intercept: float | None
    rescale_type: str | None
    image_type: tuple[str, ...]
    scan_options: str
    marks: Mapping[str, str]


def class_name(sop_class: str | None) -> str:
    """What people call an object, e.g. `MR Image Storage`."""
    uid = UID(sop_class or "")
    return uid.name if uid.name != uid else "An object of an unknown kind"
