"""From model folders and data to reports on disk."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sigap_training.evaluation.comparison import write_comparison
from sigap_training.evaluation.part import Part
from sigap_training.evaluation.provenance import Machine, ModelFacts, relative
from sigap_training.evaluation.report import Report, draw_figures, gather, measure, write_json
from sigap_training.evaluation.report_text import report_text
from sigap_training.evaluation.scoring import score_case
from sigap_training.model_folder import BadModel, ModelFolder


@dataclass(frozen=True)
class NamedModel:
    """A model and how tables call it."""

    label: str
    folder: Path
    model: ModelFolder

    @classmethod
    def load(cls, text: str) -> NamedModel:
        """Read `FOLDER` or `LABEL=FOLDER`.

        Raises:
            BadModel: see `ModelFolder.load`.
        """
        label, path = _split(text)
        return cls(label or path.resolve().name, path, ModelFolder.load(path))


def load_models(texts: Sequence[str]) -> list[NamedModel]:
    """Read all models before any is measured.

    Raises:
        BadModel: one cannot be run, two are called alike, or they have different labels.
    """
    models = [NamedModel.load(text) for text in texts]
    names = [one.label for one in models]
    for place, one in enumerate(models):
        if one.label in names[:place]:
            raise BadModel(f"two models are called {one.label!r}: name them, as in first={one.folder}")
        if _labels(one.model) != _labels(models[0].model):
            raise BadModel(
                f"{one.folder} has the labels {', '.join(_labels(one.model))}, {models[0].folder} has "
                f"{', '.join(_labels(models[0].model))}: they are not compared"
            )
    return models


def evaluate(
    models: Sequence[NamedModel], parts: Sequence[Part], out: Path, *, command: str, timed: bool
) -> list[Report]:
    """Measure models on parts and write what was found.

    One model's report goes into `out` itself; of several each into `out/<label>`, and their comparison into `out`.

    Raises:
        BadData: the data is broken, or does not tell the models' labels.
    """
    reports = []
    for one in models:
        report = Report(
            command=command,
            model=ModelFacts.of(one.model, label=one.label, folder=one.folder, timed=timed),
            machine=Machine.here(),
            parts=tuple(measure(one.model, part) for part in parts),
        )
        _write(report, out if len(models) == 1 else out / _folder_name(one.label))
        reports.append(report)
    if len(reports) > 1:
        write_comparison(reports, out)
    return reports


def evaluate_left_out(
    models: Sequence[NamedModel], parts: Sequence[Part], out: Path, *, command: str, timed: bool
) -> Report:
    """Measure each model on its own part, the patient that it was not trained on, and pool the cases in one report."""
    pairs = list(zip(models, parts, strict=True))
    scored = ((case.name, score_case(one.model, case)) for one, part in pairs for case in part.read(one.model.contract))
    first = models[0]
    pooled = gather(first.model.contract, parts, scored, "left out")
    answered = ", ".join(f"{one.label} {one.model.sha256[:12]}" for one in models)
    note = f"Each patient was answered by a model of its own (weights and time above: of the first): {answered}."
    report = Report(
        command=command,
        model=ModelFacts.of(first.model, label="leave one patient out", folder=first.folder, timed=timed),
        machine=Machine.here(),
        parts=(replace(pooled, notes=(note, *pooled.notes)),),
    )
    _write(report, out)
    return report


def _write(report: Report, folder: Path) -> None:
    write_json(report, folder / "report.json")
    (folder / "report.md").write_text(report_text(report, draw_figures(report, folder)))


def typed(text: str) -> str:
    """`FOLDER` or `LABEL=FOLDER` with the folder as seen from the working folder."""
    label, path = _split(text)
    return f"{label}={relative(path)}" if label else relative(path)


def _split(text: str) -> tuple[str, Path]:
    label, equals, folder = text.partition("=")
    return (label, Path(folder)) if equals else ("", Path(text))


def _labels(model: ModelFolder) -> list[str]:
    return [label.name for label in model.contract.labels]


def _folder_name(label: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", label).strip("-.") or "model"
