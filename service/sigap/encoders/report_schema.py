"""JSON Schema of the report, and an example: what OpenAPI shows and what tests hold every report to."""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]


def _object(properties: dict[str, Any], **more: Any) -> Schema:
    """An object whose named fields are all there; later versions may add others."""
    return {"type": "object", "properties": properties, "required": list(properties), **more}


def _array(items: Schema, **more: Any) -> Schema:
    return {"type": "array", "items": items, **more}


def _tuple(items: Schema, length: int) -> Schema:
    return _array(items, minItems=length, maxItems=length)


def _known(kind: str, description: str = "", **more: Any) -> Schema:
    return {"type": kind, **({"description": description} if description else {}), **more}


def _maybe(kind: str, description: str = "", **more: Any) -> Schema:
    """A value that is null where it cannot be known."""
    return _known([kind, "null"], description, **more)  # type: ignore[arg-type]  # JSON Schema's own way to say "or null"


def _nullable(schema: Schema, description: str) -> Schema:
    return {"anyOf": [schema, {"type": "null"}], "description": description}


_SHA256 = _known("string", pattern="^[0-9a-f]{64}$")
_NOTICE = _object({"code": _known("string"), "message": _known("string", "A sentence for a clinician.")})
_HOUNSFIELD = _nullable(
    _object(
        {
            "mean": _known("number"),
            "sd": _known("number", "Standard deviation, ddof 0.", minimum=0),
            "min": _known("number"),
            "max": _known("number"),
        }
    ),
    "CT numbers inside the mask, HU; null for a picture or an empty mask.",
)
_AMOUNTS = {
    "volume_ml": _maybe("number", "Voxels x in-plane area x the slice's share of the axis, mL.", minimum=0),
    "area_mm2": _maybe("number", "2-D input only.", minimum=0),
    "area_px": _maybe("integer", "2-D input only.", minimum=0),
}

_INPUT = _object(
    {
        "kind": _known("string", enum=["dicom", "nifti", "png", "jpeg"]),
        "shape": _tuple(_known("integer", minimum=1), 3) | {"description": "Slices, rows, columns."},
        "spacing_mm": _tuple(_maybe("number"), 3)
        | {"description": "Of slices (median, along the normal), rows, columns."},
        "axes": _nullable(
            _tuple(_known("string", enum=["R", "L", "A", "P", "S", "I"]), 3),
            "The patient's side nearest to where slices, rows and columns run, as stored; null where unknown.",
        ),
        "sha256": _SHA256 | {"description": "Of the file; of several, that of their sorted SHA-256s."},
        "study_uid": _maybe("string", "DICOM only."),
        "series_uid": _maybe("string", "DICOM only."),
        "ignored": _array(_object({"name": _known("string"), "reason": _known("string")})),
    }
)
GEOMETRY_SCHEMA = _object(
    {"verdict": _known("string", enum=["ok", "warning", "refused"]), "reasons": _array(_NOTICE)},
    description="May numbers be read off this study? The worst reason wins; reasons carry the numbers behind them.",
)
_LABEL = _object(
    {
        "name": _known("string"),
        "voxels": _known("integer", "A label that contains another counts it.", minimum=0),
        **_AMOUNTS,
        "interval_ml": _nullable(
            _tuple(_known("number", minimum=0), 2),
            "Least and greatest volume over the three thresholds. It shows how the number depends on the threshold; "
            "it is no confidence interval.",
        ),
        "hu": _HOUNSFIELD,
        "dropped": _object(
            {"components": _known("integer", minimum=0), "volume_ml": _maybe("number", minimum=0)},
            description="What post-processing removed.",
        ),
    }
)
_LESION = _object(
    {
        "id": _known("integer", "From 1, largest volume first.", minimum=1),
        "label": _known("string"),
        **_AMOUNTS,
        "centroid_lps_mm": _nullable(_tuple(_known("number"), 3), "Null where left and right are unknown."),
        "bounding_box": _tuple(_tuple(_known("integer", minimum=0), 3), 2)
        | {"description": "[first, one past the last], each slice, row, column."},
        "longest_diameter_mm": _maybe("number", "Between outer pixel corners, within the key slice.", minimum=0),
        "perpendicular_diameter_mm": _maybe("number", "The longest chord inside the lesion at 90° to it.", minimum=0),
        "key_slice": _known("integer", "Where the longest diameter is largest, counted from 0.", minimum=0),
        "key_sop_instance_uid": _maybe("string", "DICOM only."),
        "hu": _HOUNSFIELD,
        "abc2_ml": _maybe("number", "A·B·C/2; for parenchymal bleeds only.", minimum=0),
        "abc2_weighted_ml": _maybe("number", minimum=0),
        "abc2_disagrees": _maybe("boolean", "More than 5 mL and 20 % from volume_ml."),
    }
)
_PROVENANCE = _object(
    {
        "sigap_version": _known("string"),
        "engine": _known("string"),
        "created": _known("string", format="date-time"),
        "options": _known("object", "What the client asked for beyond the defaults."),
        "thresholds": {"type": "object", "additionalProperties": _tuple(_known("number"), 3)},
        "postprocess": _array(_object({"step": _known("string"), "label": _known("string")})),
    }
)
_STAGES = ("decode", "infer", "postprocess", "measure", "encode", "total")

REPORT_SCHEMA: Schema = _object(
    {
        "schema": {"const": "sigap.report/1"},
        "task": _known("string"),
        "intended_use": {"const": "research"},
        "model": _object({"name": _known("string"), "version": _known("string"), "sha256": _SHA256}),
        "input": _INPUT,
        "geometry": GEOMETRY_SCHEMA,
        "warnings": _array(_NOTICE, description="About the answer."),
        "finding": _object(
            {"detected": _known("boolean"), "statement": _known("string")},
            description="The answer in plain words. `Not detected by the algorithm` never says that nothing is there.",
        ),
        "labels": _array(_LABEL, description="In the order of the model's contract."),
        "lesions": _array(_LESION, description="26-connected, largest first."),
        "measures": {"type": "object", "additionalProperties": _maybe("number")},
        "provenance": _PROVENANCE,
        "timings_ms": _object({stage: _maybe("number", minimum=0) for stage in _STAGES}),
    },
    title="Sigap report",
    description="Voxels are [slice, row, column] counted from 0, points LPS mm. Null is what cannot be known.",
)
