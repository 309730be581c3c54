"""`sigap segment`: runs the pipeline itself, one input after the other, with the models loaded once."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sigap.cli import options, terminal
from sigap.cli.failure import Failure
from sigap.core.errors import GeometryRefused, InputError

if TYPE_CHECKING:
    from sigap.cli.summary import Outcome
    from sigap.core.result import Result
    from sigap.core.study import Limits
    from sigap.engines.engine import Engine
    from sigap.pipeline import Progress, RunOptions
    from sigap.settings import Settings

NAME = "segment"
EXAMPLES = """[bold]Examples[/bold]

[cyan]sigap segment liver abdomen.nii.gz --out result[/cyan]
    result/report.json, mask.nii.gz, overlay.png, coco.json

[cyan]sigap segment hemorrhage head_series/ --out result --format json,nifti[/cyan]
    a DICOM folder, at any depth

[cyan]sigap segment liver abdomen.zip --out result --format seg,sr,sc,rtstruct,stl[/cyan]
    what a PACS keeps, and liver.stl, tumour.stl

[cyan]sigap segment liver study_*.zip --out results[/cyan]
    results/study_1/, results/study_2/ … and results/summary.csv

Exit status: 0 all done, 1 some failed or were refused, 2 wrong call."""

_DEFAULT_FORMATS = "json,nifti,png,coco"


def command(
    task: Annotated[
        str, typer.Argument(metavar="TASK", help="What to outline: a task that [bold]sigap models[/bold] lists.")
    ],
    inputs: Annotated[
        list[Path],
        typer.Argument(metavar="INPUT", readable=False, help="Files, zips or DICOM folders.", show_default=False),
    ],
    out: Annotated[
        Path, typer.Option(metavar="DIR", file_okay=False, help="Where the answers go; made if it is not there.")
    ],
    formats: Annotated[
        str,
        typer.Option(
            "--format",
            metavar="NAME,...",
            help="Which files to write, of json, nifti, png, coco, seg, sr, sc, rtstruct, stl.",
        ),
    ] = _DEFAULT_FORMATS,
    series_uid: options.SeriesUid = None,
    acquisition: options.Acquisition = None,
    pixel_spacing_mm: options.PixelSpacing = None,
    slice_thickness_mm: options.SliceThickness = None,
    models: options.Models = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace answers that lie in DIR already.")] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="No progress bar, no table; errors are still said.")
    ] = False,
) -> None:
    """Outline and measure studies.

    One input goes into DIR. Several go into a folder each, named as the file less its extensions, beside summary.csv.

    An input that cannot be answered, or is not there, does not stop the others.
    """
    if len(inputs) == 1 and not os.access(inputs[0], os.R_OK):
        terminal.refuse_usage(f"INPUT: there is no file or folder {inputs[0]} that can be read.")
    names = _formats(formats)
    wanted = options.run_options(
        series_uid=series_uid,
        acquisition=acquisition,
        pixel_spacing_mm=pixel_spacing_mm,
        slice_thickness_mm=slice_thickness_mm,
    )
    settings = terminal.read_settings(models=models)
    if models is not None and settings.engine != "torchscript":
        terminal.refuse_usage(f"--models: with SIGAP_ENGINE={settings.engine} the server has the models.")
    folders = _prepare(inputs, out, may_overwrite=overwrite)
    plan = Plan(task, names, wanted, settings.limits)
    with terminal.plain_errors(), _ended_by_signals():
        outcomes = _segment_all(plan, dict(zip(folders, inputs, strict=True)), settings, is_quiet=quiet)
    _say(outcomes, is_quiet=quiet)
    if any(outcome.state != "done" for outcome in outcomes):
        raise typer.Exit(terminal.FAILED)


@dataclass(frozen=True)
class Plan:
    """What is done with every input alike."""

    task: str
    formats: Sequence[str]
    options: RunOptions
    limits: Limits


def _formats(text: str) -> list[str]:
    from sigap.encoders.formats import FORMATS

    names = list(dict.fromkeys(name.strip() for name in text.split(",")))
    known = [name for name in FORMATS if name != "zip"]
    for name in names:
        if name == "zip":
            terminal.refuse_usage(
                f"--format zip: here every file is written by itself. Choose among {', '.join(known)}."
            )
        if name not in known:
            terminal.refuse_usage(f"--format: there is no format {name!r}. Choose among {', '.join(known)}.")
    return names


def _prepare(inputs: Sequence[Path], out: Path, *, may_overwrite: bool) -> list[Path]:
    """Make DIR and say where each answer goes, before any work is done."""
    from sigap.cli.answers import holds_answer
    from sigap.cli.inputs import answer_names
    from sigap.cli.summary import FILENAME

    folders = [out] if len(inputs) == 1 else [out / name for name in answer_names(inputs, taken=[FILENAME])]
    taken = [folder for folder in folders if holds_answer(folder)]
    if taken and not may_overwrite:
        terminal.refuse_usage(
            f"{taken[0]} holds an answer already. Name another --out, or replace it with --overwrite."
        )
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        terminal.refuse_usage(f"--out: the folder cannot be made: {error.strerror}.")
    try:
        tempfile.TemporaryFile(dir=out).close()
    except OSError as error:
        terminal.refuse_usage(f"--out: nothing can be written into the folder: {error.strerror}.")
    return folders


def _segment_all(plan: Plan, inputs: Mapping[Path, Path], settings: Settings, *, is_quiet: bool) -> list[Outcome]:
    """One after the other; `inputs` by the folder of their answer."""
    from sigap.cli.progress import ProgressBar
    from sigap.cli.summary import FILENAME, write_csv

    outcomes: list[Outcome] = []
    bar = ProgressBar(terminal.stderr(), inputs=len(inputs), is_quiet=is_quiet)
    with bar, closing(options.open_engine(settings)) as engine:
        engine.model(plan.task)
        for folder, path in inputs.items():
            bar.next_input()
            outcomes.append(_segment_one(plan, path, folder, engine, bar.show))
            if len(inputs) > 1:
                write_csv(outcomes, folder.parent / FILENAME)
    return outcomes


def _segment_one(plan: Plan, path: Path, folder: Path, engine: Engine, progress: Callable[[Progress], None]) -> Outcome:
    """Whatever goes wrong with one input is its outcome."""
    from sigap.cli.answers import write_answer
    from sigap.cli.inputs import legible
    from sigap.cli.summary import Outcome, numbers_of, remarks_on
    from sigap.encoders.finding import finding

    started = time.perf_counter()
    try:
        result = _run(plan, path, engine, progress)
        write_answer(result, plan.formats, folder)
    except Exception as error:  # noqa: BLE001 - the other inputs must not suffer; the error is said and counted
        return _failure(path, error, seconds=time.perf_counter() - started)
    return Outcome(
        legible(str(path)),
        "done",
        folder=legible(str(folder)),
        geometry=result.study.geometry.severity.word,
        remarks=remarks_on(result),
        message=finding(result)["statement"],
        numbers=numbers_of(result),
        seconds=time.perf_counter() - started,
    )


def _run(plan: Plan, path: Path, engine: Engine, progress: Callable[[Progress], None]) -> Result:
    from sigap import pipeline
    from sigap.cli.answers import check_formats
    from sigap.cli.inputs import collect

    with tempfile.TemporaryDirectory(prefix="sigap-") as workspace:
        return pipeline.run(
            collect(path),
            task=plan.task,
            engine=engine,
            workspace=Path(workspace),
            options=plan.options,
            limits=plan.limits,
            progress=progress,
            accept=lambda study: check_formats(study, plan.formats),
        )


def _failure(path: Path, error: Exception, *, seconds: float) -> Outcome:
    from sigap.cli.inputs import legible
    from sigap.cli.summary import Outcome, State

    name = legible(str(path))
    if isinstance(error, GeometryRefused):
        codes = tuple(reason.code for reason in error.verdict.reasons)
        return Outcome(
            name,
            "refused",
            geometry=error.verdict.severity.word,
            remarks=codes,
            problem=error.slug,
            message=error.message,
            seconds=seconds,
        )
    failure = Failure.of(error)
    state: State = "refused" if isinstance(error, InputError) else "failed"
    return Outcome(name, state, problem=failure.problem, message=failure.message, seconds=seconds)


def _say(outcomes: Sequence[Outcome], *, is_quiet: bool) -> None:
    from sigap.cli.summary import table

    for outcome in outcomes:
        if outcome.state != "done":
            terminal.complain(f"{outcome.input}: {outcome.message}")
    if not is_quiet:
        console = terminal.stdout()
        console.print(table(outcomes))
        if len(outcomes) == 1 and outcomes[0].state == "done":
            console.print(outcomes[0].message, markup=False)
        console.print("Research use only: not a medical device.", style="dim")


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Let SIGTERM, and SIGHUP of a closed terminal, unwind as Ctrl-C does: no half answer or unpacked study is left.

    What `nohup` has had ignored stays so.
    """
    numbers = [number for number in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(number) is not signal.SIG_IGN]
    previous = {number: signal.signal(number, lambda caught, _: sys.exit(128 + caught)) for number in numbers}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
