"""`sigap pacs received`, `choose` and `dismiss`: studies of the receiver that wait for a person."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from sigap.cli import terminal
from sigap.core.errors import BadParameter, SigapError

if TYPE_CHECKING:
    from sigap.dicomnet.spool import Spool, SpooledStudy, StudyState

RECEIVED_EXAMPLES = """[bold]Examples[/bold]

[cyan]sigap pacs received[/cyan]
    studies that need a choice, with their series

[cyan]sigap pacs received --all --json | jq '.studies | length'[/cyan]"""
CHOOSE_EXAMPLES = """[bold]Examples[/bold]

[cyan]sigap pacs choose 3f9c01aa liver 1.2.840.113619.2.55.3.4[/cyan]
    segment that series of the study, and send the result where the rules of liver say"""
DISMISS_EXAMPLES = """[bold]Examples[/bold]

[cyan]sigap pacs dismiss 3f9c01aa[/cyan]"""

StudyId = Annotated[str, typer.Argument(metavar="STUDY", help="A received study's id, or its first characters.")]


def received(
    everything: Annotated[bool, typer.Option("--all", help="Also those that need nobody.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print them as one JSON object.")] = False,
) -> None:
    """List received studies that need a choice: no rule decides, or the gateway does not take them."""
    with _spool() as spool:
        found = [(study, study.state()) for study in spool.studies()]
        wanted = [(study, state) for study, state in found if everything or state.needs_person]
        entries = [_entry(study, state) for study, state in wanted]
    if as_json:
        typer.echo(json.dumps({"studies": entries}, indent=1))
    elif entries:
        terminal.stdout().print(_table(entries))
    else:
        terminal.stderr().print("No received study needs a choice.")


def choose(
    study_id: StudyId,
    task: Annotated[str, typer.Argument(metavar="TASK", help="Which task; see `sigap models`.")],
    series_uid: Annotated[str, typer.Argument(metavar="SERIES_UID", help="Which series.")],
) -> None:
    """Say which series of a received study is segmented for a task."""
    with _spool() as spool:
        study = _find(spool, study_id)
        _check_series(study, series_uid)
        with study.changing() as held:
            # It is decided about anew, with this choice; a handover that was refused is tried again.
            kept = tuple(one for one in held[0].handovers if not one.problem)
            choices = {**held[0].choices, task: series_uid}
            held[0] = replace(held[0], seen="", handovers=kept, choices=choices, is_dismissed=False)
    typer.echo(f"{study.id}: {series_uid} for {task}")


def dismiss(study_id: StudyId) -> None:
    """Want nothing of a received study; it is deleted when its time is over."""
    with _spool() as spool:
        study = _find(spool, study_id)
        with study.changing() as held:
            held[0] = replace(held[0], is_dismissed=True)
    typer.echo(f"{study.id}: dismissed")


def _check_series(study: SpooledStudy, series_uid: str) -> None:
    """Refuse a series that the study does not have: a slip would be found only when it is handed over."""
    from sigap.dicomnet.rules import read_series

    found = {one.uid for one in read_series(study.files().values(), terminal.read_settings().limits)}
    if series_uid not in found:
        raise BadParameter(f"The study has no such series. It has: {', '.join(sorted(found)) or 'none'}.")


@contextmanager
def _spool() -> Iterator[Spool]:
    from sigap.cli.pacs import configured, received_folder
    from sigap.dicomnet.listener import spool_of

    with configured() as (settings, pacs):
        if pacs.listener is None:
            terminal.refuse_usage("SIGAP_PACS: the file has no [listener]. See docs/pacs.md.")
        yield spool_of(pacs.listener, received_folder(settings))


def _find(spool: Spool, beginning: str) -> SpooledStudy:
    found = [study for study in spool.studies() if beginning and study.id.startswith(beginning)]
    if len(found) > 1:
        raise BadParameter("Several studies' ids begin so. Give more of it.")
    if not found:
        raise SigapError("There is no such received study.")
    return found[0]


def _entry(study: SpooledStudy, state: StudyState) -> dict[str, Any]:
    return {
        "id": study.id,
        "files": len(study.files()),
        "is_dismissed": state.is_dismissed,
        "undecided": [{"task": one.task, "why": one.why, "series": list(one.series)} for one in state.undecided],
        "handovers": [
            {"task": one.task, "series_uid": one.series_uid, "job": one.job, "problem": one.problem}
            for one in state.handovers
        ],
    }


def _table(entries: list[dict[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("study", "task", "series", "slices", "mm", "kernel", "description", "why"):
        table.add_column(heading, overflow="fold")
    for entry in entries:
        for row in _rows(entry):
            table.add_row(entry["id"][:12], *(escape(str("" if cell is None else cell)) for cell in row))
    return table


def _rows(entry: dict[str, Any]) -> Iterator[tuple[Any, ...]]:
    for one in entry["undecided"]:
        for series in one["series"] or [{}]:
            keys = ("series_uid", "slices", "thickness_mm", "kernel", "description")
            yield (one["task"], *(series.get(key) for key in keys), one["why"])
    for done in entry["handovers"]:
        why = done["problem"] or (f"job {done['job'][:12]}" if done["job"] else "about to be handed over")
        yield (done["task"], done["series_uid"], None, None, None, None, why)
