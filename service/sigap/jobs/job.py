"""One study on its way from upload to answer."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import IO, Any, Literal

from sigap.core.errors import Cancelled, DeadlineExceeded
from sigap.jobs.folder import JobFolder
from sigap.pipeline import Progress, RunOptions

State = Literal["queued", "running", "succeeded", "failed", "cancelled"]
ENDED = ("succeeded", "failed", "cancelled")


@dataclass(frozen=True)
class Request:
    """What a client asked for.

    Attributes:
        task: a model's name.
        format: a name in `encoders.formats.FORMATS`.
        priority: emergency, routine or batch.
        deadline: on `time.monotonic`'s clock.
    """

    task: str
    format: str
    priority: str
    options: RunOptions
    deadline: float


@dataclass(frozen=True)
class Answer:
    """An encoded result. Its file is open and has no name any more: nothing of it is left once it is closed."""

    file: IO[bytes]
    size: int
    media_type: str
    filename: str


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


class Job:
    """States and progress as CONTRACT, section 6, names them. Safe to use from the server's and the worker's thread.

    Attributes:
        request: what was asked for.
        folder: its files, deleted when it ends.
        answer: of a succeeded job.
        error: of a failed one.
        findings: for metrics and logs.
    """

    def __init__(self, request: Request, folder: JobFolder, when_ended: Callable[[], None] = lambda: None) -> None:
        self.id = folder.id
        self.request = request
        self.folder = folder
        self.state: State = "queued"
        self.progress = Progress("decode", 0, 0)
        self.answer: Answer | None = None
        self.error: Exception | None = None
        self.findings = Findings()
        self._when_ended = when_ended
        self._is_cancelled = False
        self._lock = threading.Lock()

    def cancel(self) -> None:
        """Nobody waits any more: a running job stops at its next step, an answer is thrown away."""
        with self._lock:
            self._is_cancelled = True
            if self.answer is not None:
                self.answer.file.close()

    def start(self) -> None:
        self.state = "running"
        self.check()

    def report(self, progress: Progress) -> None:
        """Take note of the pipeline's progress, and stop it where it is no longer wanted.

        Raises:
            Cancelled: nobody waits for the answer any more.
            DeadlineExceeded: the request's time is over.
        """
        self.progress = progress
        self.check()

    def check(self) -> None:
        """Raise what `report` raises, between stages that report nothing."""
        if self._is_cancelled:
            raise Cancelled("The request was cancelled.")
        if time.monotonic() > self.request.deadline:
            raise DeadlineExceeded(
                "The study took longer than this server allows. Send a smaller one, or try again later."
            )

    def succeed(self, answer: Answer, findings: Findings) -> None:
        with self._lock:
            self.findings = findings
            self.state = "cancelled" if self._is_cancelled else "succeeded"
            self.answer = answer
            if self._is_cancelled:
                answer.file.close()

    def fail(self, error: Exception, findings: Findings) -> None:
        self.findings = findings
        self.state = "cancelled" if isinstance(error, Cancelled) else "failed"
        self.error = error

    def end(self) -> None:
        """Tell whoever waits; the last thing that happens to a job."""
        self._when_ended()

    def log_fields(self) -> dict[str, Any]:
        """What a log line may say about the job."""
        return {
            "task": self.request.task,
            "format": self.request.format,
            "slices": self.findings.slices,
            "verdict": self.findings.verdict,
            "timings_ms": {stage: round(spent, 1) for stage, spent in self.findings.timings_ms.items()},
        }
