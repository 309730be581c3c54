"""Errors as problems: the status, the name and the words that a client gets for each."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sigap.core.errors import (
    BadParameter,
    Cancelled,
    DatabaseTooNew,
    DatabaseUnavailable,
    DeadlineExceeded,
    EngineUnavailable,
    FormatNotForInput,
    GeometryRefused,
    InputError,
    JobStateForbids,
    KeptUnreadable,
    KeyReused,
    ModelError,
    NeverRoom,
    PacsRefused,
    PacsUnavailable,
    QueueFull,
    SigapError,
    StorageFull,
    TooLarge,
    UnknownJob,
    UnknownTask,
    UnreadableInput,
    UnsupportedFormat,
)
from sigap.core.verdict import GeometryVerdict, Reason, Severity
from sigap.jobs.problem import STATUSES, describe

SECRET = "/data/jobs/Erika Mustermann"
REFUSED = GeometryVerdict(
    (
        Reason("uneven_slices", Severity.WARNING, "The slices are not evenly spaced."),
        Reason("missing_slices", Severity.REFUSED, "Slices are missing.", {"gap_mm": 7.5}),
    )
)

PROBLEMS: tuple[tuple[SigapError, int, str], ...] = (
    (UnknownTask("why"), 404, "unknown-task"),
    (UnknownJob(), 404, "unknown-job"),
    (KeptUnreadable("why"), 500, "kept-unreadable"),
    (JobStateForbids("why", state="dead"), 409, "job-state"),
    (TooLarge("why"), 413, "too-large"),
    (UnsupportedFormat("why"), 415, "unsupported-format"),
    (InputError("why"), 422, "bad-input"),
    (UnreadableInput("why"), 422, "unreadable"),
    (BadParameter("why"), 422, "bad-parameter"),
    (KeyReused("why"), 422, "idempotency-key-reused"),
    (GeometryRefused(REFUSED), 422, "geometry-refused"),
    (QueueFull("why", retry_after_s=7), 503, "queue-full"),
    (EngineUnavailable("why"), 503, "engine-unavailable"),
    (DatabaseUnavailable("why"), 503, "database-unavailable"),
    (DatabaseTooNew("why"), 503, "database-too-new"),
    (DeadlineExceeded("why"), 504, "deadline-exceeded"),
    (StorageFull("why"), 507, "storage-full"),
    (NeverRoom(), 507, "storage-full"),
    (FormatNotForInput("why"), 406, "not-acceptable"),
    (PacsUnavailable("why"), 503, "pacs-unavailable"),
    (PacsRefused("why"), 503, "pacs-refused"),
)

NOT_FOR_USERS = (
    ValueError(SECRET),
    OSError(2, "No such file", SECRET),
    MemoryError(SECRET),
    SigapError(SECRET),
    SigapError(SECRET, slug="of-its-own"),
    ModelError(SECRET),
    Cancelled(SECRET),
)


def name_of(error: Exception) -> str:
    return type(error).__name__


@pytest.mark.parametrize(("error", "status", "slug"), PROBLEMS, ids=[name_of(error) for error, _, _ in PROBLEMS])
def test_an_error_for_users_says_what_is_wrong(error: SigapError, status: int, slug: str):
    problem = describe(error)
    assert list(problem)[:4] == ["type", "title", "status", "detail"]
    assert (problem["type"], problem["status"]) == (f"urn:sigap:problem:{slug}", status)
    assert problem["detail"] == error.message
    assert json.loads(json.dumps(problem)) == problem


def test_every_class_with_a_status_is_described_here():
    assert {kind for kind, _ in STATUSES} <= {type(error) for error, _, _ in PROBLEMS}


@pytest.mark.parametrize("error", NOT_FOR_USERS, ids=name_of)
def test_what_is_not_meant_for_users_says_nothing_of_itself(error: Exception):
    problem = describe(error)
    assert (problem["type"], problem["title"], problem["status"]) == ("urn:sigap:problem:internal", "Internal", 500)
    assert set(problem) == {"type", "title", "status", "detail"}
    assert "Mustermann" not in json.dumps(problem)
    assert problem == describe(RuntimeError("another"))


def test_a_title_is_the_slug_in_words():
    assert describe(UnreadableInput("why", slug="upload-gone"))["title"] == "Upload gone"


def test_a_slug_of_its_own_keeps_the_status_of_the_class():
    problem = describe(UnreadableInput("why", slug="upload-gone"))
    assert (problem["type"], problem["status"]) == ("urn:sigap:problem:upload-gone", 422)


def extensions(error: Exception) -> dict[str, Any]:
    return {name: value for name, value in describe(error).items() if name not in describe(OSError())}


def test_a_refused_geometry_brings_its_whole_verdict_along():
    problem = describe(GeometryRefused(REFUSED))
    assert problem["detail"] == "Slices are missing."
    assert extensions(GeometryRefused(REFUSED)) == {
        "geometry": {
            "verdict": "refused",
            "reasons": [
                {"code": "uneven_slices", "message": "The slices are not evenly spaced."},
                {"code": "missing_slices", "message": "Slices are missing.", "gap_mm": 7.5},
            ],
        }
    }


def test_a_state_that_forbids_is_named():
    assert extensions(JobStateForbids("It has ended.", state="succeeded")) == {"state": "succeeded"}


@pytest.mark.parametrize(
    "error",
    [error for error, _, _ in PROBLEMS if not isinstance(error, GeometryRefused | JobStateForbids)],
    ids=name_of,
)
def test_all_others_have_no_extension(error: SigapError):
    assert extensions(error) == {}
