"""Jobs as tables for people."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from sigap.jobs.job import Job

_STYLES = {"running": "cyan", "succeeded": "green", "failed": "red", "dead": "bold red"}
_BEGINNING = 12


def overview(jobs: Sequence[Job]) -> Table:
    """A row for each job."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("id", "state", "owner", "task", "priority", "progress", "attempts", "created"):
        table.add_column(heading, overflow="fold")
    for job in jobs:
        table.add_row(
            job.id[:_BEGINNING],
            _state(job),
            job.owner or "",
            escape(job.task),
            job.priority,
            escape(_progress(job)),
            str(job.attempts),
            _time(job.created_at),
        )
    return table


def details(job: Job) -> Table:
    """A row for each thing that is known of one job."""
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, value in _details(job).items():
        table.add_row(name, value)
    return table


def _details(job: Job) -> dict[str, str]:
    known = {
        "id": job.id,
        "state": _state(job),
        "owner": job.owner or "",
        "task": escape(job.task),
        "priority": job.priority,
        "progress": escape(_progress(job)),
        "attempts": str(job.attempts),
        "created": _time(job.created_at),
        "started": _time(job.started_at),
        "finished": _time(job.finished_at),
    }
    if job.options.as_json():
        known["options"] = escape(", ".join(f"{name} {value}" for name, value in job.options.as_json().items()))
    if job.problem is not None:
        known["problem"] = escape(f"{job.problem['title']} ({job.problem['status']})")
        known["detail"] = escape(job.problem["detail"])
    return {name: value for name, value in known.items() if value}


def _state(job: Job) -> str:
    style = _STYLES.get(job.state)
    return f"[{style}]{job.state}[/]" if style else job.state


def _progress(job: Job) -> str:
    if job.state == "queued":
        return f"place {job.queue_position} in the queue"
    if job.state == "running":
        slices = f" {job.slices_done}/{job.slices_total}" if job.slices_total else ""
        return f"{job.stage}{slices}"
    if job.problem is not None:
        return str(job.problem["title"])
    return "the result of an equal job" if job.is_reused else ""


def _time(seconds: float | None) -> str:
    """By the clock on this machine's wall."""
    return "" if seconds is None else datetime.fromtimestamp(seconds).astimezone().isoformat(" ", "seconds")
