"""The command line (CONTRACT, section 7): `segment | inspect | serve | listen | models | jobs | keys | pacs | config`.

Modules are light to import: a command imports what it needs when it runs; `sigap --help` does not wait for torch.
"""

from __future__ import annotations

from typing import Annotated

import typer

from sigap import __version__
from sigap.cli import config, inspect, jobs, keys, listen, models, pacs, segment, serve

app = typer.Typer(
    name="sigap",
    no_args_is_help=True,
    add_completion=False,
    # A traceback that shows variables could show patient data.
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    epilog="[bold]sigap COMMAND --help[/bold] explains a command by example. Research use only: not a medical device.",
)
for module in (segment, inspect, serve, listen, models, config):
    app.command(module.NAME, epilog=module.EXAMPLES)(module.command)
app.add_typer(jobs.app, name=jobs.NAME)
app.add_typer(keys.app, name=keys.NAME)
app.add_typer(pacs.app, name=pacs.NAME)


def _print_version(is_wanted: bool) -> None:
    if is_wanted:
        typer.echo(f"sigap {__version__}")
        raise typer.Exit


@app.callback()
def _sigap(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """A CT goes in, masks and millilitres come out.

    NIfTI, DICOM (a file, a folder, a zip), PNG or JPEG, told apart by content.
    """


def main() -> None:
    """The console script `sigap`."""
    app()
