"""`sigap pacs deliveries` and `retry`: results that the PACS has not taken yet, whether a server runs or not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from sigap.cli import terminal
from sigap.cli.jobs import Ids, check_ids, whole_id
from sigap.core.errors import SigapError, UnknownJob

if TYPE_CHECKING:
    from sigap.jobs.deliveries import Deliveries
    from sigap.jobs.delivery import Delivery
    from sigap.jobs.store import JobStore

DELIVERIES_EXAMPLES = """[bold]Examples[/bold]

[cyan]sigap pacs deliveries[/cyan]

[cyan]sigap pacs deliveries --json | jq -r '.deliveries[] | select(.state == "failed") | .job'[/cyan]"""
RETRY_EXAMPLES = """[bold]Examples[/bold]

[cyan]sigap pacs retry 3f9c01aa[/cyan]
    send that job's result again, to wherever it has not arrived"""


def deliveries(
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="At most so many.")] = 100,
    as_json: Annotated[bool, typer.Option("--json", help="Print them as one JSON object.")] = False,
) -> None:
    """List results that are not delivered: those that wait for their next try, and those given up."""
    with _store() as opened:
        found = [] if opened is None else opened[1].undelivered(limit)
    if as_json:
        entries = [{"job": one.job, **one.as_json()} for one in found]
        typer.echo(json.dumps({"deliveries": entries}, indent=1))
    elif found:
        terminal.stdout().print(_table(found))
    else:
        terminal.stderr().print("Every result is where it belongs.")


def retry(job_ids: Ids) -> None:
    """Send results again that were given up, or that wait for their next try."""
    check_ids(job_ids)
    has_failed = False
    with _store() as opened:
        if opened is None:
            raise UnknownJob
        store, here = opened
        for beginning in dict.fromkeys(job_ids):
            try:
                job_id = whole_id(store, beginning)
                count = here.retry(job_id)
            except SigapError as error:
                terminal.complain(f"{beginning}: {error.message}")
                has_failed = True
            else:
                typer.echo(f"{job_id}: {count} {'delivery' if count == 1 else 'deliveries'} due now")
    if has_failed:
        raise typer.Exit(terminal.FAILED)


@contextmanager
def _store() -> Iterator[tuple[JobStore, Deliveries] | None]:
    settings = terminal.read_settings()
    with terminal.plain_errors():
        from sigap.jobs.deliveries import Deliveries
        from sigap.jobs.storage import storage
        from sigap.jobs.store import JobStore

        here = storage(settings.data, settings.database_address, quota_bytes=settings.quota_bytes)
        with here.visited() as is_made:
            yield (JobStore(here, queue_length=settings.queue_length), Deliveries(here)) if is_made else None


def _table(found: list[Delivery]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("job", "destination", "state", "attempts", "why"):
        table.add_column(heading, overflow="fold")
    for one in found:
        why = "" if one.problem is None else str(one.problem["detail"])
        state = "[bold red]failed[/]" if one.state == "failed" else one.state
        table.add_row(one.job[:12], one.destination, state, str(one.attempts), escape(why))
    return table
