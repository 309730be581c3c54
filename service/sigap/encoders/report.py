"""The report, `sigap.report/1`: every number of a result, with what it rests on."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from sigap.core.grid import Grid
from sigap.core.measurement import Hounsfield, LabelMeasure, Lesion
from sigap.core.result import Result
from sigap.core.study import Origin
from sigap.encoders.finding import finding

SCHEMA = "sigap.report/1"
_STAGES = ("decode", "infer", "postprocess", "measure", "encode")


def write_report(result: Result, path: Path) -> None:
    """Write the report as JSON.

    Raises:
        ValueError: a number is not finite; what cannot be known must be None before it comes here.
    """
    path.write_text(report_text(result), encoding="utf-8")


def report_text(result: Result) -> str:
    """The report as the text of a JSON file; raises as `write_report`."""
    return json.dumps(report(result), allow_nan=False, ensure_ascii=False, indent=1) + "\n"


def report(result: Result) -> dict[str, Any]:
    """The report as JSON types, in the contract's order; unknown values are None and never left out.

    `timings_ms.encode` and `total` are the result's own where its writer has put them there; else `encode` is the time
    that this function took, and `total` the sum of the stages.
    """
    started = time.perf_counter()
    study = result.study
    document = {
        "schema": SCHEMA,
        "task": result.model.name,
        "intended_use": "research",
        "model": {"name": result.model.name, "version": result.model.version, "sha256": result.model.sha256},
        "input": input_entry(study.origin, study.volume.grid),
        "geometry": study.geometry.as_json(),
        "warnings": [{"code": notice.code, "message": notice.message} for notice in result.warnings],
        "finding": finding(result),
        "labels": [_label(measure) for measure in result.measurements.labels],
        "lesions": [_lesion(lesion, study.origin) for lesion in result.measurements.lesions],
        "measures": dict(result.measurements.measures),
        "provenance": _provenance(result),
    }
    spent_ms = timed(result, encode_ms=(time.perf_counter() - started) * 1000).timings_ms
    document["timings_ms"] = {stage: spent_ms.get(stage) for stage in (*_STAGES, "total")}
    return document


def timed(result: Result, *, encode_ms: float) -> Result:
    """The same with `encode` and `total` in its timings; where they stand already they stay."""
    spent_ms = {"encode": encode_ms, **result.timings_ms}
    total_ms = sum(spent_ms[stage] for stage in _STAGES if stage in spent_ms)
    return replace(result, timings_ms={"total": total_ms, **spent_ms})


def input_entry(origin: Origin, grid: Grid | None) -> dict[str, Any]:
    """The report's `input`; `sigap inspect` prints it too, without what a refused geometry does not tell."""
    return {
        "kind": origin.kind,
        "shape": None if grid is None else list(grid.shape),
        "spacing_mm": None if grid is None else list(grid.spacing_mm),
        "axes": None if grid is None or grid.axes is None else list(grid.axes),
        "sha256": origin.sha256,
        "study_uid": origin.study_uid,
        "series_uid": origin.series_uid,
        "ignored": [{"name": ignored.name, "reason": ignored.reason} for ignored in origin.ignored],
    }


def _label(measure: LabelMeasure) -> dict[str, Any]:
    return {
        "name": measure.name,
        "voxels": measure.voxels,
        "volume_ml": measure.volume_ml,
        "area_mm2": measure.area_mm2,
        "area_px": measure.area_px,
        "interval_ml": None if measure.interval_ml is None else list(measure.interval_ml),
        "hu": _hounsfield(measure.hu),
        "dropped": {"components": measure.dropped_components, "volume_ml": measure.dropped_volume_ml},
    }


def _lesion(lesion: Lesion, origin: Origin) -> dict[str, Any]:
    uids = origin.sop_instance_uids
    return {
        "id": lesion.id,
        "label": lesion.label,
        "volume_ml": lesion.volume_ml,
        "area_mm2": lesion.area_mm2,
        "area_px": lesion.area_px,
        "centroid_lps_mm": None if lesion.centroid_lps_mm is None else list(lesion.centroid_lps_mm),
        "bounding_box": [list(corner) for corner in zip(*lesion.bounding_box, strict=True)],
        "longest_diameter_mm": lesion.longest_diameter_mm,
        "perpendicular_diameter_mm": lesion.perpendicular_diameter_mm,
        "key_slice": lesion.key_slice,
        "key_sop_instance_uid": None if uids is None else uids[lesion.key_slice],
        "hu": _hounsfield(lesion.hu),
        "abc2_ml": lesion.abc2_ml,
        "abc2_weighted_ml": lesion.abc2_weighted_ml,
        "abc2_disagrees": lesion.abc2_disagrees,
    }


def _hounsfield(hu: Hounsfield | None) -> dict[str, float] | None:
    return None if hu is None else {"mean": hu.mean, "sd": hu.sd, "min": hu.min, "max": hu.max}


def _provenance(result: Result) -> dict[str, Any]:
    contract = result.model.contract
    return {
        "sigap_version": result.sigap_version,
        "engine": result.engine,
        "created": result.created.isoformat(),
        "options": dict(result.options),
        "thresholds": {label.name: list(label.thresholds) for label in contract.labels},
        "postprocess": [step.as_json() for step in contract.postprocess],
    }
