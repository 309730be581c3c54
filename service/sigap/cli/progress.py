"""The progress bar on stderr: which input of how many, which stage, which slice."""

from __future__ import annotations

from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from sigap.pipeline import Progress as Step


class ProgressBar:
    """Shown while it is entered; nothing where stderr is no terminal."""

    def __init__(self, console: Console, *, inputs: int, is_quiet: bool) -> None:
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            disable=is_quiet or not console.is_terminal,
        )
        self._inputs = inputs
        self._position = 0
        self._task = self._bar.add_task("load the models", total=None)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def next_input(self) -> None:
        """The next input begins."""
        self._position += 1
        self._bar.reset(self._task, description=self._title("decode"), total=None)

    def show(self, step: Step) -> None:
        """What the pipeline reports."""
        total = step.slices_total or None
        self._bar.update(self._task, description=self._title(step.stage), completed=step.slices_done, total=total)

    def _title(self, stage: str) -> str:
        return stage if self._inputs == 1 else f"{self._position}/{self._inputs} {stage}"
