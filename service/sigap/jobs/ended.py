"""What a run came to, as far as metrics and logs may tell."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from sigap.core.errors import GeometryRefused
from sigap.core.result import Result
from sigap.jobs.job import Job

Outcome = Literal["succeeded", "reused", "failed", "postponed", "dead", "cancelled", "released"]


@dataclass(frozen=True)
class Findings:
    """What may be counted of a result: no patient's data.

    Attributes:
        verdict: ok, warning or refused.
        reasons: codes of the geometry verdict.
        slices: how many were segmented.
        has_lesions: whether any was detected; None where there is no answer.
        timings_ms: of each stage.
    """

    verdict: str | None = None
    reasons: tuple[str, ...] = ()
    slices: int = 0
    has_lesions: bool | None = None
    timings_ms: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Ended:
    """What a run came to, for metrics and logs.

    Attributes:
        error: what ended it, if it did not succeed.
    """

    job: Job
    outcome: Outcome
    findings: Findings = Findings()
    error: Exception | None = None


def findings_of(result: Result) -> Findings:
    """Of an answer."""
    geometry = result.study.geometry
    return Findings(
        verdict=geometry.severity.word,
        reasons=tuple(reason.code for reason in geometry.reasons),
        slices=result.study.volume.grid.shape[0],
        has_lesions=bool(result.measurements.lesions),
        timings_ms=dict(result.timings_ms),
    )


def findings_of_refused(error: Exception) -> Findings:
    """Of an error: the verdict, if it is one on the geometry."""
    if not isinstance(error, GeometryRefused):
        return Findings()
    verdict = error.verdict
    return Findings(verdict=verdict.severity.word, reasons=tuple(reason.code for reason in verdict.reasons))
