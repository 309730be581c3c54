"""The geometry verdict: may numbers be read off this study, and why not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any


class Severity(IntEnum):
    """How bad a reason is; the worst of them is the verdict."""

    OK = 0
    WARNING = 1
    REFUSED = 2

    @property
    def word(self) -> str:
        return self.name.lower()


@dataclass(frozen=True)
class Reason:
    """One finding about a study's geometry.

    Attributes:
        code: from the contract's table, e.g. `missing_slices`.
        severity: WARNING or REFUSED.
        message: one sentence that a clinician understands.
        numbers: what the finding rests on, in JSON types; a unit stands in the name (`gap_mm`).
    """

    code: str
    severity: Severity
    message: str
    numbers: Mapping[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        return {"code": self.code, "message": self.message, **self.numbers}


@dataclass(frozen=True)
class GeometryVerdict:
    """All reasons found; none means `ok`."""

    reasons: tuple[Reason, ...] = ()

    @property
    def severity(self) -> Severity:
        return max((reason.severity for reason in self.reasons), default=Severity.OK)

    @property
    def refusals(self) -> tuple[Reason, ...]:
        return tuple(reason for reason in self.reasons if reason.severity is Severity.REFUSED)

    def as_json(self) -> dict[str, Any]:
        """The `geometry` object of a report or a problem."""
        return {"verdict": self.severity.word, "reasons": [reason.as_json() for reason in self.reasons]}
