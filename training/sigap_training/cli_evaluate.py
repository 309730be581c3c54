"""`sigap-evaluate` and `sigap-predict-panel`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer
from rich.console import Console

from sigap_training.evaluation.evaluate import evaluate as run_evaluation
from sigap_training.evaluation.evaluate import evaluate_left_out, load_models, typed
from sigap_training.evaluation.markdown import shown
from sigap_training.evaluation.panel import draw_panel
from sigap_training.evaluation.part import Part, split_part, study_part
from sigap_training.evaluation.provenance import command_line
from sigap_training.evaluation.report import Report
from sigap_training.model_folder import BadModel, ModelFolder
from sigap_training.slices import BadData
from sigap_training.splits import SplitOptions

_console = Console(stderr=True, soft_wrap=True, highlight=False)
_DATA_HELP = "A folder in the LiTS layout, or a COCO export."


def _evaluate(
    models: Annotated[
        list[str],
        typer.Argument(help="A task's folder of a model repository, or LABEL=FOLDER. Of several a comparison is made."),
    ],
    *,
    out: Annotated[Path, typer.Option(help="The folder for report.json, report.md and the figures.")],
    data: Annotated[Path | None, typer.Option(help=_DATA_HELP)] = None,
    split: Annotated[
        list[str] | None, typer.Option(help="Which part of it; may be given again.", show_default="test")
    ] = None,
    study: Annotated[
        list[Path] | None, typer.Option(help="A whole study: NIfTI, or DICOM in a zip; may be given again.")
    ] = None,
    truth: Annotated[
        list[Path] | None, typer.Option(help="Its NIfTI mask: the model's labels in their order, from 1.")
    ] = None,
    split_file: Annotated[Path | None, typer.Option(help="Who trains, validates and tests, as in a recipe.")] = None,
    leave_one_out: Annotated[
        bool,
        typer.Option(
            "--leave-one-out", help="Each model is PATIENT=FOLDER, measured on that patient alone; all are pooled."
        ),
    ] = False,
    time: Annotated[bool, typer.Option(help="Time a slice; leave it out on a busy machine.")] = True,
) -> None:
    """Measure models as the gateway would run them, and write reports with intervals and figures.

    One model: sigap-evaluate model_repository/liver --data ../shared/data/liver --out report

    A whole study: sigap-evaluate model_repository/liver --study ct.zip --truth liver.nii.gz --out report

    Tables 3 and 4: sigap-evaluate with=a/liver without=b/liver --data ../shared/data/liver --out table3

    One patient left out each time: sigap-evaluate L3=l3/liver L4=l4/liver --leave-one-out --data LITS --out left-out
    """
    request = _Request(data, tuple(split or ()), tuple(study or ()), tuple(truth or ()), split_file)
    command = command_line(
        "sigap-evaluate",
        [*map(typed, models), *request.options(), *_flags(leave_one_out=leave_one_out, time=time), "--out", out],
    )
    try:
        request.check(leaves_one_out=leave_one_out)
        _refuse_unwritable(out)
        loaded = load_models(models)
        if leave_one_out:
            parts = [request.left_out(one.label) for one in loaded]
            reports = [evaluate_left_out(loaded, parts, out, command=command, timed=time)]
        else:
            reports = run_evaluation(loaded, request.parts(), out, command=command, timed=time)
    except (BadData, BadModel) as error:
        _console.print(str(error), style="red", markup=False)
        raise typer.Exit(1) from error
    for report in reports:
        _tell(report)
    _console.print(f"wrote {out}")


def _predict_panel(
    model: Annotated[Path, typer.Argument(help="A task's folder of a model repository.")],
    data: Annotated[Path, typer.Argument(help=_DATA_HELP)],
    *,
    out: Annotated[Path, typer.Option(help="The PNG file.")],
    split: Annotated[str, typer.Option(help="Which part of the data.")] = "test",
    count: Annotated[int, typer.Option(help="Slices to show.", min=1, max=20)] = 6,
    split_file: Annotated[Path | None, typer.Option(help="Who trains, validates and tests, as in a recipe.")] = None,
) -> None:
    """Draw slices, their truth and the model's answer side by side, taken evenly from the best Dice to the worst.

    They are slices with a lesion; where there is none, with the model's first label.

    sigap-predict-panel model_repository/liver ../shared/data/liver --out panel.png
    """
    try:
        _refuse_unwritable(out.parent)
        _refuse_other_than_png(out)
        part = split_part(data, split, SplitOptions(file=split_file))
        label = draw_panel(ModelFolder.load(model), part, out, count=count)
    except (BadData, BadModel) as error:
        _console.print(str(error), style="red", markup=False)
        raise typer.Exit(1) from error
    _console.print(f"wrote {out}: slices with {label}")


@dataclass(frozen=True)
class _Request:
    """What was asked to be measured on, as typed; of data without a split `test`."""

    data: Path | None
    splits: tuple[str, ...]
    studies: tuple[Path, ...]
    truths: tuple[Path, ...]
    split_file: Path | None

    def check(self, *, leaves_one_out: bool) -> None:
        """Refuse what cannot be meant, before anything is read."""
        if leaves_one_out:
            given = {"--split": self.splits, "--study": self.studies, "--truth": self.truths}
            if strange := [name for name, values in given.items() if values]:
                raise BadData(f"--leave-one-out measures each model on its own patient: leave out {', '.join(strange)}")
        if len(self.studies) != len(self.truths):
            raise BadData(f"{len(self.studies)} --study but {len(self.truths)} --truth: each study needs its mask")
        if self.data is None and not self.studies:
            raise BadData("nothing to measure on: give --data, or --study with --truth")

    def parts(self) -> list[Part]:
        options = SplitOptions(file=self.split_file)
        parts = [split_part(self.data, name, options) for name in self.splits or ("test",)] if self.data else []
        pairs = list(zip(self.studies, self.truths, strict=True))
        return [*parts, study_part(pairs)] if pairs else parts

    def left_out(self, patient: str) -> Part:
        if self.data is None:
            raise BadData("--leave-one-out needs --data")
        return split_part(self.data, "test", SplitOptions(file=self.split_file, leave_out=patient))

    def options(self) -> list[str | Path]:
        """As typed."""
        typed: list[str | Path] = []
        if self.data is not None:
            typed += ["--data", self.data]
            for name in self.splits:
                typed += ["--split", name]
        for study, truth in zip(self.studies, self.truths, strict=False):
            typed += ["--study", study, "--truth", truth]
        return [*typed, "--split-file", self.split_file] if self.split_file else typed


def _refuse_unwritable(folder: Path) -> None:
    """Refuse a folder that cannot be written into, or not be made, and leave nothing behind.

    Raises:
        BadData: it names the folder.
    """
    nearest = next(path for path in (folder, *folder.absolute().parents) if path.exists() or path.is_symlink())
    try:
        with TemporaryDirectory(dir=nearest):
            pass
    except OSError as error:
        raise BadData(f"--out: {nearest} cannot be written into: {error.strerror}") from error


def _refuse_other_than_png(path: Path) -> None:
    if path.suffix.lower() != ".png" or path.is_dir():
        raise BadData(f"--out: {path} is no PNG file")


def _flags(*, leave_one_out: bool, time: bool) -> list[str]:
    return [*(["--leave-one-out"] if leave_one_out else []), *([] if time else ["--no-time"])]


def _tell(report: Report) -> None:
    for part in report.parts:
        for summary in part.summaries:
            _console.print(f"{report.model.label}, {part.name}, {summary.label}: Dice {shown(summary.a_case['dice'])}")


def evaluate() -> None:
    """Entry point of `sigap-evaluate`."""
    typer.run(_evaluate)


def predict_panel() -> None:
    """Entry point of `sigap-predict-panel`."""
    typer.run(_predict_panel)
