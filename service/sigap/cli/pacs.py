"""`sigap pacs`: whether the PACS answers, a series out of it, files into it, and results that it has not taken."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sigap.cli import pacs_deliveries, pacs_received, terminal
from sigap.cli.failure import Failure
from sigap.core.errors import InputError, SigapError, UnreadableInput

if TYPE_CHECKING:
    from sigap.dicomnet.configuration import Pacs
    from sigap.settings import Settings

NAME = "pacs"
app = typer.Typer(
    no_args_is_help=True,
    help="Talk to the PACS: echo, pull, push; look after deliveries. SIGAP_PACS names the file with all of them.",
    epilog="[bold]sigap pacs COMMAND --help[/bold] explains a command by example.",
)

app.command("deliveries", epilog=pacs_deliveries.DELIVERIES_EXAMPLES)(pacs_deliveries.deliveries)
app.command("retry", epilog=pacs_deliveries.RETRY_EXAMPLES)(pacs_deliveries.retry)
app.command("received", epilog=pacs_received.RECEIVED_EXAMPLES)(pacs_received.received)
app.command("choose", epilog=pacs_received.CHOOSE_EXAMPLES)(pacs_received.choose)
app.command("dismiss", epilog=pacs_received.DISMISS_EXAMPLES)(pacs_received.dismiss)

Uid = Annotated[str, typer.Argument(metavar="STUDY_UID", help="Study Instance UID.")]
SeriesUid = Annotated[
    str | None, typer.Option(metavar="UID", help="This series; else the one axial CT of the study.", show_default=False)
]
Names = Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Sources and peers; none: all of them.")]
Inputs = Annotated[list[Path], typer.Argument(metavar="PATH...", exists=True, help="DICOM files, or folders of them.")]


@app.command(
    "echo",
    epilog="""[bold]Examples[/bold]

[cyan]sigap pacs echo[/cyan]
    every source and peer

[cyan]sigap pacs echo archive[/cyan]""",
)
def echo(names: Names = None) -> None:
    """Find out who answers: C-ECHO to a peer, a query to a DICOMweb server."""
    from sigap.dicomnet import destinations

    has_failed = False
    with configured() as (_, pacs):
        for name in names or sorted([*pacs.sources, *pacs.peers]):
            try:
                destinations.echo(destinations.destination(pacs, name))
            except SigapError as error:
                terminal.complain(f"{name}: {error.message}")
                has_failed = True
            else:
                typer.echo(f"{name} answers")
    if has_failed:
        raise typer.Exit(terminal.FAILED)


@app.command(
    "pull",
    epilog="""[bold]Examples[/bold]

[cyan]sigap pacs pull archive 1.2.840.113619.2.55.3 --out study[/cyan]
    the one axial CT series of the study; of several, they are listed

[cyan]sigap pacs pull archive 1.2.840.113619.2.55.3 --series-uid 1.2.840.113619.2.55.3.4 --out study[/cyan]""",
)
def pull(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="Name of a DICOMweb server.")],
    study_uid: Uid,
    out: Annotated[Path, typer.Option(metavar="DIR", help="A new folder for the files.", show_default=False)],
    series_uid: SeriesUid = None,
) -> None:
    """Fetch a CT series whole, or not at all."""
    from sigap.cli.pulled import folder_sink
    from sigap.dicomnet import destinations
    from sigap.dicomnet.dicomweb import DicomWeb
    from sigap.dicomnet.pull import UID, choose_series, pull_series

    for uid in filter(None, (study_uid, series_uid)):
        if not UID.fullmatch(uid):
            terminal.refuse_usage(f"{uid} is no UID: digits and dots, at most 64 characters.")
    if out.exists():
        terminal.refuse_usage(f"{out} is there already; name a new folder.")
    with configured() as (settings, pacs):
        with _files_that_fail(), DicomWeb(destinations.source(pacs, source)) as client, folder_sink(out) as sink:
            series = choose_series(client, study_uid, series_uid)
            count = pull_series(
                client, study_uid, series, sink, limits=settings.limits, limit_bytes=settings.max_upload_bytes
            )
        typer.echo(f"{count} {'file' if count == 1 else 'files'} of series {series.uid} in {out}")


@app.command(
    "push",
    epilog="""[bold]Examples[/bold]

[cyan]sigap pacs push archive result/seg.dcm result/sr.dcm[/cyan]

[cyan]sigap pacs push archive study[/cyan]
    all files of a folder""",
)
def push(
    destination: Annotated[str, typer.Argument(metavar="NAME", help="A source (STOW-RS) or a peer (C-STORE).")],
    inputs: Inputs,
) -> None:
    """Store DICOM files in the PACS."""
    from sigap.cli.inputs import collect
    from sigap.dicomnet import destinations

    try:
        with _files_that_fail():
            paths = [file.path for path in inputs for file in collect(path)]
    except UnreadableInput as error:
        terminal.refuse_usage(error.message)
    with configured() as (_, pacs):
        target = destinations.destination(pacs, destination)
        with _files_that_fail():
            uids = [_uid(path) for path in paths]
        destinations.check_stored(destinations.send(target, paths), uids)
        typer.echo(f"{destination} has taken {len(paths)} {'file' if len(paths) == 1 else 'files'}")


def _uid(path: Path) -> str:
    from sigap.dicomnet.dimse import instance_uid

    try:
        return instance_uid(path)
    except InputError as error:
        raise InputError(f"{path}: {error.message}", slug=error.slug) from error


@contextmanager
def _files_that_fail() -> Iterator[None]:
    """What this machine's files refuse is said in a sentence."""
    try:
        yield
    except OSError as error:
        terminal.complain(Failure.of(error).message)
        raise typer.Exit(terminal.FAILED) from error


@contextmanager
def configured() -> Iterator[tuple[Settings, Pacs]]:
    """The settings and the PACS file; our own errors end the command in a sentence."""
    from sigap.dicomnet.configuration import PacsFileError, read_pacs

    settings = terminal.read_settings()
    if settings.pacs is None:
        terminal.refuse_usage("SIGAP_PACS names no file, so there is no PACS to talk to. See docs/pacs.md.")
    try:
        pacs = read_pacs(settings.pacs)
    except PacsFileError as error:
        terminal.refuse_usage(f"SIGAP_PACS: {error}")
    with terminal.plain_errors():
        yield settings, pacs


def received_folder(settings: Settings) -> Path:
    """Where the receiver keeps what it takes, unless the PACS file says so."""
    return settings.data / "received"
