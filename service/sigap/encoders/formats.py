"""The forms that an answer comes in: what HTTP calls them, and what the command line names their files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import MappingProxyType

from sigap.core.result import Result
from sigap.core.study import Study
from sigap.encoders.archive import write_archive
from sigap.encoders.coco import write_coco
from sigap.encoders.dicom.capture import capture_files
from sigap.encoders.dicom.rtstruct import write_rtstruct
from sigap.encoders.dicom.seg import write_seg
from sigap.encoders.dicom.source import check_source
from sigap.encoders.dicom.sr import write_sr
from sigap.encoders.nifti import write_nifti
from sigap.encoders.overlay import write_overlay
from sigap.encoders.report import write_report
from sigap.encoders.stl import check_spacing, surface_files, write_stl
from sigap.encoders.stl import filename as surface_filename

Writer = Callable[[Result, Path], None]
SURFACE = "stl"
"""The one format that has a further choice: of which label."""


def _any_input(_: Study) -> None:
    """Most forms can be made of every input."""


@dataclass(frozen=True)
class Format:
    """One form of an answer.

    Attributes:
        name: in `format=` and `--format`.
        media_type: in `Accept` and `Content-Type`.
        filename: what the command line and the zip call it.
        write: writes a result to a path, whose folder must exist; a file there is overwritten.
        check: raises `FormatNotForInput` for an input that does not allow it; so does `write`.
        parts: of a form that is several files there: what writes each, by name.
    """

    name: str
    media_type: str
    filename: str
    write: Writer
    check: Callable[[Study], None] = _any_input
    parts: Callable[[Result], Mapping[str, Writer]] | None = None

    def files(self, result: Result) -> Mapping[str, Writer]:
        """The files that the command line and the zip write, by name.

        Raises:
            FormatNotForInput: see `check`.
        """
        self.check(result.study)
        return {self.filename: self.write} if self.parts is None else self.parts(result)


def _write_captures(result: Result, path: Path) -> None:
    """Over HTTP the key images come in a zip of their own."""
    check_source(result.study)
    write_archive(result, path, members={"sc": capture_files})


# In the zip the report comes last, so that its timings count the others.
_OTHERS = (
    Format("nifti", "application/x-nifti", "mask.nii.gz", write_nifti),
    Format("png", "image/png", "overlay.png", write_overlay),
    Format("coco", "application/vnd.sigap.coco+json", "coco.json", write_coco),
)
_REPORT = Format("json", "application/json", "report.json", write_report)
# Where several share a media type, `Accept` means the first.
_DICOM = (
    Format("seg", "application/dicom", "seg.dcm", write_seg, check_source),
    Format("sr", "application/dicom", "sr.dcm", write_sr, check_source),
    Format("rtstruct", "application/dicom", "rtstruct.dcm", write_rtstruct, check_source),
    Format("sc", "application/zip", "sc.zip", _write_captures, check_source, capture_files),
)
_STL = Format(SURFACE, "model/stl", "surface.stl", write_stl, check_spacing, surface_files)
_MEMBERS = (*_OTHERS, *_DICOM, _STL, _REPORT)
_ZIP = Format(
    "zip",
    "application/zip",
    "sigap.zip",
    partial(write_archive, members={answer.name: answer.files for answer in _MEMBERS}),
)

FORMATS: Mapping[str, Format] = MappingProxyType(
    {answer.name: answer for answer in (_REPORT, *_OTHERS, _ZIP, *_DICOM, _STL)}
)


def surface_key(label: str) -> str:
    """What `format_of` calls the surface of one label."""
    return f"{SURFACE}:{label}"


def format_of(key: str) -> Format:
    """A format by its name or by `surface_key`; `KeyError` where there is none."""
    name, _, label = key.partition(":")
    if not label or name != SURFACE:
        return FORMATS[key]
    return replace(FORMATS[SURFACE], filename=surface_filename(label), write=partial(write_stl, label=label))
