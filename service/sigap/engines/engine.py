"""The seam between the pipeline and whatever runs the models."""

from __future__ import annotations

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
        """The newest version of every task, by name."""
        ...

    def model(self, task: str) -> Model:
        """The newest version of one task.

        Raises:
            UnknownTask: there is none.
        """
        ...

    def is_ready(self) -> bool:
        """Whether every model would answer now."""
        ...

    def infer(self, model: Model, slices: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Run one batch.

        Args:
            model: one of `models()`.
            slices: (n, K, rows, columns), windowed, canonical orientation; n ≤ `model.max_batch_size`.

        Returns:
            (n, labels, rows, columns), round(255 · probability).

        Raises:
            EngineUnavailable: the engine cannot answer now.
            TooLarge: slices of this size need more memory than there is.
            ModelError: the model fails on them, or answers in another form.
        """
        ...

    def close(self) -> None:
        """Give back what the engine holds."""
        ...
