"""What OpenAPI says of jobs: `sigap.job/1`, pages of it, its events, each with an example."""

from __future__ import annotations

import json
from typing import Any, get_args

from sigap.api.examples import ALL_STATUSES, ANSWER_RESPONSE, LOCATION, PROBLEM_SCHEMA, problem_responses
from sigap.core.contract import PRIORITIES
from sigap.jobs.delivery import DELIVERY_STATES
from sigap.jobs.job import SCHEMA, State
from sigap.pipeline import Stage

_Json = dict[str, Any]

_ID = "9f86d081884c7d659a2feaa0c55ad015"
_COUNT: _Json = {"type": "integer", "minimum": 0}
_TIME: _Json = {"type": ["string", "null"], "format": "date-time"}
_PROBLEM: _Json = {
    **PROBLEM_SCHEMA,
    "required": [name for name in PROBLEM_SCHEMA["required"] if name != "instance"],
    "description": "Why it failed: RFC 9457, without `instance`.",
}
_DELIVERY: dict[str, _Json] = {
    "destination": {"type": "string", "description": "A name that this server knows."},
    "state": {"enum": [*DELIVERY_STATES], "description": "failed: given up; an administrator can try again."},
    "attempts": {**_COUNT, "description": "Tries that were begun."},
    "delivered_at": _TIME,
    "problem": {"anyOf": [_PROBLEM, {"type": "null"}]},
}
_LINKS: _Json = {name: {"type": "string"} for name in ("self", "result", "events", "image")}
_PROPERTIES: dict[str, _Json] = {
    "schema": {"const": SCHEMA},
    "id": {"type": "string", "pattern": "^[0-9a-f]{32}$"},
    "task": {"type": "string"},
    "state": {"enum": [*get_args(State)], "description": "dead: given up after three errors or five crashes."},
    "stage": {"enum": [*get_args(Stage), None], "description": "Of a running job."},
    "slices_done": {**_COUNT, "description": "In the present run."},
    "slices_total": {**_COUNT, "description": "0 until the study is decoded."},
    "queue_position": {"type": ["integer", "null"], "minimum": 1, "description": "Of a waiting job; 1 is next."},
    "priority": {"enum": [*PRIORITIES]},
    "attempts": {**_COUNT, "description": "Runs that were begun."},
    "reused": {"type": "boolean", "description": "Answered with the kept result of an equal study."},
    "created_at": {"type": "string", "format": "date-time"},
    "started_at": _TIME,
    "finished_at": _TIME,
    "problem": {"anyOf": [_PROBLEM, {"type": "null"}]},
    "deliveries": {
        "type": "array",
        "items": {"type": "object", "required": [*_DELIVERY], "properties": _DELIVERY},
        "description": "Where the result is sent; tried again until it is delivered, or refused three times.",
    },
    "links": {"type": "object", "required": [*_LINKS], "properties": _LINKS},
}
JOB_SCHEMA: _Json = {"title": "Job", "type": "object", "required": [*_PROPERTIES], "properties": _PROPERTIES}
JOB_EXAMPLE: _Json = {
    "schema": SCHEMA,
    "id": _ID,
    "task": "liver",
    "state": "running",
    "stage": "infer",
    "slices_done": 32,
    "slices_total": 129,
    "queue_position": None,
    "priority": "routine",
    "attempts": 1,
    "reused": False,
    "created_at": "2026-11-24T08:30:00.250000Z",
    "started_at": "2026-11-24T08:30:01.500000Z",
    "finished_at": None,
    "problem": None,
    "deliveries": [
        {"destination": "archive", "state": "waiting", "attempts": 0, "delivered_at": None, "problem": None}
    ],
    "links": {name: f"/jobs/{_ID}{'' if name == 'self' else f'/{name}'}" for name in _LINKS},
}
_PAGE_SCHEMA: _Json = {
    "type": "object",
    "required": ["jobs", "next"],
    "properties": {
        "jobs": {"type": "array", "items": JOB_SCHEMA},
        "next": {"type": ["string", "null"], "description": "The next page's `cursor`; null: this is the last."},
    },
}
_EVENTS: _Json = {
    "schema": {
        "type": "object",
        "description": "One event of the stream; its data is a whole job.",
        "required": ["event", "data"],
        "properties": {
            "event": {"const": "job"},
            "data": {"type": "string", "contentMediaType": "application/json", "contentSchema": JOB_SCHEMA},
        },
    },
    "example": {"event": "job", "data": json.dumps(JOB_EXAMPLE)},
}


def job_response(description: str) -> _Json:
    """A response whose body is a job."""
    return {
        "description": description,
        "content": {"application/json": {"schema": JOB_SCHEMA, "example": JOB_EXAMPLE}},
    }


_ACCEPTED: _Json = {
    **job_response("`Prefer: respond-async`: the study is safe on disk, and its job waits."),
    "headers": {
        "Location": LOCATION,
        "Preference-Applied": {"description": "respond-async", "schema": {"type": "string"}},
    },
}
SEGMENT_RESPONSES: dict[int | str, _Json] = {200: ANSWER_RESPONSE, 202: _ACCEPTED, **problem_responses(*ALL_STATUSES)}
LIST_RESPONSES: dict[int | str, _Json] = {
    200: {
        "description": "One page, the newest job first.",
        "content": {
            "application/json": {"schema": _PAGE_SCHEMA, "example": {"jobs": [JOB_EXAMPLE], "next": "1200"}},
        },
    },
    **problem_responses(422),
}
GET_RESPONSES: dict[int | str, _Json] = {200: job_response("The job."), **problem_responses(404)}
CANCEL_RESPONSES: dict[int | str, _Json] = {
    200: job_response("The job, cancelled."),
    **problem_responses(404, 409),
}
ERASE_RESPONSES: dict[int | str, _Json] = {204: {"description": "Erased."}, **problem_responses(404, 409)}
EVENTS_RESPONSES: dict[int | str, _Json] = {
    200: {"description": "A stream that ends with the job.", "content": {"text/event-stream": _EVENTS}},
    **problem_responses(404),
}
RESULT_RESPONSES: dict[int | str, _Json] = {
    200: ANSWER_RESPONSE,
    # A failed job answers with its own problem.
    **problem_responses(404, 406, 409, 413, 415, 422, 504, 507),
}
IMAGE_RESPONSES: dict[int | str, _Json] = {
    200: {
        "description": "The scan, voxel on voxel with the mask.",
        "content": {
            media_type: {
                "schema": {"type": "string", "format": "binary"},
                "examples": {"scan": {"summary": name, "value": f"(the bytes of {name})"}},
            }
            for media_type, name in (("application/x-nifti", "image.nii.gz"), ("image/png", "image.png"))
        },
    },
    **problem_responses(404, 409, 413, 415, 422, 504, 507),
}
