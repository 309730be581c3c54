"""What Prometheus reads: counts and durations, no patient's data, no label without a bound."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from sigap.core.errors import SigapError
from sigap.engines.engine import Engine
from sigap.jobs.ended import Ended
from sigap.jobs.tally import Tally

MEDIA_TYPE = CONTENT_TYPE_LATEST
_SECONDS = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300)


class Metrics:
    """A registry of our own, so that two gateways in one process (tests) do not meet."""

    def __init__(self, tally: Callable[[], Tally], engine: Engine) -> None:
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
        self._waits = Histogram(
            "sigap_job_wait_seconds",
            "From a job's place in the queue to its first run",
            ["task", "priority"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._runs = Counter(
            "sigap_job_runs",
            "Runs of jobs by what they came to; postponed: tried again later, dead: a dead letter",
            ["task", "outcome"],
            registry=registry,
        )
        self._deliveries = Counter(
            "sigap_delivery_tries",
            "Tries to send a result to a PACS by what they came to; failed: given up, it waits for a person",
            ["destination", "outcome"],
            registry=registry,
        )
        self._denials = Counter(
            "sigap_auth_failures",
            "Requests refused with 401, by what they showed",
            ["kind"],
            registry=registry,
        )
        for kind in ("none", "bearer", "session", "login"):
            self._denials.labels(kind)
        registry.register(_Queue(tally))
        registry.register(_Models(engine))

    def count_request(self, task: str | None, encoding: str | None, status: int) -> None:
        """`task` and `encoding` are None where the request named none of ours."""
        self._requests.labels(task or "unknown", encoding or "unknown", str(status)).inc()

    def count_denial(self, kind: str) -> None:
        """`kind` is what was shown instead of a good key: none, bearer, session or login."""
        self._denials.labels(kind).inc()

    def observe(self, ended: Ended) -> None:
        """Count what a run came to, what it found and how long its stages took."""
        job, task, findings = ended.job, ended.job.task, ended.findings
        self._runs.labels(task, ended.outcome).inc()
        if job.attempts == 1 and job.started_at is not None and job.queued_at is not None:
            self._waits.labels(task, job.priority).observe(max(0.0, job.started_at - job.queued_at))
        for stage, spent_ms in findings.timings_ms.items():
            self._stages.labels(task, stage).observe(spent_ms / 1000)
        self._slices.labels(task).inc(findings.slices)
        if findings.verdict is not None:
            self._verdicts.labels(task, findings.verdict).inc()
        for code in findings.reasons:
            self._reasons.labels(task, code).inc()
        if findings.has_lesions is not None:
            self._findings.labels(task, str(findings.has_lesions).lower()).inc()

    def count_delivery(self, destination: str, outcome: str) -> None:
        """A try to send a result; `destination` is a name of the administrator's."""
        self._deliveries.labels(destination, outcome).inc()

    def exposition(self) -> bytes:
        """The text that Prometheus reads."""
        return generate_latest(self._registry)


class _Queue(Collector):
    """The job store's counts, asked for when Prometheus asks; nothing while the database is away."""

    def __init__(self, tally: Callable[[], Tally]) -> None:
        self._tally = tally

    def collect(self) -> Iterator[GaugeMetricFamily]:
        try:
            tally = self._tally()
        except SigapError:
            return
        jobs = GaugeMetricFamily("sigap_jobs", "Jobs in the store", labels=["state", "priority"])
        for (state, priority), count in tally.jobs.items():
            jobs.add_metric([state, priority], count)
        oldest = GaugeMetricFamily("sigap_oldest_job_seconds", "Age of the oldest waiting job", labels=["priority"])
        for priority, age_s in tally.oldest_s.items():
            oldest.add_metric([priority], age_s)
        deliveries = GaugeMetricFamily(
            "sigap_deliveries", "Results for a PACS; failed: given up, they wait for a person", labels=["state"]
        )
        for state, count in tally.deliveries.items():
            deliveries.add_metric([state], count)
        yield jobs
        yield oldest
        yield deliveries
        yield GaugeMetricFamily("sigap_stored_bytes", "Uploads and results, as counted for the quota", tally.used_bytes)

    def describe(self) -> Iterator[GaugeMetricFamily]:
        """Nothing: registering must not ask a database that is not open yet."""
        return iter(())


class _Models(Collector):
    """The models, which may change, go away and come back while the server runs."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def collect(self) -> Iterator[GaugeMetricFamily]:
        info = GaugeMetricFamily("sigap_model_info", "1 for each task's model", labels=["task", "version", "sha256"])
        ready = GaugeMetricFamily("sigap_model_ready", "Whether a task's model would answer now", labels=["task"])
        for model in self._engine.models():
            info.add_metric([model.name, model.version, model.sha256], 1)
            ready.add_metric([model.name], self._engine.is_ready(model.name))
        yield info
        yield ready
