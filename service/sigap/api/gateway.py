"""What the routes share: one engine, one queue with its worker, one data folder."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from sigap import pipeline
from sigap.api.metrics import Metrics
from sigap.core.contract import Model
from sigap.core.errors import EngineUnavailable
from sigap.core.result import Result
from sigap.encoders.formats import FORMATS
from sigap.engines.engine import Engine
from sigap.jobs.folder import JobFolders
from sigap.jobs.queue import JobQueue
from sigap.jobs.worker import Worker
from sigap.settings import Settings

_STOP_S = 10.0


class Gateway:
    """Opened and closed with the application.

    Args:
        settings: read at the composition root.
        engine: loaded and warm, or about to be.
        run: the pipeline; tests of the routes alone bring their own.
    """

    def __init__(self, settings: Settings, engine: Engine, run: Callable[..., Result] = pipeline.run) -> None:
        self.settings = settings
        self.engine = engine
        self.queue = JobQueue(settings.queue_length)
        self.folders = JobFolders(settings.data, quota_bytes=settings.quota_bytes)
        self.metrics = Metrics(self.queue, engine.models())
        self.model_cards = {model.name: model_card(settings.models, model) for model in engine.models()}
        self._worker = Worker(
            self.queue,
            engine=engine,
            limits=settings.limits,
            run=run,
            formats=FORMATS,
            observe=self.metrics.observe,
        )
        self._stack = ExitStack()

    def open(self) -> None:
        """Claim the data folder and start the worker.

        Raises:
            OSError: the folder cannot be used, or another process uses it.
        """
        self._stack.enter_context(self.folders)
        self._worker.start()
        self._stack.callback(self._worker.stop, _STOP_S)

    def close(self) -> None:
        """Cancel what is left, and leave no file."""
        self._stack.close()

    def check_ready(self) -> None:
        """Raise `EngineUnavailable` where a study could not be segmented now."""
        if not self.engine.is_ready():
            raise EngineUnavailable("The models are not ready. Try again in a moment.")


def model_card(repository: Path, model: Model) -> str | None:
    """The card's text; its file name comes from the model's configuration and is no way out of the model's folder."""
    card = repository / model.name / Path(model.contract.model_card).name
    return card.read_text(encoding="utf-8", errors="replace") if card.is_file() else None
