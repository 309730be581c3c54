"""`sigap inspect`: what an input is, and whether its geometry can be trusted, without segmenting it."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sigap.cli import options, terminal
from sigap.cli.failure import Failure
from sigap.core.errors import GeometryRefused

if TYPE_CHECKING:
    from sigap.core.study import DecodeOptions, Limits

NAME = "inspect"
EXAMPLES = """[bold]Examples[/bold]

[cyan]sigap inspect head_series/[/cyan]
    kind, shape, spacing and the verdict on the geometry

[cyan]sigap inspect study.zip --json | jq .geometry.verdict[/cyan]
    "ok", "warning" or "refused"

Exit status: 0 it can be segmented, 1 it is refused or cannot be read, 2 wrong call."""


def command(
    path: Annotated[
        Path,
        typer.Argument(
            metavar="INPUT", exists=True, readable=True, help="A file, a zip or a DICOM folder.", show_default=False
        ),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print `input` and `geometry` as JSON.")] = False,
    series_uid: options.SeriesUid = None,
    acquisition: options.Acquisition = None,
    pixel_spacing_mm: options.PixelSpacing = None,
    slice_thickness_mm: options.SliceThickness = None,
) -> None:
    """Say what an input is and whether its geometry can be trusted.

    A refused study is described too, with every reason and the numbers behind it.
    """
    wanted = options.run_options(
        series_uid=series_uid,
        acquisition=acquisition,
        pixel_spacing_mm=pixel_spacing_mm,
        slice_thickness_mm=slice_thickness_mm,
    )
    limits = terminal.read_settings().limits
    try:
        described, is_refused = _describe(path, wanted.decode, limits)
    except Exception as error:
        _print_unreadable(Failure.of(error), as_json=as_json)
        raise typer.Exit(terminal.FAILED) from error
    if as_json:
        typer.echo(json.dumps(described, ensure_ascii=False, allow_nan=False, indent=1))
    else:
        _print(described)
    if is_refused:
        raise typer.Exit(terminal.FAILED)


def _describe(path: Path, wanted: DecodeOptions, limits: Limits) -> tuple[dict[str, Any], bool]:
    """`input` and `geometry` as the report says them, and whether the geometry is refused."""
    from sigap.cli.inputs import collect
    from sigap.encoders.report import input_entry
    from sigap.imaging.decode import decode

    with tempfile.TemporaryDirectory(prefix="sigap-") as workspace:
        try:
            study = decode(collect(path), workspace=Path(workspace), options=wanted, limits=limits)
        except GeometryRefused as error:
            # A refused study has no volume: its shape and spacing are not known.
            entry = error.origin and input_entry(error.origin, None)
            return {"input": entry, "geometry": error.verdict.as_json()}, True
    grid = study.volume.grid
    return {
        "input": input_entry(study.origin, grid),
        "geometry": study.geometry.as_json(),
    }, False


def _print_unreadable(failure: Failure, *, as_json: bool) -> None:
    terminal.complain(failure.message)
    if as_json:
        problem = {"type": f"urn:sigap:problem:{failure.problem}", "detail": failure.message}
        typer.echo(json.dumps({"input": None, "geometry": None, "problem": problem}, ensure_ascii=False, indent=1))


def _print(described: dict[str, Any]) -> None:
    from rich.table import Table

    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, value in (described["input"] or {}).items():
        table.add_row(name.replace("_", " "), _text(name, value))
    geometry = described["geometry"]
    table.add_row("geometry", geometry["verdict"])
    for reason in geometry["reasons"]:
        numbers = {name: value for name, value in reason.items() if name not in ("code", "message")}
        table.add_row(f"  {reason['code']}", reason["message"])
        for name, value in numbers.items():
            table.add_row("", f"{name}: {json.dumps(value, ensure_ascii=False)}")
    terminal.stdout().print(table, markup=False)


def _text(name: str, value: Any) -> str:
    if value is None:
        return "–"
    if name == "shape":
        return "{} slices of {} × {}".format(*value)
    if name == "spacing_mm":
        return " × ".join("?" if step is None else f"{step:g}" for step in value)
    if name == "ignored":
        return "\n".join(f"{entry['name']}: {entry['reason']}" for entry in value) or "nothing"
    return str(value)
