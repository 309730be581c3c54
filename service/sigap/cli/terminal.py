"""What the commands say, and how they end: answers on stdout, everything about the work on stderr."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn

import typer
from rich.console import Console
from rich.markup import escape

from sigap.core.errors import SigapError, UnknownTask

if TYPE_CHECKING:
    from sigap.settings import Settings

FAILED, USAGE = 1, 2
# A pipe or a file has no width of its own: rich would fold a table to 80 columns there and a program could not read it.
_FILE_WIDTH = 200


def stdout() -> Console:
    """For answers."""
    console = Console(highlight=False)
    return console if console.is_terminal or "COLUMNS" in os.environ else Console(highlight=False, width=_FILE_WIDTH)


def stderr() -> Console:
    """For errors and progress."""
    return Console(stderr=True, highlight=False, soft_wrap=True)


def complain(message: str) -> None:
    """Say an error on stderr."""
    stderr().print(f"[bold red]Error:[/] {escape(message)}")


def warn(message: str) -> None:
    """Say a warning on stderr."""
    stderr().print(f"[bold yellow]Warning:[/] {escape(message)}")


def refuse_usage(message: str) -> NoReturn:
    """End with the exit status of a wrong call."""
    complain(message)
    raise typer.Exit(USAGE)


def log_on_stderr() -> None:
    """Have what the layers below warn of said there too: structlog's own way is stdout, which is for answers."""
    import structlog

    structlog.configure(
        processors=[structlog.dev.ConsoleRenderer(colors=False)],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )


@contextmanager
def plain_errors() -> Iterator[None]:
    """Say our own errors in a sentence and end with their exit status; all others keep their traceback."""
    try:
        yield
    except UnknownTask as error:
        refuse_usage(error.message)
    except SigapError as error:
        complain(error.message)
        raise typer.Exit(FAILED) from error


def read_settings(**overrides: object) -> Settings:
    """The settings of the environment, options of the command line first; a fault in them is a wrong call."""
    from sigap.settings import SettingsError, read_settings, unknown_variables

    for name, meant in unknown_variables().items():
        warn(f"{name} is no setting of Sigap." + (f" Was {meant} meant?" if meant else ""))
    try:
        return read_settings(**overrides)
    except SettingsError as error:
        refuse_usage(str(error))
