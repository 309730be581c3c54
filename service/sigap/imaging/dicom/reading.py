"""The first pass: one file to one image's frames, or to a reason why it holds none."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, cast

import pydicom
from pydicom.dataset import FileDataset
from pydicom.uid import UID, ExplicitVRLittleEndian

from sigap.core.errors import SigapError, UnreadableInput
from sigap.core.study import Ignored, InputFile, Limits
from sigap.imaging.dicom import tags
from sigap.imaging.dicom.frames import Frame, Image, Patient, class_name
from sigap.imaging.dicom.groups import frames_of, plain_frame
from sigap.imaging.dicom.header import Header
from sigap.imaging.dicom.items import ItemCounter, check_announced
from sigap.imaging.dicom.layout import PixelLayout, find_pixels, read_layout
from sigap.imaging.dicom.source import open_source

_DIRECTORY_CLASS = "1.2.840.10008.1.3.10"
DIRECTORY = "A DICOM directory; the files that it lists are read themselves."
"""Why a DICOMDIR is ignored."""


def read_frames(
    file: InputFile, limits: Limits, check: Callable[[], None] = lambda: None
) -> tuple[Frame, ...] | Ignored:
    """Read a file's header.

    Raises:
        TooLarge: a deflated file unpacks to more than the limits allow, or a header announces more.
        UnreadableInput: the file is damaged, breaks off before its image, or is a CT image without pixels.
    """
    try:
        stream, is_inflated = open_source(file.path, limits)
        with stream:
            return _read(file, stream, ExplicitVRLittleEndian if is_inflated else None, limits, check)
    except (SigapError, MemoryError):
        raise
    except Exception as error:  # pydicom raises whatever it meets in broken bytes
        raise _broken_off() from error


def read_uids(path: Path, limits: Limits) -> tuple[str, str]:
    """Series and SOP Instance UID of a file, whatever else of it is damaged.

    Raises:
        TooLarge: a deflated file unpacks to more than the limits allow, or its header is beyond measure.
        UnreadableInput: it does not say them.
    """
    try:
        stream, _ = open_source(path, limits)
        with stream:
            counted = cast("BinaryIO", ItemCounter(stream, lambda: None))
            uids = pydicom.dcmread(
                counted, stop_before_pixels=True, force=True, specific_tags=["SeriesInstanceUID", "SOPInstanceUID"]
            )
        return str(uids.SeriesInstanceUID), str(uids.SOPInstanceUID)
    except (SigapError, MemoryError):
        raise
    except Exception as error:  # pydicom raises whatever it meets in broken bytes
        raise _broken_off() from error


def _read(
    file: InputFile, stream: BinaryIO, syntax: UID | None, limits: Limits, check: Callable[[], None]
) -> tuple[Frame, ...] | Ignored:
    dataset = _header(ItemCounter(stream, check))
    header = Header(dataset)
    sop_class = header.text(tags.SOP_CLASS_UID) or Header(dataset.file_meta).text(tags.MEDIA_STORAGE_SOP_CLASS_UID)
    if sop_class == _DIRECTORY_CLASS:
        return Ignored(file.name, DIRECTORY)
    place = find_pixels(stream, dataset)
    if header.is_cut:
        raise _broken_off()
    image = _image(file, header, dataset, sop_class, read_layout(header, dataset, place, syntax))
    if place is None and sop_class is not None and not image.is_ct:
        return Ignored(file.name, f"{class_name(sop_class)}: holds no image.")
    if place is None:
        raise _broken_off() if sop_class is None or _is_broken_off(stream) else _without_pixels()
    if not image.is_ct:
        return (plain_frame(image, header),)
    check_announced(header, image.layout, limits)
    return frames_of(image, header, check)


def _header(stream: ItemCounter) -> FileDataset:
    source = cast("BinaryIO", stream)
    try:
        return pydicom.dcmread(source, stop_before_pixels=True, force=True, specific_tags=tags.READ)
    except Exception as error:
        if stream.ended is not None:
            raise stream.ended from error
        raise


def _is_broken_off(stream: BinaryIO) -> bool:
    """Whether the last element, one that was skipped, promised more bytes than the file has."""
    place = stream.tell()
    return place > stream.seek(0, os.SEEK_END)


def _broken_off() -> UnreadableInput:
    return UnreadableInput(
        "A DICOM file is damaged or breaks off. Export the study again and send it anew.", slug="truncated"
    )


def _without_pixels() -> UnreadableInput:
    return UnreadableInput(
        "A CT image has no pixels. Export the images themselves, not their headers.", slug="no-pixels"
    )


def _image(file: InputFile, header: Header, dataset: FileDataset, sop_class: str | None, layout: PixelLayout) -> Image:
    meta = Header(dataset.file_meta)
    return Image(
        file=file,
        sop_class=sop_class,
        sop_uid=header.text(tags.SOP_INSTANCE_UID) or meta.text(tags.MEDIA_STORAGE_SOP_INSTANCE_UID),
        study_uid=header.text(tags.STUDY_INSTANCE_UID) or "",
        series_uid=header.text(tags.SERIES_INSTANCE_UID) or "",
        description=header.text(tags.SERIES_DESCRIPTION),
        modality=header.text(tags.MODALITY),
        patient=Patient(
            id=header.text(tags.PATIENT_ID),
            issuer=header.text(tags.ISSUER_OF_PATIENT_ID),
            name=header.text(tags.PATIENT_NAME),
            birth_date=header.text(tags.PATIENT_BIRTH_DATE),
        ),
        frame_of_reference=header.text(tags.FRAME_OF_REFERENCE_UID),
        body_part=header.text(tags.BODY_PART_EXAMINED),
        contrast_agent=header.text(tags.CONTRAST_BOLUS_AGENT),
        is_declared_lossy=header.text(tags.LOSSY_IMAGE_COMPRESSION) == "01",
        layout=layout,
    )
