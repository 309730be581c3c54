"""The frames of an image: from a plain header, or from the functional groups of an enhanced one (PS3.3 C.7.6.16)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from pydicom.dataset import Dataset

from sigap.core.errors import UnreadableInput
from sigap.imaging.dicom import tags
from sigap.imaging.dicom.frames import Frame, Image
from sigap.imaging.dicom.header import Header

_NOTHING = Header(Dataset())
_CONVERTED = (
    tags.UNASSIGNED_PER_FRAME_CONVERTED_ATTRIBUTES_SEQUENCE,
    tags.UNASSIGNED_SHARED_CONVERTED_ATTRIBUTES_SEQUENCE,
)

# What tells two images of one place apart: the plain element; its functional group; its name there if another.
_MARKS: dict[str, tuple[int, int | None, int | None]] = {
    "acquisition_number": (tags.ACQUISITION_NUMBER, tags.FRAME_CONTENT_SEQUENCE, tags.FRAME_ACQUISITION_NUMBER),
    "kernel": (tags.CONVOLUTION_KERNEL, tags.CT_RECONSTRUCTION_SEQUENCE, None),
    "time_point": (tags.TEMPORAL_POSITION_IDENTIFIER, tags.FRAME_CONTENT_SEQUENCE, tags.TEMPORAL_POSITION_INDEX),
    "cardiac_phase": (
        tags.NOMINAL_PERCENTAGE_OF_CARDIAC_PHASE,
        tags.CARDIAC_SYNCHRONIZATION_SEQUENCE,
        tags.NOMINAL_PERCENTAGE_OF_CARDIAC_PHASE,
    ),
    "series_number": (tags.SERIES_NUMBER, None, None),
    "irradiation_event": (tags.IRRADIATION_EVENT_UID, None, None),
    "stack": (tags.STACK_ID, tags.FRAME_CONTENT_SEQUENCE, tags.STACK_ID),
    "kvp": (tags.KVP, tags.CT_XRAY_DETAILS_SEQUENCE, None),
    "thickness_mm": (tags.SLICE_THICKNESS, tags.PIXEL_MEASURES_SEQUENCE, None),
    "reconstruction_diameter_mm": (tags.RECONSTRUCTION_DIAMETER, tags.CT_RECONSTRUCTION_SEQUENCE, None),
    "trigger_time": (tags.TRIGGER_TIME, None, None),
    "acquisition_time": (tags.ACQUISITION_TIME, tags.FRAME_CONTENT_SEQUENCE, tags.FRAME_ACQUISITION_DATE_TIME),
    "content_time": (tags.CONTENT_TIME, tags.FRAME_CONTENT_SEQUENCE, tags.FRAME_REFERENCE_DATE_TIME),
}
_BINARY = {
    tags.FRAME_ACQUISITION_NUMBER,
    tags.TEMPORAL_POSITION_INDEX,
}
_DOUBLES = {tags.NOMINAL_PERCENTAGE_OF_CARDIAC_PHASE, tags.KVP, tags.SLICE_THICKNESS, tags.RECONSTRUCTION_DIAMETER}

_LARGEST_MM = 100_000.0


@dataclass(frozen=True)
class _Place:
    """One frame's headers: the whole object's, and its functional groups, its own before the shared ones."""

    top: Header
    groups: tuple[Header, ...]

    def macro(self, sequence: int) -> Header:
        """A functional group; of a plain image the header itself."""
        if not self.groups:
            return self.top
        return next((item for group in self.groups for item in group.items(sequence)), _NOTHING)

    def mark(self, plain: int, sequence: int | None, inside: int | None) -> str:
        if not self.groups:
            return _as_text(self.top, plain)
        homes = [self.macro(sequence)] if sequence is not None else []
        found = [_as_text(home, inside or plain) for home in homes]
        found += [_as_text(self.macro(converted), plain) for converted in _CONVERTED]
        return next((text for text in (*found, _as_text(self.top, plain)) if text), "")


def frames_of(image: Image, header: Header, check: Callable[[], None] = lambda: None) -> tuple[Frame, ...]:
    """All frames of an image.

    Raises:
        UnreadableInput: an enhanced object describes another number of frames than it announces.
    """
    shared = header.items(tags.SHARED_FUNCTIONAL_GROUPS_SEQUENCE)
    own = header.items(tags.PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE)
    count = image.layout.frames
    if not shared and not own:
        plain = plain_frame(image, header)
        # A plain image with several frames cannot say where the second one lies; then nothing is known of any, and one
        # stands for all of them: the header may announce billions.
        return (plain if count == 1 else replace(plain, position_mm=None),)
    if len(own) != count:
        raise UnreadableInput(
            "An enhanced CT object describes another number of frames than it announces. Send it again.",
            slug="truncated",
        )
    frames = []
    for index, groups in enumerate(own):
        check()
        frames.append(_frame(image, index, _Place(header, (groups, *shared[:1]))))
    return tuple(frames)


def plain_frame(image: Image, header: Header) -> Frame:
    """The first frame of an image whose functional groups are of no interest."""
    return _frame(image, 0, _Place(header, ()))


def _frame(image: Image, index: int, place: _Place) -> Frame:
    measures = place.macro(tags.PIXEL_MEASURES_SEQUENCE)
    rescale = place.macro(tags.PIXEL_VALUE_TRANSFORMATION_SEQUENCE)
    orientation = place.macro(tags.PLANE_ORIENTATION_SEQUENCE)
    frame_type = place.macro(tags.CT_IMAGE_FRAME_TYPE_SEQUENCE).texts(tags.FRAME_TYPE)
    image_type = tuple(word.upper() for word in (frame_type or place.top.texts(tags.IMAGE_TYPE)))
    return Frame(
        image=image,
        index=index,
        position_mm=_within_room(place.macro(tags.PLANE_POSITION_SEQUENCE).numbers(tags.IMAGE_POSITION_PATIENT, 3)),
        orientation=orientation.numbers(tags.IMAGE_ORIENTATION_PATIENT, 6),
        pixel_spacing_mm=measures.numbers(tags.PIXEL_SPACING, 2),
        thickness_mm=next(iter(_within_room(measures.numbers(tags.SLICE_THICKNESS, 1)) or ()), None),
        slope=rescale.number(tags.RESCALE_SLOPE),
        intercept=rescale.number(tags.RESCALE_INTERCEPT),
        rescale_type=rescale.text(tags.RESCALE_TYPE),
        image_type=image_type,
        scan_options=(place.top.text(tags.SCAN_OPTIONS) or "").upper(),
        marks={
            **{name: place.mark(*where) for name, where in _MARKS.items()},
            "description": image.description or "",
            # The first two words say original or derived: a lossy copy of one slice is no other acquisition.
            "image_type": "\\".join(image_type[2:]),
        },
    )


def _within_room(lengths_mm: tuple[float, ...] | None) -> tuple[float, ...] | None:
    """Lengths as they are; None, as of an unusable element, where one is beyond any scanner's room."""
    return lengths_mm if lengths_mm and all(abs(length) <= _LARGEST_MM for length in lengths_mm) else None


def _as_text(header: Header, tag: int) -> str:
    if tag in _BINARY:
        number = header.integer(tag)
        return "" if number is None else str(number)
    if tag in _DOUBLES:
        value = header.number(tag)
        return "" if value is None else f"{value:g}"
    return header.text(tag) or ""
