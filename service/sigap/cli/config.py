"""`sigap config`: every setting and its value, secrets masked."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from sigap.cli import terminal

NAME = "config"
EXAMPLES = """[bold]Examples[/bold]

[cyan]sigap config[/cyan]

[cyan]SIGAP_PORT=8080 sigap config --json | jq -r .SIGAP_PORT[/cyan]"""


def command(
    as_json: Annotated[bool, typer.Option("--json", help="Print them as one JSON object.")] = False,
) -> None:
    """Show all settings: environment variables SIGAP_*, what they mean, and what holds now. Secrets are masked."""
    from rich.table import Table

    from sigap.settings import Settings, variable

    shown = terminal.read_settings().shown()
    if as_json:
        typer.echo(json.dumps(shown, indent=1))
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("variable", "value", "meaning"):
        table.add_column(heading, overflow="fold")
    for name, field in Settings.model_fields.items():
        table.add_row(variable(name), shown[variable(name)], field.description)
    terminal.stdout().print(table, markup=False)
