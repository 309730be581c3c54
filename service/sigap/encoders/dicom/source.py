"""What an object takes over from the images that it is about, and how it names them."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence

from pydicom.charset import convert_encodings, default_encoding
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset
from pydicom.uid import CTImageStorage

from sigap.core.errors import FormatNotForInput
from sigap.core.study import DicomSlice, DicomSource, Study
from sigap.encoders.dicom.items import item


def check_source(study: Study) -> None:
    """See to it that objects can be filed with these images, and can name them.

    Raises:
        FormatNotForInput: the input is no DICOM, or one whose study, series or slices have no UID.
    """
    origin = study.origin
    if origin.dicom is None:
        raise FormatNotForInput(
            "A DICOM object can only be made about DICOM images, and these are none. "
            "Ask for json, nifti, png, coco, stl or zip."
        )
    lacking = {
        "Study Instance UID": origin.study_uid is None,
        "Series Instance UID": origin.series_uid is None,
        "SOP Instance UID": any(one.sop_instance_uid is None for one in origin.dicom.slices),
    }
    missing = " and ".join(name for name, is_missing in lacking.items() if is_missing)
    if missing:
        raise FormatNotForInput(
            f"The images have no {missing}, so no DICOM object could refer to them. Export them from the PACS anew, "
            "or ask for json, nifti, png or coco."
        )


def source_of(study: Study) -> DicomSource:
    """The DICOM side of a study that has one.

    Raises:
        FormatNotForInput: see `check_source`.
    """
    check_source(study)
    assert study.origin.dicom is not None  # noqa: S101 - narrows the type: it has just been looked at
    return study.origin.dicom


def header_of(source: DicomSource) -> Dataset:
    """The source's own attributes, its texts in bytes: written again, they are what they are in the images."""
    header = read_dataset(io.BytesIO(source.header), is_implicit_VR=False, is_little_endian=True)
    for tag in header.keys():  # noqa: SIM118 - a Dataset iterates over elements, and parses all of them
        if header.get_item(tag).VR == "SQ":
            # Its items are in the encoding of their file, and cannot be passed on as bytes.
            header[tag] = header[tag]
    named = header.get("SpecificCharacterSet")
    encodings = convert_encodings(named) if named else default_encoding
    header.set_original_encoding(is_implicit_vr=False, is_little_endian=True, character_encoding=encodings)
    return header


def reference(one: DicomSlice) -> Dataset:
    """A slice as an image that is referred to: Image SOP Instance Reference Macro (PS3.3 table 10-3).

    An image without SOP Class UID was read as a CT image, so that is what it is called.
    """
    named = item(
        ReferencedSOPClassUID=one.sop_class_uid or CTImageStorage, ReferencedSOPInstanceUID=one.sop_instance_uid
    )
    if one.frame_number is not None:
        named.ReferencedFrameNumber = one.frame_number
    return named


def instances(slices: Iterable[DicomSlice]) -> Sequence[Dataset]:
    """Every object that holds a slice, once, whole: SOP Instance Reference Macro (PS3.3 table 10-11)."""
    distinct = dict.fromkeys((one.sop_class_uid or CTImageStorage, one.sop_instance_uid) for one in slices)
    return [item(ReferencedSOPClassUID=kind, ReferencedSOPInstanceUID=uid) for kind, uid in distinct]
