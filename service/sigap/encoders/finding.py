"""The answer in plain words."""

from __future__ import annotations

from typing import Any

from sigap.core.measurement import Lesion
from sigap.core.result import Result


def finding(result: Result) -> dict[str, Any]:
    """Whether anything was detected, and a sentence that says so.

    A task with lesions is about its lesions; a task of organs alone about these. A negative is worded as what the
    algorithm did not detect, followed by what the model card says of its sensitivity: it never states that nothing is
    there.

    Returns:
        `{"detected": bool, "statement": str}`
    """
    counted = {measure.name: measure.voxels for measure in result.measurements.labels}
    labels = result.model.contract.labels
    sought = [label.name for label in labels if label.role == "lesion"] or [label.name for label in labels]
    missed = [label.name for label in labels if not counted[label.name]]
    sentences = [_detected(result, name) for name in sought if counted[name]]
    sentences += [f"{name.capitalize()} not detected by the algorithm." for name in missed]
    if missed and result.model.contract.sensitivity:
        sentences.append(result.model.contract.sensitivity)
    return {"detected": any(counted[name] for name in sought), "statement": " ".join(sentences)}


def amount(volume_ml: float | None, area_mm2: float | None, area_px: int | None, voxels: int) -> str:
    """A size for reading, in the best unit known: millilitres, else square millimetres, else pixels or voxels."""
    if volume_ml is not None:
        return f"{_short(volume_ml)} mL"
    if area_mm2 is not None:
        return f"{_short(area_mm2)} mm²"
    return f"{voxels} voxels" if area_px is None else f"{area_px} px"


def _detected(result: Result, name: str) -> str:
    measure = next(measure for measure in result.measurements.labels if measure.name == name)
    size = amount(measure.volume_ml, measure.area_mm2, measure.area_px, measure.voxels)
    lesions = [lesion for lesion in result.measurements.lesions if lesion.label == name]
    return f"{name.capitalize()} detected by the algorithm: {_counted(lesions)}{size}."


def _counted(lesions: list[Lesion]) -> str:
    if not lesions:
        return ""
    return "1 lesion, " if len(lesions) == 1 else f"{len(lesions)} lesions, together "


def _short(number: float) -> str:
    """One decimal, two below one; a size is never shown as zero."""
    if 0 < number < 0.01:
        return "under 0.01"
    return f"{number:.2f}" if number < 1 else f"{number:.1f}"
