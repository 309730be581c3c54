"""What Sigap's own DICOM objects take over from the series that they are about."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import cast

import pydicom
from pydicom.charset import python_encoding
from pydicom.datadict import dictionary_keyword, dictionary_VM, dictionary_VR, tag_for_keyword
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_data_element
from pydicom.tag import BaseTag, Tag

from sigap.core.errors import SigapError, UnreadableInput
from sigap.core.study import DicomSlice, DicomSource, Limits
from sigap.imaging.dicom.frames import Frame, Image
from sigap.imaging.dicom.header import Header
from sigap.imaging.dicom.source import open_source

_CHARACTER_SET = Tag(0x00080005)
# PS3.3 C.7.1.1 Patient, C.7.2.1 General Study, C.7.2.2 Patient Study; of the series and the image what is about the
# patient or what pixels made from it inherit.
_KEYWORDS = (
    *("PatientName", "PatientID", "IssuerOfPatientID", "TypeOfPatientID", "PatientBirthDate", "PatientBirthTime"),
    *("PatientSex", "OtherPatientIDs", "OtherPatientNames", "EthnicGroup", "PatientComments", "PatientIdentityRemoved"),
    *("DeidentificationMethod", "DeidentificationMethodCodeSequence"),
    *("StudyInstanceUID", "StudyDate", "StudyTime", "StudyID", "StudyDescription", "AccessionNumber"),
    *("IssuerOfAccessionNumberSequence", "ReferringPhysicianName", "PhysiciansOfRecord"),
    *("NameOfPhysiciansReadingStudy", "ProcedureCodeSequence"),
    *("PatientAge", "PatientSize", "PatientWeight", "AdmissionID"),
    *("SeriesInstanceUID", "BodyPartExamined", "PositionReferenceIndicator", "TimezoneOffsetFromUTC"),
    *("LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod"),
)
_TAGS = tuple(Tag(cast("int", tag_for_keyword(keyword))) for keyword in _KEYWORDS)
# PS3.5 table 6.2-1: what a value looks like; one that does not is not of its type, and says nothing.
_SHAPES = {
    "AS": rb"\d{3}[DWMY]",
    "CS": rb"[A-Z0-9 _]{1,16}",
    "DA": rb"\d{4}(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])",
    "DS": rb"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)? *",
    "TM": rb"([01]\d|2[0-3])([0-5]\d([0-5]\d(\.\d{1,6})?)?)? *",
}
# PS3.3 C.12.1.1.8: hours and minutes, from -1200 to +1400.
_OWN_SHAPES = {"TimezoneOffsetFromUTC": rb"-(0\d[0-5]\d|1[01][0-5]\d|1200)|\+(0\d[0-5]\d|1[0-3][0-5]\d|1400)"}
_ENUMERATED = {"PatientSex": (b"M", b"F", b"O"), "PatientIdentityRemoved": (b"YES", b"NO")}
_MOST_BYTES = 0xFFFE
_MOST_ITEMS = 100


def carry(frames: Sequence[Frame], limits: Limits) -> DicomSource:
    """Gather what objects about a series will need; the voxels are not touched.

    The header is that of the slice that says most about its patient. A text is kept in the bytes that it has, so it
    reads as it does in the images, whatever its character set; a date, number or code that breaks the rules of its
    type is left out, and so is the name of a character set that nobody knows.

    Args:
        frames: of the series, in the volume's order.
        limits: caps on what a deflated file may unpack to.

    Raises:
        UnreadableInput: the header cannot be read so far.
    """
    fullest = max((frame.image for frame in frames), key=_patient_elements)
    uids = (frame.image.frame_of_reference for frame in frames)
    return DicomSource(
        header=_header(fullest, limits),
        frame_of_reference_uid=next((uid for uid in uids if uid), None),
        thickness_mm=frames[0].thickness_mm,
        slices=tuple(
            DicomSlice(image.sop_class, image.sop_uid, frame.index + 1 if image.is_multiframe else None)
            for image, frame in ((frame.image, frame) for frame in frames)
        ),
    )


def _patient_elements(image: Image) -> int:
    return sum(value is not None for value in vars(image.patient).values())


def _header(image: Image, limits: Limits) -> bytes:
    try:
        return _encode(image, limits)
    except (SigapError, MemoryError):
        raise
    except Exception as error:  # pydicom raises whatever it meets in broken bytes
        raise UnreadableInput(
            "The patient and study of a DICOM file cannot be read. Export the study again and send it anew.",
            slug="truncated",
        ) from error


def _encode(image: Image, limits: Limits) -> bytes:
    stream, _ = open_source(image.file.path, limits)
    with stream:
        dataset = pydicom.dcmread(stream, stop_before_pixels=True, force=True, specific_tags=list(_TAGS))
    encoded = _encoded()
    for tag in (_CHARACTER_SET, *_TAGS):
        element = _element(dataset, tag)
        if element is not None:
            write_data_element(encoded, element, dataset.get("SpecificCharacterSet"))
    return encoded.getvalue()


def _element(dataset: Dataset, tag: BaseTag) -> RawDataElement | DataElement | None:
    vr = dictionary_VR(tag)
    if vr == "SQ":
        return _sequence(dataset, tag)
    value = _bytes(dataset, tag)
    if not value or len(value) > _MOST_BYTES or not _is_sound(value, tag, vr):
        return None
    value += (b"\0" if vr == "UI" else b" ") * (len(value) % 2)
    return RawDataElement(tag, vr, len(value), value, 0, is_implicit_VR=False, is_little_endian=True)


def _bytes(dataset: Dataset, tag: BaseTag) -> bytes | None:
    """A text element as stored, without its padding; pydicom itself reads the character set as soon as it meets it."""
    value = dataset.get_item(tag).value if tag in dataset else None
    if isinstance(value, bytes):
        return value.rstrip(b" \0")
    if tag == _CHARACTER_SET and value is not None:
        return "\\".join([value] if isinstance(value, str) else value).encode("ascii", "replace")
    return None


def _is_sound(value: bytes, tag: BaseTag, vr: str) -> bool:
    values = [value] if dictionary_VM(tag) == "1" else value.split(b"\\")
    parts = [part.strip(b" \0") for part in values]
    if tag == _CHARACTER_SET:
        return all(part.decode("ascii", "replace") in python_encoding for part in parts)
    keyword = dictionary_keyword(tag)
    shape, allowed = _OWN_SHAPES.get(keyword, _SHAPES.get(vr)), _ENUMERATED.get(keyword)
    if shape is None:
        return True
    return all(re.fullmatch(shape, part) and (allowed is None or part in allowed) for part in parts)


def _sequence(dataset: Dataset, tag: BaseTag) -> DataElement | None:
    """Codes and issuers, where they are few and can be read; what a vendor has put among them stays behind."""
    if not 0 < Header(dataset).count_items(tag) <= _MOST_ITEMS:
        return None
    try:
        element = dataset[tag]
        for item in element.value:
            item.remove_private_tags()
        write_data_element(_encoded(), element, dataset.get("SpecificCharacterSet"))
    except Exception:  # noqa: BLE001 - pydicom raises whatever it meets in broken bytes
        return None
    return element


def _encoded() -> DicomBytesIO:
    encoded = DicomBytesIO()
    encoded.is_implicit_VR, encoded.is_little_endian = False, True
    return encoded
