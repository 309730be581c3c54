"""The seam between the pipeline and whatever runs the models."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from sigap.core.contract import Model


class Engine(Protocol):
    """Runs models; the pipeline knows nothing else about them. Safe to call from several threads."""

    @property
    def name(self) -> str:
        """What a report's provenance says, e.g. `torchscript`."""
        ...

    def models(self) -> tuple[Model, ...]:
        """The newest version of every task, by name. They may change while the engine runs."""
        ...

    def model(self, task: str) -> Model:
        """The newest version of one task.

        Raises:
            UnknownTask: there is none.
            EngineUnavailable: the engine does not know its tasks yet.
        """
        ...

    def is_ready(self, task: str | None = None) -> bool:
        """Whether this task's model, or every model, would answer now. Says it at once."""
        ...

    def infer(self, model: Model, slices: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Run one batch.

        Args:
            model: one of `models()`, now or earlier: it names the version that answers.
            slices: (n, K, rows, columns), windowed, canonical orientation; n ≤ `model.max_batch_size`.

        Returns:
            (n, labels, rows, columns), round(255 · probability).

        Raises:
            EngineUnavailable: the engine cannot answer now.
            ModelReplaced: it serves another version instead.
            DeadlineExceeded: it takes longer than one volume may.
            TooLarge: slices of this size need more memory than there is.
            ModelError: the model fails on them, or answers in another form.
        """
        ...

    def infer_all(
        self, model: Model, batches: Iterable[NDArray[np.uint8]], *, check: Callable[[], None]
    ) -> Generator[NDArray[np.uint8], None, None]:
        """Run all batches of a volume, each answered by the same version of the model.

        An engine may take a few batches ahead, so that it works on one while the caller makes the next. What it has
        taken is given up when the iterator is closed.

        Args:
            model: as of `infer`.
            batches: as of `infer`; made when they are needed.
            check: called every now and then during a long wait for an answer; what it raises ends the iteration.

        Yields:
            The answers, in order.

        Raises:
            SigapError: as of `infer`.
        """
        del check  # a batch that runs in this process is not interrupted
        for batch in batches:
            yield self.infer(model, batch)

    def close(self) -> None:
        """Give back what the engine holds."""
        ...
