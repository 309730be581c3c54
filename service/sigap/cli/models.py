"""`sigap models`: the tasks of the model repository, or of the Triton servers. Reads contracts: torch stays out."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sigap.cli import options, terminal
from sigap.core.errors import EngineUnavailable

if TYPE_CHECKING:
    from sigap.core.contract import Model
    from sigap.settings import Settings

NAME = "models"
EXAMPLES = """[bold]Examples[/bold]

[cyan]sigap models[/cyan]

[cyan]sigap models --json | jq -r '.models[].name'[/cyan]"""


def command(
    models: options.Models = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print them as GET /models does.")] = False,
) -> None:
    """List the tasks, their labels and model versions."""
    settings = terminal.read_settings(models=models)
    with terminal.plain_errors():
        found = _find(settings, is_repository=models is not None or settings.engine == "torchscript")
    if as_json:
        _print_json(found, settings.models)
    else:
        _print_table(found)


def _find(settings: Settings, *, is_repository: bool) -> Sequence[Model]:
    if is_repository:
        from sigap.engines.repository import read_repository

        return read_repository(settings.models)
    with closing(options.open_engine(settings)) as engine:
        found = engine.models()
    if not found:
        raise EngineUnavailable("No Triton server of SIGAP_TRITON_URL answers with a model of Sigap's.")
    return found


def _print_json(found: Sequence[Model], repository: Path) -> None:
    from sigap.api.gateway import model_card
    from sigap.api.information import ModelEntry, Models

    entries = [ModelEntry.of(model, model_card(repository, model)) for model in found]
    typer.echo(Models.of(entries).model_dump_json(indent=1))


def _print_table(found: Sequence[Model]) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("task", "version", "labels", "window", "SHA-256"):
        table.add_column(heading, overflow="fold")
    for model in found:
        contract = model.contract
        labels = ", ".join(label.name for label in contract.labels)
        window = f"level {contract.level_hu:g}, width {contract.width_hu:g} HU"
        table.add_row(model.name, model.version, labels, window, model.sha256[:12])
    terminal.stdout().print(table, markup=False)
