"""Options that several commands share, checked by the same rules as HTTP's query."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sigap.cli import terminal

if TYPE_CHECKING:
    from sigap.engines.engine import Engine
    from sigap.pipeline import RunOptions
    from sigap.settings import Settings

# A command waits so long for a Triton server, and then says that there is none.
_FIRST_ANSWER_S = 10.0

SeriesUid = Annotated[
    str | None,
    typer.Option(metavar="UID", help="DICOM: take this series, where there are several.", show_default=False),
]
Acquisition = Annotated[
    str | None,
    typer.Option(metavar="KEY", help="DICOM: take this one of interleaved acquisitions, as the refusal listed it."),
]
PixelSpacing = Annotated[
    str | None, typer.Option(metavar="MM[,MM]", help="PNG, JPEG: distance of the pixels, for numbers in mm².")
]
SliceThickness = Annotated[float | None, typer.Option(metavar="MM", help="PNG, JPEG: thickness of the slice, for mL.")]
Models = Annotated[
    Path | None,
    typer.Option(
        exists=True, file_okay=False, help="Model repository: a folder with one folder a task. Else SIGAP_MODELS."
    ),
]


def run_options(**asked: Any) -> RunOptions:
    """What the pipeline is asked for beyond the defaults; a value that makes no sense is a wrong call."""
    from pydantic import ValidationError

    from sigap.api.parameters import SegmentOptions

    try:
        return SegmentOptions(**asked).run_options()
    except ValidationError as error:
        fault = error.errors(include_input=False)[0]
        option = str(fault["loc"][0]).replace("_", "-")
        terminal.refuse_usage(f"--{option}: {fault['msg'].removeprefix('Value error, ')}.")


def open_engine(settings: Settings) -> Engine:
    """The engine that the settings name."""
    from sigap.engines.choice import open_engine

    terminal.log_on_stderr()
    return open_engine(
        settings.engine,
        models=settings.models,
        servers=settings.triton_addresses,
        timeout_s=settings.request_timeout_s,
        wait_s=_FIRST_ANSWER_S,
    )
