"""What became of each input: one row of the summary table and of summary.csv."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from rich.markup import escape
from rich.table import Table

from sigap.core.result import Result

FILENAME = "summary.csv"
_STYLES = {"done": "green", "refused": "yellow", "failed": "red"}


State = Literal["done", "refused", "failed"]


@dataclass(frozen=True)
class Outcome:
    """One input's fate.

    Attributes:
        input: as the command line named it.
        state: refused: it cannot be answered as it is; failed: it may be no fault of the input.
        folder: where the answer lies.
        geometry: the verdict, where there is one.
        remarks: codes of the geometry's reasons and of the answer's warnings.
        problem: the error's slug.
        message: what was detected, or what went wrong, in a sentence.
        numbers: by column: millilitres of each label, lesions, measures.
        seconds: that it took.
    """

    input: str
    state: State
    folder: str = ""
    geometry: str = ""
    remarks: tuple[str, ...] = ()
    problem: str = ""
    message: str = ""
    numbers: Mapping[str, float | int | None] = field(default_factory=dict)
    seconds: float = 0.0


def numbers_of(result: Result) -> dict[str, float | int | None]:
    """The numbers that stand in a summary; a picture without spacing has areas in pixels and no millilitres."""
    measured = result.measurements
    numbers: dict[str, float | int | None] = {}
    for label in measured.labels:
        numbers[f"{label.name}_volume_ml"] = label.volume_ml
        if label.area_px is not None:
            numbers[f"{label.name}_area_mm2"] = label.area_mm2
            numbers[f"{label.name}_area_px"] = label.area_px
    return {**numbers, "lesions": len(measured.lesions), **measured.measures}


def remarks_on(result: Result) -> tuple[str, ...]:
    """Codes of the geometry's reasons, then of the answer's warnings."""
    return (*(reason.code for reason in result.study.geometry.reasons), *(notice.code for notice in result.warnings))


def write_csv(outcomes: Sequence[Outcome], path: Path) -> None:
    """Write all rows, replacing the file at once; unknown numbers are empty cells."""
    columns = ["input", "state", "folder", "geometry", "remarks", *_columns(outcomes), "problem", "message", "seconds"]
    partial = path.with_name(f".{path.name}.partial")
    with partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        for outcome in outcomes:
            row = {name: value for name, value in vars(outcome).items() if name in columns}
            texts = {"remarks": " ".join(outcome.remarks), "seconds": f"{outcome.seconds:.1f}"}
            writer.writerow({**row, **outcome.numbers, **texts})
    partial.replace(path)


def table(outcomes: Sequence[Outcome]) -> Table:
    """For people: rounded; the report has every digit."""
    shown = Table(box=None, pad_edge=False, header_style="bold")
    columns = _columns(outcomes)
    shown.add_column("input", overflow="fold")
    shown.add_column("state")
    shown.add_column("geometry")
    for name in columns:
        shown.add_column(name.replace("_", " "), justify="right")
    shown.add_column("remarks", overflow="fold")
    for row in outcomes:
        state = f"[{_STYLES[row.state]}]{row.state}[/]"
        cells = [_cell(row, name) for name in columns]
        remarks = ", ".join(row.remarks) or row.problem
        shown.add_row(escape(row.input), state, row.geometry, *cells, escape(remarks))
    return shown


def _columns(outcomes: Iterable[Outcome]) -> list[str]:
    return list(dict.fromkeys(name for outcome in outcomes for name in outcome.numbers))


def _cell(row: Outcome, name: str) -> str:
    value = row.numbers.get(name)
    if value is None:
        return "–" if row.state == "done" else ""
    return f"{value:.2f}" if isinstance(value, float) else str(value)
