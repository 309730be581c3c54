"""What Prometheus reads: counts and durations, no patient's data, no label without a bound."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from sigap.core.contract import Model
from sigap.jobs.job import Job
from sigap.jobs.queue import JobQueue

MEDIA_TYPE = CONTENT_TYPE_LATEST
_SECONDS = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300)


class Metrics:
    """A registry of our own, so that two gateways in one process (tests) do not meet."""

    def __init__(self, queue: JobQueue, models: Iterable[Model]) -> None:
        self._registry = registry = CollectorRegistry()
        self._requests = Counter(
            "sigap_requests",
            "Requests to /segment; 499: the client hung up",
            ["task", "format", "status"],
            registry=registry,
        )
        self._stages = Histogram(
            "sigap_stage_seconds", "Duration of a stage", ["task", "stage"], buckets=_SECONDS, registry=registry
        )
        self._slices = Counter("sigap_slices", "Slices segmented", ["task"], registry=registry)
        self._verdicts = Counter(
            "sigap_geometry_verdicts", "Geometry verdicts of decoded studies", ["task", "verdict"], registry=registry
        )
        self._reasons = Counter(
            "sigap_geometry_reasons", "Reasons of those verdicts", ["task", "code"], registry=registry
        )
        self._findings = Counter(
            "sigap_findings",
            "Answers with and without a lesion: a drift shows here",
            ["task", "detected"],
            registry=registry,
        )
        Gauge("sigap_queue_length", "Studies that wait", registry=registry).set_function(lambda: queue.waiting)
        Gauge("sigap_running", "Studies being worked on", registry=registry).set_function(lambda: queue.running)
        info = Gauge(
            "sigap_model_info", "1 for each model that answers", ["task", "version", "sha256"], registry=registry
        )
        for model in models:
            info.labels(model.name, model.version, model.sha256).set(1)

    def count_request(self, task: str | None, encoding: str | None, status: int) -> None:
        """`task` and `encoding` are None where the request named none of ours."""
        self._requests.labels(task or "unknown", encoding or "unknown", str(status)).inc()

    def observe(self, job: Job) -> None:
        """Count what an ended job found and how long its stages took."""
        task, findings = job.request.task, job.findings
        for stage, spent_ms in findings.timings_ms.items():
            self._stages.labels(task, stage).observe(spent_ms / 1000)
        self._slices.labels(task).inc(findings.slices)
        if findings.verdict is not None:
            self._verdicts.labels(task, findings.verdict).inc()
        for code in findings.reasons:
            self._reasons.labels(task, code).inc()
        if findings.has_lesions is not None:
            self._findings.labels(task, str(findings.has_lesions).lower()).inc()

    def exposition(self) -> bytes:
        """The text that Prometheus reads."""
        return generate_latest(self._registry)
