"""What OpenAPI says of bodies: every format and every problem, each with an example."""

from __future__ import annotations

from typing import Any

from sigap.api.form import FIELD
from sigap.api.problems import MEDIA_TYPE
from sigap.encoders.formats import FORMATS
from sigap.encoders.report_example import REPORT_EXAMPLE
from sigap.encoders.report_schema import GEOMETRY_SCHEMA, REPORT_SCHEMA
from sigap.jobs.problem import TYPE_PREFIX

_Json = dict[str, Any]

SEGMENT_BODY: _Json = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": [FIELD],
                "additionalProperties": False,
                "properties": {
                    FIELD: {
                        "type": "array",
                        "minItems": 1,
                        "items": {"type": "string", "format": "binary"},
                        "description": "One NIfTI file (.nii, .nii.gz), the DICOM files of one study or a zip of them, "
                        "one PNG or one JPEG. Told apart by content, never by name.",
                    }
                },
            }
        }
    },
}

PROBLEM_SCHEMA: _Json = {
    "title": "Problem",
    "description": "RFC 9457.",
    "type": "object",
    "required": ["type", "title", "status", "detail", "instance"],
    "properties": {
        "type": {"type": "string", "pattern": f"^{TYPE_PREFIX}[a-z0-9-]+$", "description": "Which problem; stable."},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "What is wrong and what to do."},
        "instance": {"type": "string", "description": "The request's id, as in X-Request-ID and the server's logs."},
        "geometry": GEOMETRY_SCHEMA,
        "state": {"type": "string", "description": "Of a job whose state forbids what was asked."},
    },
}

_COCO_EXAMPLE: _Json = {
    "info": {"description": "sigap.report/1 liver"},
    "images": [{"id": 52, "file_name": "slice-0051", "height": 512, "width": 512}],
    "categories": [{"id": 1, "name": "liver"}, {"id": 2, "name": "tumour"}],
    "annotations": [
        {
            "id": 1,
            "image_id": 52,
            "category_id": 2,
            "iscrowd": 1,
            "area": 38.0,
            "bbox": [133.0, 201.0, 8.0, 6.0],
            "segmentation": {"size": [512, 512], "counts": "Xmn12n?0O1O1N2"},
        }
    ],
}
_WORDS: dict[str, str] = {
    "nifti": "A gzipped NIfTI labelmap with the input's affine: 0 background, then the labels in their order.",
    "png": "Contours on the slice; of a volume a contact sheet of its key slices. The patient's right is on the left.",
    "zip": "All files under the command line's names; left-out.json lists what the input does not allow.",
    "seg": "seg, sr or rtstruct, of DICOM input only; by `Accept` alone the DICOM Segmentation.",
    "stl": "The surface of one label, in LPS mm.",
}


def answer_content(name: str) -> _Json:
    """Schema and example of one format."""
    if name == "json":
        return {"schema": REPORT_SCHEMA, "example": REPORT_EXAMPLE}
    if name == "coco":
        return {"schema": {"type": "object"}, "example": _COCO_EXAMPLE}
    filename = FORMATS[name].filename
    words = _WORDS.get(name, f"The file {filename}.")
    example = {"summary": filename, "description": words, "value": f"(the bytes of {filename})"}
    return {"schema": {"type": "string", "format": "binary", "description": words}, "examples": {name: example}}


# Slug and sentence of one problem for each status; more of them stand in docs/api.md.
_PROBLEMS: dict[int, tuple[str, str, str]] = {
    400: ("malformed-multipart", "Malformed multipart form", "The multipart form ends too early. Send it again."),
    401: (
        "unauthorized",
        "No key, or a wrong one",
        "This needs a key that the server knows. Send it as `Authorization: Bearer KEY`, or log in with POST /session.",
    ),
    403: ("cross-site", "Another site's page, with a session", "The request comes from another site's page."),
    404: ("unknown-task", "No such task", "There is no such task. This server has: hemorrhage, liver."),
    406: ("not-acceptable", "No such format", "There is no such format. This one writes json (application/json), …"),
    408: ("upload-stalled", "The upload stopped", "Nothing has arrived for 60 seconds. Send the study again."),
    409: ("job-state", "The job's state forbids it", "The job has no result yet: ask again later."),
    413: ("upload-too-large", "Over a cap on bytes, members, pixels or memory", "The upload is larger than 2,048 MiB."),
    415: ("unsupported-format", "Not a format we read", "This is neither NIfTI, DICOM, PNG nor JPEG."),
    422: ("geometry-refused", "Unreadable, refused, or a bad parameter", "The slices have different sizes."),
    500: (
        "internal",
        "Our own fault",
        "Something went wrong inside the server. Tell its administrator the request id.",
    ),
    503: (
        "queue-full",
        "Queue full or engine away; see Retry-After",
        "As many routine studies are waiting as this server takes.",
    ),
    504: ("deadline-exceeded", "Too late; the job goes on", "The study took longer than a request may."),
    507: ("storage-full", "No room on disk", "The server's space for uploads is full. Try again later."),
}


LOCATION: _Json = {"description": "The job's address, `/jobs/{id}`.", "schema": {"type": "string"}}


def problem_responses(*statuses: int) -> dict[int | str, _Json]:
    """The `responses` of a route that may answer with these problems."""
    return {status: _problem_response(status) for status in statuses}


def _problem_response(status: int) -> _Json:
    slug, description, detail = _PROBLEMS[status]
    example: _Json = {
        "type": TYPE_PREFIX + slug,
        "title": slug.replace("-", " ").capitalize(),
        "status": status,
        "detail": detail,
        "instance": "urn:uuid:4f0c6e6e-6a4b-4f0e-9d5c-0d8d3f3f7f52",
    }
    if status == 422:
        reason = {
            "code": "mixed_size",
            "message": "The slices have different sizes.",
            "sizes": [[512, 512], [256, 256]],
        }
        example["geometry"] = {"verdict": "refused", "reasons": [reason]}
    if status == 409:
        example["state"] = "running"
    response: _Json = {
        "description": description,
        "content": {MEDIA_TYPE: {"schema": PROBLEM_SCHEMA, "example": example}},
    }
    if status == 401:
        response["headers"] = {"WWW-Authenticate": {"description": "`Bearer`.", "schema": {"type": "string"}}}
    if status == 503:
        response["headers"] = {"Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer"}}}
    if status == 504:
        response["headers"] = {"Location": LOCATION}
    return response


# Where formats share a media type, the first is what it means.
_ANSWERS: _Json = {encoding.media_type: answer_content(name) for name, encoding in reversed(list(FORMATS.items()))}
ANSWER_RESPONSE: _Json = {
    "description": "The answer, in the format that was asked for. A healthy patient is an answer too.",
    "headers": {
        "X-Request-ID": {"description": "The request's id, as in the logs.", "schema": {"type": "string"}},
        "Content-Disposition": {"description": "A file name of our own.", "schema": {"type": "string"}},
        "Content-Location": {"description": "Where to fetch it again.", "schema": {"type": "string"}},
    },
    # The page of /docs asks for the first.
    "content": dict(reversed(_ANSWERS.items())),
}
ALL_STATUSES = tuple(_PROBLEMS)
