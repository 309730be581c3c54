"""The series of an upload, and what each of them is to us."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from sigap.imaging.dicom.frames import Frame
from sigap.imaging.dicom.planes import plane_axes

MAX_ANGLE_DEGREES = 45.0
_LOCALIZER_SLICES = 3
_LOCALIZER_WORDS = ("SCOUT", "SURVIEW", "TOPO", "SCANO")
# Secondary capture and visible light: screenshots, dose pages, photographs.
_PICTURE_CLASSES = ("1.2.840.10008.5.1.4.1.1.7", "1.2.840.10008.5.1.4.1.1.77.")
# Segmentations, parametric maps and RT objects: made from images, drawn over them.
_DERIVED_CLASSES = ("1.2.840.10008.5.1.4.1.1.66.", "1.2.840.10008.5.1.4.1.1.30", "1.2.840.10008.5.1.4.1.1.481.")


class SeriesKind(Enum):
    """What a series is to us; the value is what `ignored` says of its files."""

    AXIAL = "another CT series"
    OBLIQUE = "a CT series in another plane"
    UNPLACED = "a CT series that does not say how its slices lie"
    LOCALIZER = "a localizer (scout) image"
    PICTURE = "a screenshot or colour picture, not a CT slice"
    DERIVED = "drawn over images, not an image"
    OTHER = "not a CT image"


@dataclass(frozen=True)
class Series:
    """Frames of one Series Instance UID that are of one kind."""

    uid: str
    study_uid: str
    kind: SeriesKind
    frames: tuple[Frame, ...]

    def as_json(self) -> dict[str, Any]:
        """What a client needs in order to pick one of several."""
        first = self.frames[0]
        return {
            "series_uid": self.uid or None,
            "description": first.image.description,
            "slices": len(self.frames),
            "plane": {SeriesKind.AXIAL: "axial", SeriesKind.OBLIQUE: "other"}.get(self.kind),
            "modality": first.image.modality,
            "kernel": first.marks["kernel"] or None,
            "thickness_mm": first.thickness_mm,
        }


def group_series(frames: Sequence[Frame]) -> list[Series]:
    """Split frames by study, series and kind, in the order in which they came."""
    groups: dict[tuple[str, str, SeriesKind], list[Frame]] = {}
    for frame in frames:
        groups.setdefault((frame.image.study_uid, frame.image.series_uid, _kind_of_frame(frame)), []).append(frame)
    return [
        Series(uid, study_uid, _kind_of_series(members) if kind is SeriesKind.AXIAL else kind, tuple(members))
        for (study_uid, uid, kind), members in groups.items()
    ]


def _kind_of_frame(frame: Frame) -> SeriesKind:
    """CT slices are called AXIAL until their series has been looked at as a whole."""
    image = frame.image
    sop_class = image.sop_class or ""
    if image.is_ct and not image.is_colour and not _is_page(frame):
        return SeriesKind.LOCALIZER if "LOCALIZER" in frame.image_type else SeriesKind.AXIAL
    if image.is_ct or sop_class.startswith(_PICTURE_CLASSES):
        return SeriesKind.PICTURE
    return SeriesKind.DERIVED if sop_class.startswith(_DERIVED_CLASSES) else SeriesKind.OTHER


def _is_page(frame: Frame) -> bool:
    """A dose or protocol page that a scanner wrote as a CT image: made after the scan, and nowhere in the patient."""
    return "SECONDARY" in frame.image_type[1:2] and frame.position_mm is None and frame.orientation is None


def _kind_of_series(frames: Sequence[Frame]) -> SeriesKind:
    """What most slices of a CT series say; a slice that is unlike the others is a matter for the checks."""
    axes = [plane_axes(frame.orientation) for frame in frames]
    placed = [plane for plane in axes if plane is not None]
    if 2 * len(placed) < len(frames) or not placed:
        return SeriesKind.UNPLACED
    axial = sum(plane.angle_degrees <= MAX_ANGLE_DEGREES for plane in placed)
    if 2 * axial >= len(placed):
        return SeriesKind.AXIAL
    return SeriesKind.LOCALIZER if _is_unnamed_localizer(frames) else SeriesKind.OBLIQUE


def _is_unnamed_localizer(frames: Sequence[Frame]) -> bool:
    """A few original projections that do not say LOCALIZER; a scanner makes no other original that is not axial."""
    if any(word in frame.scan_options for frame in frames for word in _LOCALIZER_WORDS):
        return True
    are_original = all("ORIGINAL" in frame.image_type and "AXIAL" not in frame.image_type for frame in frames)
    return are_original and len(frames) <= _LOCALIZER_SLICES
