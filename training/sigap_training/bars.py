"""Progress bars on standard error for work that takes a while before training starts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

from rich.console import Console
from rich.progress import track

StepT = TypeVar("StepT")


def bar(steps: Sequence[StepT], what: str) -> Iterator[StepT]:
    """The steps, with a bar that is gone when they are done; nothing is drawn where nobody looks."""
    console = Console(stderr=True)
    yield from track(steps, what, console=console, transient=True, disable=not console.is_terminal)
