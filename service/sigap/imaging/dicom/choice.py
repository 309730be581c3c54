"""Picking the one axial CT series of an upload."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sigap.core.errors import BadParameter
from sigap.core.study import Ignored
from sigap.core.verdict import Reason, Severity
from sigap.imaging.dicom.frames import class_name
from sigap.imaging.dicom.series import Series, SeriesKind

_CT = (SeriesKind.AXIAL, SeriesKind.OBLIQUE, SeriesKind.UNPLACED)
_LISTED = (*_CT, SeriesKind.OTHER)


@dataclass(frozen=True)
class Choice:
    """The series to read. None: there is none, and the reasons hold a refusal."""

    series: Series | None
    reasons: tuple[Reason, ...]
    ignored: tuple[Ignored, ...]


def choose_series(found: Sequence[Series], *, series_uid: str | None) -> Choice:
    """Take the series asked for, or the only axial CT.

    Raises:
        BadParameter: no image has that Series Instance UID.
    """
    if series_uid is not None:
        return _choose_named(found, series_uid)
    axial = [series for series in found if series.kind is SeriesKind.AXIAL]
    if len(axial) > 1:
        message = f"The upload holds {len(axial)} axial CT series; name the one to read with series_uid."
        return Choice(None, (_several(axial, message),), ())
    # Without an axial one, the largest CT series is read as far as needed to say what is wrong with it.
    taken = next(iter(axial), None) or max(
        (series for series in found if series.kind in _CT), key=lambda series: len(series.frames), default=None
    )
    if taken is None:
        return Choice(None, tuple(_nothing_usable(found)), ())
    others = [series for series in found if series is not taken]
    listed = [series for series in others if series.kind in _LISTED]
    reasons = (_one_of_several(taken, listed),) if listed and axial else ()
    return Choice(taken, reasons, ignore(others))


def ignore(others: Iterable[Series]) -> tuple[Ignored, ...]:
    """Name the files of series that are not read."""
    return tuple(
        Ignored(file.name, f"Beside the series that was read: {series.kind.value}.")
        for series in others
        for file in dict.fromkeys(frame.image.file for frame in series.frames)
    )


def _choose_named(found: Sequence[Series], series_uid: str) -> Choice:
    matching = [series for series in found if series.uid == series_uid]
    if not matching:
        raise BadParameter(
            "No image of the upload belongs to the series that series_uid names; without it, the series are listed.",
            slug="unknown-series",
        )
    taken = min(matching, key=lambda series: list(SeriesKind).index(series.kind))
    if taken.kind not in _CT:
        return Choice(None, tuple(_nothing_usable([taken])), ())
    alike = [series for series in matching if series.kind is taken.kind]
    if len(alike) > 1:
        message = f"{len(alike)} studies of the upload have a series of the series_uid that is named; send one study."
        return Choice(None, (_several(alike, message),), ())
    return Choice(taken, (), ignore(series for series in found if series is not taken))


def _several(series: Sequence[Series], message: str) -> Reason:
    return Reason("several_series", Severity.REFUSED, message, {"series": [one.as_json() for one in series]})


def _one_of_several(taken: Series, others: Sequence[Series]) -> Reason:
    count = len(others) + 1
    message = f"The upload holds {count} series of images; the only axial CT, of {len(taken.frames)} slices, was read."
    return Reason("several_series", Severity.WARNING, message, {"series": [series.as_json() for series in others]})


def _nothing_usable(found: Sequence[Series]) -> list[Reason]:
    """Say what there is instead of a CT series: localizers, other images, or nothing."""
    localizers = [series for series in found if series.kind is SeriesKind.LOCALIZER]
    # A screenshot beside nothing but localizers changes nothing.
    others = [series for series in found if series.kind is SeriesKind.OTHER or not localizers]
    reasons = [_only_localizers(_count(localizers))] if localizers else []
    return reasons if localizers and not others else [*reasons, _no_ct(others)]


def _only_localizers(count: int) -> Reason:
    images = "image" if count == 1 else "images"
    message = f"There is nothing but {count} localizer (scout) {images}; send the axial slices of the CT."
    return Reason("localizer", Severity.REFUSED, message, {"images": count})


def _no_ct(found: Sequence[Series]) -> Reason:
    images = [frame.image for series in found for frame in series.frames]
    kinds = sorted({f"{class_name(image.sop_class)} of modality {image.modality or 'unknown'}" for image in images})
    what = ", ".join(kinds) or "no images"
    if images and all(image.is_colour for image in images):
        what = "colour pictures"
    message = f"This is no CT: the upload holds {what}. Send the axial slices of a CT."
    modalities = sorted({image.modality or "unknown" for image in images})
    return Reason("not_ct", Severity.REFUSED, message, {"modalities": modalities, "images": len(images)})


def _count(found: Iterable[Series]) -> int:
    return sum(len(series.frames) for series in found)
