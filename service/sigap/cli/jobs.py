"""`sigap jobs`: what a hospital's administrator asks of the job store, whether a server runs beside it or not."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from sigap.cli import job_tables, terminal
from sigap.core.errors import BadParameter, DatabaseUnavailable, SigapError, UnknownJob

if TYPE_CHECKING:
    from sigap.jobs.store import JobStore

NAME = "jobs"
app = typer.Typer(
    no_args_is_help=True,
    help="Look after jobs: list, show, cancel, retry, erase. Works on SIGAP_DATA or SIGAP_DATABASE_URL itself.",
    epilog="[bold]sigap jobs COMMAND --help[/bold] explains a command by example.",
)

# Shorter beginnings are soon another job's.
_ID = re.compile("[0-9a-f]{8,32}")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}

# Written out, since the store's own names would bring its database along; a test holds both equal.
State = Literal["queued", "running", "succeeded", "failed", "cancelled", "dead"]
Priority = Literal["emergency", "routine", "batch"]
Id = Annotated[str, typer.Argument(metavar="ID", help="A job's id, or its first eight characters and more.")]
Ids = Annotated[list[str], typer.Argument(metavar="ID...", help="Ids of jobs, or their beginnings.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print what GET /jobs answers.")]


@app.command(
    "list",
    epilog="""[bold]Examples[/bold]

[cyan]sigap jobs list[/cyan]

[cyan]sigap jobs list --state dead[/cyan]
    what somebody should look at

[cyan]sigap jobs list --task liver --json | jq -r '.jobs[].id'[/cyan]""",
)
def list_jobs(
    state: Annotated[State | None, typer.Option(help="Only in this state.", show_default=False)] = None,
    task: Annotated[str | None, typer.Option(metavar="TASK", help="Only of this task.", show_default=False)] = None,
    priority: Annotated[Priority | None, typer.Option(help="Only of this priority.", show_default=False)] = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="At most so many.")] = 20,
    as_json: AsJson = False,
) -> None:
    """List jobs, the newest first."""
    with _store() as store:
        states = () if state is None else (state,)
        jobs = [] if store is None else store.page(states=states, task=task, priority=priority, limit=limit + 1)
    page, has_more = jobs[:limit], len(jobs) > limit
    if as_json:
        following = str(page[-1].number) if has_more else None
        typer.echo(json.dumps({"jobs": [job.as_json() for job in page], "next": following}, indent=1))
    elif page:
        terminal.stdout().print(job_tables.overview(page))
    else:
        terminal.stderr().print("No such jobs." if state or task or priority else "No jobs yet.")
    if has_more and not as_json:
        terminal.stderr().print(f"Only the newest {limit}: there are more. See --limit.")


@app.command(
    "show",
    epilog="""[bold]Examples[/bold]

[cyan]sigap jobs show 3f9c01aa[/cyan]

[cyan]sigap jobs show 3f9c01aa --json | jq .problem[/cyan]""",
)
def show(job_id: Id, as_json: AsJson = False) -> None:
    """Show one job: how far it is, or what it came to and why."""
    check_ids([job_id])
    with _known_store() as store:
        job = store.get(whole_id(store, job_id))
    if as_json:
        typer.echo(json.dumps(job.as_json(), indent=1))
    else:
        terminal.stdout().print(job_tables.details(job))


@app.command(
    "cancel",
    epilog="""[bold]Examples[/bold]

[cyan]sigap jobs cancel 3f9c01aa 77aa01bc[/cyan]

[cyan]sigap jobs list --state queued --json | jq -r '.jobs[].id' | xargs -r sigap jobs cancel[/cyan]""",
)
def cancel(job_ids: Ids) -> None:
    """End jobs that wait or run, and delete their uploads. Work on one that runs ends at its next slice batch."""
    _each(job_ids, "Cancelled", lambda store, job_id: store.cancel(job_id))


@app.command(
    "retry",
    epilog="""[bold]Examples[/bold]

