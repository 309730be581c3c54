"""What the routes share: one engine, one job store, one worker."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import structlog

from sigap import pipeline
from sigap.access.audit import AuditLog
from sigap.api.admission import Admission
from sigap.api.logs import where
from sigap.api.metrics import Metrics
from sigap.core.contract import Model
from sigap.core.errors import EngineUnavailable, SigapError
from sigap.core.result import Result
from sigap.core.study import Limits
from sigap.dicomnet.configuration import read_pacs
from sigap.dicomnet.courier import Bag, Courier
from sigap.encoders.formats import format_of
from sigap.engines.engine import Engine
from sigap.jobs.answers import Answers
from sigap.jobs.changes import Changes
from sigap.jobs.deliveries import Deliveries
from sigap.jobs.ended import Ended
from sigap.jobs.heartbeat import Heartbeat
from sigap.jobs.leases import Leases
from sigap.jobs.memory import Memory, Share
from sigap.jobs.run import Means
from sigap.jobs.storage import storage
from sigap.jobs.store import JobStore
from sigap.jobs.worker import Worker
from sigap.settings import Settings

_STOP_S = 10.0
_log = structlog.stdlib.get_logger("sigap.jobs")


class Gateway:
    """Opened and closed with the application.

    Args:
        settings: read at the composition root.
        engine: loaded and warm, or about to be.
        run: the pipeline; tests of the routes alone bring their own.
        passed: told of every named point of a job's way; tests end the process there.

    Raises:
        PacsFileError: the PACS file cannot be used.
    """

    def __init__(
        self,
        settings: Settings,
        engine: Engine,
        run: Callable[..., Result] = pipeline.run,
        passed: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.settings = settings
        self.engine = engine
        self.passed = passed
        self.storage = storage(settings.data, settings.database_address, quota_bytes=settings.quota_bytes)
        self.data = self.storage.data
        self.admission = Admission(settings)
        self.audit = None if settings.audit_file is None else AuditLog(settings.audit_file)
        self.store = JobStore(self.storage, queue_length=settings.queue_length)
        self.leases = Leases(self.storage)
        self.changes = Changes()
        self.is_stopping = threading.Event()
        # Answers from kept results are made one at a time: many would take all threads, and the cores from a run.
        self.making = asyncio.Semaphore(1)
        memory = Memory(settings.memory_bytes)
        self.answers = Answers(
            self.data, formats=format_of, memory=memory, limits=self._limits, workspace=self._workspace
        )
        means = Means(
            engine=engine,
            data=self.data,
            run=run,
            answers=self.answers,
            limits=self._limits,
            workspace=self._workspace,
            passed=passed,
            is_stopping=threading.Event(),
        )
        self.worker = Worker(self.leases, means, memory=memory, changes=self.changes, observe=self._observe)
        self.heartbeat = Heartbeat(self.leases, self.store, self.storage, retention_s=settings.retention_s)
        self.metrics = Metrics(self.store.tally, engine)
        self.pacs = read_pacs(settings.pacs)
        self.courier = Courier(
            self.pacs,
            Bag(
                deliveries=Deliveries(self.storage),
                maker=self.answers,
                workspace=self._workspace,
                gateway=lambda: self.leases.gateway,
                observe=self.metrics.count_delivery,
                passed=passed,
            ),
        )
        self._stack = ExitStack()

    def open(self) -> None:
        """Claim what is ours alone, bring the tables forward, join the other gateways and start to work.

        Raises:
            OSError: the folder cannot be used; `BlockingIOError`: another gateway uses it.
            DatabaseUnavailable: the database cannot be reached, or a newer version has written it.
        """
        with ExitStack() as stack:
            stack.enter_context(self.storage.opened())
            self.heartbeat.start()
            stack.callback(self.heartbeat.stop)
            self.courier.start()
            stack.callback(self.courier.stop, _STOP_S)
            self.worker.start()
            stack.callback(self.worker.stop, _STOP_S)
            stack.callback(self.is_stopping.set)
            self._stack = stack.pop_all()

    def close(self) -> None:
        """Put what runs back into the queue, and leave."""
        self._stack.close()

    def check_ready(self, task: str | None = None) -> None:
        """Raise `EngineUnavailable` where a study for this task, or for any, could not be segmented now."""
        if not self.engine.is_ready(task):
            names = [model.name for model in self.engine.models() if not self.engine.is_ready(model.name)]
            which = "" if task is not None or not names else f" ({', '.join(names)})"
            words = "models are" if task is None else "model is"
            raise EngineUnavailable(f"The {words} not ready{which}. Try again in a moment.")

    def check_database(self) -> None:
        """Raise `DatabaseUnavailable` where a study could not be accepted now; waits for the database."""
        with self.storage.database.transaction():
            return

    def _limits(self, share: Share) -> Limits:
        return self.settings.limits_within(share.bytes)

    def _workspace(self) -> Path:
        return self.data.workspace(self.leases.gateway)

    def _observe(self, ended: Ended) -> None:
        self.metrics.observe(ended)
        self.courier.wake()
        job, findings = ended.job, ended.findings
        fields = {
            "task": job.task,
            "priority": job.priority,
            "outcome": ended.outcome,
            "attempt": job.attempts,
            "slices": findings.slices,
            "verdict": findings.verdict,
            "timings_ms": {stage: round(spent, 1) for stage, spent in findings.timings_ms.items()},
        }
        if ended.error is None:
            _log.info("job", **fields)
        elif isinstance(ended.error, SigapError):
            _log.info("job", **fields, problem=ended.error.slug)
        else:
            _log.error("job", **fields, error=where(ended.error))


def model_card(repository: Path, model: Model) -> str | None:
    """The card's text; its file name comes from the model's configuration and is no way out of the model's folder.

    None where there is none, or where the repository is about other weights than a Triton server has.
    """
    folder = repository / model.name
    card, config = folder / Path(model.contract.model_card).name, folder / "config.pbtxt"
    if not (card.is_file() and config.is_file()):
        return None
    is_about_it = model.sha256 in config.read_text(encoding="utf-8", errors="replace")
    return card.read_text(encoding="utf-8", errors="replace") if is_about_it else None
