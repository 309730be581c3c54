"""A whole report, for the API's documentation; a test holds it to the schema."""

from __future__ import annotations

from typing import Any

REPORT_EXAMPLE: dict[str, Any] = {
    "schema": "sigap.report/1",
    "task": "liver",
    "intended_use": "research",
    "model": {"name": "liver", "version": "1", "sha256": "5f1d" * 16},
    "input": {
        "kind": "dicom",
        "shape": [129, 512, 512],
        "spacing_mm": [1.6, 0.57, 0.57],
        "axes": ["S", "P", "L"],
        "sha256": "09ab" * 16,
        "study_uid": "2.25.329800735698586629295641978511506172918",
        "series_uid": "2.25.274417331895321048650912398671230184455",
        "ignored": [{"name": "DICOMDIR", "reason": "an index of files, not an image"}],
    },
    "geometry": {"verdict": "ok", "reasons": []},
    "warnings": [
        {"code": "organ_cut", "message": "The liver touches the last slice: its volume is a lower bound."},
    ],
    "finding": {"detected": True, "statement": "Tumour detected by the algorithm: 1 lesion, 20.1 mL."},
    "labels": [
        {
            "name": "liver",
            "voxels": 2862419,
            "volume_ml": 1488.0,
            "area_mm2": None,
            "area_px": None,
            "interval_ml": [1462.1, 1509.8],
            "hu": {"mean": 98.1, "sd": 21.0, "min": -12.0, "max": 301.0},
            "dropped": {"components": 2, "volume_ml": 0.4},
        },
        {
            "name": "tumour",
            "voxels": 38665,
            "volume_ml": 20.1,
            "area_mm2": None,
            "area_px": None,
            "interval_ml": [17.9, 22.6],
            "hu": {"mean": 61.0, "sd": 14.0, "min": 20.0, "max": 99.0},
            "dropped": {"components": 0, "volume_ml": 0.0},
        },
    ],
    "lesions": [
        {
            "id": 1,
            "label": "tumour",
            "volume_ml": 20.1,
            "area_mm2": None,
            "area_px": None,
            "centroid_lps_mm": [-61.2, 12.9, 804.0],
            "bounding_box": [[40, 201, 133], [62, 260, 190]],
            "longest_diameter_mm": 36.2,
            "perpendicular_diameter_mm": 30.8,
            "key_slice": 51,
            "key_sop_instance_uid": "2.25.118809712352236874990321651177002531",
            "hu": {"mean": 61.0, "sd": 14.0, "min": 20.0, "max": 99.0},
            "abc2_ml": None,
            "abc2_weighted_ml": None,
            "abc2_disagrees": None,
        }
    ],
    "measures": {"tumour_burden_percent": 1.35},
    "provenance": {
        "sigap_version": "0.1.0",
        "engine": "torchscript",
        "created": "2026-11-22T12:30:00+00:00",
        "options": {},
        "thresholds": {"liver": [0.3, 0.5, 0.7], "tumour": [0.3, 0.5, 0.7]},
        "postprocess": [
            {"step": "largest_component", "label": "liver"},
            {"step": "fill_holes", "label": "liver"},
            {"step": "inside", "label": "tumour", "of": "liver"},
        ],
    },
    "timings_ms": {
        "decode": 310.0,
        "infer": 8200.0,
        "postprocess": 240.0,
        "measure": 160.0,
        "encode": 90.0,
        "total": 9000.0,
    },
}
