"""What is written above and below the slices: the answer, its warnings, its model. Never patient data."""

from __future__ import annotations

from collections.abc import Iterator

from sigap.core.contract import Label
from sigap.core.result import Result
from sigap.core.verdict import Severity
from sigap.encoders.finding import amount, finding
from sigap.encoders.overlay.text import AMBER, DIM, Item, Row, sentence

RESEARCH = "RESEARCH USE ONLY"


def is_picture(result: Result) -> bool:
    """Whether the input was a PNG or JPEG, to be drawn as given: one slice that has no window and no number."""
    return result.study.origin.kind in ("png", "jpeg")


def header_rows(result: Result, unit: int, *, has_cautions: bool = True) -> list[Row]:
    """Title, legend with sizes, what was not detected, what to be careful about.

    Args:
        result: what the picture shows.
        unit: size of small text in pixels; all else follows.
        has_cautions: whether it names what to be careful about; not where that is said at length below.
    """
    contract = result.model.contract
    title = [Item(f"Sigap · {result.model.name.capitalize()}"), Item(RESEARCH, AMBER)]
    legend = [Item(_legend(result, label), patch=label.colour) for label in contract.labels]
    rows = [Row(title, round(unit * 1.5), unit), Row(legend, round(unit * 1.2), 2 * unit)]
    if any(measure.voxels == 0 for measure in result.measurements.labels):
        rows.append(sentence(finding(result)["statement"], round(unit * 1.2)))
    if has_cautions:
        rows += [sentence(line, unit, AMBER) for line in _cautions(result)]
    return rows


def footer_rows(result: Result, unit: int) -> list[Row]:
    """How the picture is to be read, and what made it."""
    contract, volume = result.model.contract, result.study.volume
    parts = [f"Model {result.model.name}, version {result.model.version}, {result.model.sha256[:12]}"]
    if not is_picture(result):
        parts.append(f"Window: level {contract.level_hu:g} HU, width {contract.width_hu:g} HU")
        parts.append("Slices as stored, counted from 0")
    if volume.grid.is_oriented:
        parts.append("Patient's right on the viewer's left")
    elif is_picture(result):
        parts.append("Drawn as given: sides are not marked")
    else:
        parts.append("The file does not say left or right: sides are not marked")
    return [Row([Item(part, DIM) for part in parts], unit, 2 * unit)]


def _legend(result: Result, label: Label) -> str:
    measure = next(measure for measure in result.measurements.labels if measure.name == label.name)
    if not measure.voxels:
        return f"{label.name}: not detected"
    count = sum(lesion.label == label.name for lesion in result.measurements.lesions)
    lesions = {0: "", 1: " in 1 lesion"}.get(count, f" in {count} lesions")
    return f"{label.name} {amount(measure.volume_ml, measure.area_mm2, measure.area_px, measure.voxels)}{lesions}"


def _cautions(result: Result) -> Iterator[str]:
    geometry = result.study.geometry
    if geometry.severity is not Severity.OK:
        codes = dict.fromkeys(reason.code.replace("_", " ") for reason in geometry.reasons)
        yield f"Geometry {geometry.severity.word}: {', '.join(codes)}"
    if result.warnings:
        codes = dict.fromkeys(notice.code.replace("_", " ") for notice in result.warnings)
        count = len(result.warnings)
        yield f"{count} warning{'' if count == 1 else 's'}: {', '.join(codes)}"
