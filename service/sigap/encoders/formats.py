"""The forms that an answer comes in: what HTTP calls them, and what the command line names their files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType

from sigap.core.result import Result
from sigap.encoders.archive import write_archive
from sigap.encoders.coco import write_coco
from sigap.encoders.nifti import write_nifti
from sigap.encoders.overlay import write_overlay
from sigap.encoders.report import write_report

Writer = Callable[[Result, Path], None]


@dataclass(frozen=True)
class Format:
    """One form of an answer.

    Attributes:
        name: in `format=` and `--format`.
        media_type: in `Accept` and `Content-Type`.
        filename: what the command line and the zip call it.
        write: writes a result to a path, whose folder must exist; a file there is overwritten.
    """

    name: str
    media_type: str
    filename: str
    write: Writer


# In the zip the report comes last, so that its timings count the others.
_MASKS = (
    Format("nifti", "application/x-nifti", "mask.nii.gz", write_nifti),
    Format("png", "image/png", "overlay.png", write_overlay),
    Format("coco", "application/vnd.sigap.coco+json", "coco.json", write_coco),
)
_REPORT = Format("json", "application/json", "report.json", write_report)
_MEMBERS = {answer.filename: answer.write for answer in (*_MASKS, _REPORT)}
_ZIP = Format("zip", "application/zip", "sigap.zip", partial(write_archive, members=_MEMBERS))

LATER = ("seg", "sr", "rtstruct", "sc", "stl")
"""Promised by the contract, not written by this version."""

FORMATS: Mapping[str, Format] = MappingProxyType({answer.name: answer for answer in (_REPORT, *_MASKS, _ZIP)})