[cyan]sigap jobs retry 3f9c01aa[/cyan]

[cyan]sigap jobs list --state dead --json | jq -r '.jobs[].id' | xargs -r sigap jobs retry[/cyan]""",
)
def retry(job_ids: Ids) -> None:
    """Put dead letters back into the queue. Only they keep their uploads: send a failed or cancelled study again."""
    _each(job_ids, "Queued", lambda store, job_id: store.retry(job_id))


@app.command(
    "erase",
    epilog="""[bold]Examples[/bold]

[cyan]sigap jobs erase 3f9c01aa[/cyan]

[cyan]sigap jobs erase --older-than 7d[/cyan]
    everything that ended more than a week ago: s, m, h, d""",
)
def erase(
    job_ids: Annotated[
        list[str] | None, typer.Argument(metavar="ID...", help="Ids of jobs, or their beginnings.", show_default=False)
    ] = None,
    older_than: Annotated[
        str | None, typer.Option(metavar="AGE", help="All jobs that ended so long ago.", show_default=False)
    ] = None,
) -> None:
    """Delete ended jobs for good: upload, result and record."""
    if bool(job_ids) == (older_than is not None):
        terminal.refuse_usage("Give either ids or --older-than.")
    if older_than is None:
        _each(job_ids or (), "Erased", lambda store, job_id: store.erase(job_id))
        return
    age_s = _age_s(older_than)
    with _store() as store:
        count = 0 if store is None else store.expire(age_s)
    typer.echo(f"Erased {count} {'job' if count == 1 else 'jobs'}.")


@contextmanager
def _store() -> Iterator[JobStore | None]:
    """The store, for as long as a command needs it; None where nothing has ever been stored."""
    settings = terminal.read_settings()
    with terminal.plain_errors():
        from sigap.jobs.storage import storage
        from sigap.jobs.store import JobStore

        here = storage(settings.data, settings.database_address, quota_bytes=settings.quota_bytes)
        with here.visited() as is_made:
            yield JobStore(here, queue_length=settings.queue_length) if is_made else None


@contextmanager
def _known_store() -> Iterator[JobStore]:
    """The store, for commands about jobs that must be there."""
    with _store() as store:
        if store is None:
            raise UnknownJob
        yield store


def _each(beginnings: Sequence[str], done: str, change: Callable[[JobStore, str], object]) -> None:
    """Change one job after the other; one that cannot be changed does not keep the others from it."""
    check_ids(beginnings)
    has_failed = False
    with _known_store() as store:
        for beginning in dict.fromkeys(beginnings):
            try:
                job_id = whole_id(store, beginning)
                change(store, job_id)
            except DatabaseUnavailable:
                raise
            except SigapError as error:
                terminal.complain(f"{beginning}: {error.message}")
                has_failed = True
            else:
                typer.echo(f"{done} {job_id}")
    if has_failed:
        raise typer.Exit(terminal.FAILED)


def check_ids(beginnings: Sequence[str]) -> None:
    """Refuse what can be no job's id."""
    for beginning in beginnings:
        if not _ID.fullmatch(beginning):
            terminal.refuse_usage(f"{beginning} is no job's id: 32 characters, 0-9 and a-f, or at least eight of them.")


def whole_id(store: JobStore, beginning: str) -> str:
    """The one id that begins so; raises `UnknownJob`."""
    found = store.ids(beginning)
    if not found:
        raise UnknownJob
    if len(found) > 1:
        raise BadParameter("Several jobs' ids begin so. Give more of it.")
    return found[0]


def _age_s(age: str) -> float:
    """Seconds of `90m`, `7d`."""
    match = re.fullmatch(r"([0-9]{1,6})([smhd])", age)
    if match is None:
        terminal.refuse_usage(f"--older-than: {age} is no age. Write a number and s, m, h or d, as in 7d.")
    return float(match[1]) * _SECONDS[match[2]]
