"""`sigap serve`: the HTTP gateway."""

from __future__ import annotations

from typing import Annotated

import typer

from sigap.cli import options, terminal

NAME = "serve"
EXAMPLES = """[bold]Examples[/bold]

[cyan]sigap serve[/cyan]
    on 127.0.0.1:8000; the API's documentation is at /docs

[cyan]SIGAP_MEMORY_MB=12288 sigap serve --port 8080[/cyan]
    all settings: [bold]sigap config[/bold]"""


def command(
    host: Annotated[str | None, typer.Option(help="Address to listen on. Else SIGAP_HOST.", show_default=False)] = None,
    port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="TCP port; 0 takes a free one. Else SIGAP_PORT.", show_default=False),
    ] = None,
    models: options.Models = None,
) -> None:
    """Answer over HTTP: POST /segment/TASK."""
    settings = terminal.read_settings(host=host, port=port, models=models)
    terminal.log_on_stderr()
    with terminal.plain_errors():
        from sigap.api.server import serve
        from sigap.settings import SettingsError

        try:
            serve(settings)
        except SettingsError as error:
            terminal.refuse_usage(str(error))
