"""One CT series out of a PACS, whole or not at all."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from sigap.core.errors import GeometryRefused, PacsUnavailable, TooLarge
from sigap.core.study import InputFile, Limits
from sigap.core.verdict import GeometryVerdict, Reason, Severity
from sigap.dicomnet.dicomweb import DicomWeb, item, text, texts, unknown_study
from sigap.dicomnet.transport import not_dicomweb
from sigap.imaging.dicom.frames import CT_CLASSES
from sigap.imaging.dicom.planes import plane_axes
from sigap.imaging.dicom.quiet import quiet
from sigap.imaging.dicom.reading import read_frames
from sigap.imaging.dicom.series import MAX_ANGLE_DEGREES

_SOP_CLASS, _SOP_INSTANCE, _MODALITY = "00080016", "00080018", "00080060"
_SERIES_UID, _SERIES_DESCRIPTION, _SERIES_INSTANCES = "0020000E", "0008103E", "00201209"
_IMAGE_TYPE, _ORIENTATION = "00080008", "00200037"
_THICKNESS, _KERNEL = "00180050", "00181210"
_SHARED_GROUPS, _PLANE_ORIENTATION = "52009229", "00209116"
_OF_SERIES = (_SERIES_DESCRIPTION, _SERIES_INSTANCES, _MODALITY)


UID = re.compile(r"(?=.{1,64}$)[0-9]+(\.[0-9]+)*")
"""What may be asked for: digits and dots alone, so that it can become a part of an address."""


class Sink(Protocol):
    """Where a pulled series goes, as `jobs.upload.Upload` is one."""

    def receive(self, name: str) -> Any: ...


@dataclass(frozen=True)
class Listed:
    """A series as the PACS lists it.

    Attributes:
        uid: Series Instance UID.
        instances: SOP Instance UIDs.
        count: Number of Series Related Instances, if the PACS says it.
        first: the header of its first instance; empty where it was not asked for.
    """

    uid: str
    modality: str | None
    description: str | None
    instances: tuple[str, ...]
    count: int | None
    first: Mapping[str, Any]

    @property
    def is_ct(self) -> bool:
        sop_class = text(self.first, _SOP_CLASS)
        return (self.modality or "").upper() == "CT" and (sop_class is None or sop_class in CT_CLASSES)

    @property
    def is_axial(self) -> bool | None:
        """None: the header does not say."""
        if "LOCALIZER" in (word.upper() for word in texts(self.first, _IMAGE_TYPE)):
            return False
        try:
            shared = item(item(self.first, _SHARED_GROUPS), _PLANE_ORIENTATION)
            cosines = [float(cosine) for cosine in texts(self.first, _ORIENTATION) or texts(shared, _ORIENTATION)]
        except ValueError:
            return None
        plane = plane_axes(cosines) if len(cosines) == 6 else None
        return None if plane is None else plane.angle_degrees <= MAX_ANGLE_DEGREES

    def as_json(self) -> dict[str, Any]:
        """As a refused upload lists its series."""
        thickness = text(self.first, _THICKNESS)
        return {
            "series_uid": self.uid,
            "description": self.description,
            "slices": len(self.instances),
            "plane": {True: "axial", False: "other"}.get(self.is_axial) if self.is_axial is not None else None,
            "modality": self.modality,
            "kernel": "\\".join(texts(self.first, _KERNEL)) or None,
            "thickness_mm": _number(thickness),
        }


def choose_series(client: DicomWeb, study_uid: str, series_uid: str | None) -> Listed:
    """Ask the PACS for the one axial CT series of a study, or for the one that is named.

    Raises:
        InputError: it has no such study or series.
        GeometryRefused: there are several, which are listed, or no CT at all.
        PacsUnavailable: it cannot be asked.
    """
    query: dict[str, str | Sequence[str]] = {"includefield": _OF_SERIES}
    if series_uid is not None:
        query["SeriesInstanceUID"] = series_uid
    found = client.search(f"studies/{study_uid}/series", query)
    wanted = [entry for entry in found if series_uid in (None, text(entry, _SERIES_UID))]
    if not wanted:
        raise unknown_study()
    if series_uid is not None:
        return _listed(client, study_uid, wanted[0], with_first=False)
    of_ct = [entry for entry in wanted if (text(entry, _MODALITY) or "").upper() == "CT"]
    series = [listed for entry in of_ct if (listed := _listed(client, study_uid, entry, with_first=True)).is_ct]
    return _the_one(series, [text(entry, _MODALITY) or "unknown" for entry in wanted])


def pull_series(
    client: DicomWeb, study_uid: str, series: Listed, sink: Sink, *, limits: Limits, limit_bytes: int
) -> int:
    """Stream a series into files, and make sure that it is the whole of what the PACS lists.

    Returns:
        How many files there are.

    Raises:
        InputError: a file of it cannot be read; the PACS has no such series any more.
        PacsUnavailable: it is away, slow, or gave less or other than it lists.
        TooLarge: over a limit.
        StorageFull: there is no room.
    """
    if len(series.instances) > limits.members:
        raise TooLarge(f"The series has more than {limits.members:,} files.", slug="too-many-files")
    received = _Received(study_uid, series, limits)
    client.retrieve(
        f"studies/{study_uid}/series/{series.uid}",
        begin=lambda: sink.receive("from the PACS"),
        ended=received.add,
        limit_bytes=limit_bytes,
    )
    received.check()
    return received.count


class _Received:
    """What has come, against what was listed."""

    def __init__(self, study_uid: str, series: Listed, limits: Limits) -> None:
        self._place = (study_uid, series.uid)
        self._series = series
        self._limits = limits
        self._uids: set[str | None] = set()
        self.count = 0

    def add(self, path: Path) -> None:
        self.count += 1
        if self.count > self._limits.members:
            raise TooLarge(f"The series has more than {self._limits.members:,} files.", slug="too-many-files")
        with quiet():
            frames = read_frames(InputFile(path, "from the PACS"), self._limits)
        image = frames[0].image if isinstance(frames, tuple) else None
        if image is None or (image.study_uid, image.series_uid) != self._place:
            raise PacsUnavailable(
                "The PACS gave images of another series than it was asked for. Tell the administrator.",
                slug="pacs-not-dicomweb",
            )
        self._uids.add(image.sop_uid)

    def check(self) -> None:
        """Raise `PacsUnavailable` where less has come than was listed, or than the PACS counts."""
        missing = len(set(self._series.instances) - self._uids)
        missing = max(missing, (self._series.count or 0) - len(self._uids))
        if missing > 0 or not self._uids:
            raise PacsUnavailable(
                f"The PACS lists {max(len(self._series.instances), self._series.count or 0)} images of the series and "
                f"gave {len(self._uids)}. A part is never segmented as if it were the whole: try again later.",
                slug="pacs-incomplete",
            )


def _listed(client: DicomWeb, study_uid: str, entry: Mapping[str, Any], *, with_first: bool) -> Listed:
    uid = text(entry, _SERIES_UID) or ""
    if not UID.fullmatch(uid):
        raise not_dicomweb("a series without a UID")
    place = f"studies/{study_uid}/series/{uid}/instances"
    uids = (text(one, _SOP_INSTANCE) for one in client.search(place, {}))
    instances = tuple(dict.fromkeys(one for one in uids if one is not None))
    if not all(UID.fullmatch(one) for one in instances):
        raise not_dicomweb("an instance without a UID")
    # Of a query a server returns what it has indexed; what kind of series it is stands in a whole header.
    headers = client.search(f"{place}/{instances[0]}/metadata", {}) if with_first and instances else []
    first = headers[0] if headers else {}
    count = _number(text(entry, _SERIES_INSTANCES))
    return Listed(
        uid=uid,
        modality=text(entry, _MODALITY),
        description=text(entry, _SERIES_DESCRIPTION) or text(first, _SERIES_DESCRIPTION),
        instances=instances,
        count=None if count is None else int(count),
        first=first,
    )


def _the_one(series: Sequence[Listed], modalities: Iterable[str]) -> Listed:
    if not series:
        kinds = sorted(set(modalities))
        message = f"This is no CT: the study holds series of modality {', '.join(kinds)}. Name the study of a CT."
        raise _refused("not_ct", message, {"modalities": kinds})
    # One that says nothing of its plane may be axial.
    axial = [one for one in series if one.is_axial is not False]
    if len(axial) > 1:
        message = f"The study holds {len(axial)} axial CT series; name the one to read with series_uid."
        raise _refused("several_series", message, {"series": [one.as_json() for one in axial]})
    # Without an axial one, the largest is read, so that the refusal says what is wrong with it.
    return axial[0] if axial else max(series, key=lambda one: len(one.instances))


def _refused(code: str, message: str, numbers: dict[str, Any]) -> GeometryRefused:
    return GeometryRefused(GeometryVerdict((Reason(code, Severity.REFUSED, message, numbers),)))


def _number(value: str | None) -> float | None:
    try:
        return None if value is None else float(value)
    except ValueError:
        return None
