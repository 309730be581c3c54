"""A model's report: measured once, written as JSON, Markdown and figures."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sigap.core.contract import Contract
from sigap_training.evaluation.agreement import draw_agreement
from sigap_training.evaluation.calibration import draw_calibration
from sigap_training.evaluation.part import Part
from sigap_training.evaluation.provenance import Machine, ModelFacts
from sigap_training.evaluation.scoring import Score, score_case
from sigap_training.evaluation.summary import Summary, case_rows, summarise
from sigap_training.evaluation.threshold import draw_threshold
from sigap_training.model_folder import ModelFolder
from sigap_training.slices import BadData


@dataclass(frozen=True)
class PartReport:
    """What was measured on one part.

    Attributes:
        name: the part's.
        sha256: fingerprint of its data.
        is_pictures: single slices without spacing.
        notes: what a reader must know.
        summaries: one a label that any case tells.
        scores: by label, case by case.
    """

    name: str
    sha256: str
    is_pictures: bool
    notes: tuple[str, ...]
    summaries: tuple[Summary, ...]
    scores: dict[str, list[Score]]

    def as_json(self) -> dict[str, Any]:
        return {
            "data_sha256": self.sha256,
            "notes": list(self.notes),
            "labels": {summary.label: summary.as_json() for summary in self.summaries},
            "cases": {name: case_rows(scores) for name, scores in self.scores.items()},
        }


@dataclass(frozen=True)
class Report:
    """All that was measured of one model."""

    command: str
    model: ModelFacts
    machine: Machine
    parts: tuple[PartReport, ...]

    def as_json(self) -> dict[str, Any]:
        return {
            "command": self.command,
            "model": self.model.as_json(),
            "machine": self.machine.as_json(),
            "parts": {part.name: part.as_json() for part in self.parts},
        }


def measure(model: ModelFolder, part: Part) -> PartReport:
    """Answer and score all cases of a part.

    Raises:
        BadData: a case is broken, or the part does not tell the model's labels.
    """
    return gather(model.contract, [part], ((case.name, score_case(model, case)) for case in part.read(model.contract)))


def gather(
    contract: Contract, parts: Sequence[Part], scored: Iterable[tuple[str, dict[str, Score]]], name: str = ""
) -> PartReport:
    """One report of scored cases, by name and label, which may be of several parts that different models answered."""
    by_label: dict[str, list[Score]] = {label.name: [] for label in contract.labels}
    left_out: dict[str, list[str]] = {label.name: [] for label in contract.labels}
    for case, scores in scored:
        for label, kept in by_label.items():
            if label in scores:
                kept.append(scores[label])
            else:
                left_out[label].append(case)
    first = parts[0]
    name = name or first.name
    if not any(by_label.values()):
        raise BadData(f"{name} has no case that tells {', '.join(by_label)}")
    is_pictures = first.is_pictures
    notes = dict.fromkeys(note for part in parts for note in part.notes)
    return PartReport(
        name=name,
        sha256=first.sha256 if len(parts) == 1 else " ".join(part.sha256 for part in parts),
        is_pictures=is_pictures,
        notes=(*notes, *_omissions(by_label, left_out, is_pictures=is_pictures)),
        summaries=tuple(
            summarise(by_label[label.name], label, is_pictures=is_pictures)
            for label in contract.labels
            if by_label[label.name]
        ),
        scores=by_label,
    )


def _omissions(by_label: dict[str, list[Score]], left_out: dict[str, list[str]], *, is_pictures: bool) -> Iterator[str]:
    """Cases by name; slices, which may be thousands, by number."""
    for label, cases in left_out.items():
        which = f"{len(cases)} of {len(cases) + len(by_label[label])} slices" if is_pictures else ", ".join(cases)
        if cases:
            yield f"Left out of the figures of {label} only, because the truth does not tell it: {which}."


def write_json(report: Report, path: Path) -> None:
    """All figures, unrounded."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report.as_json(), indent=1, allow_nan=False) + "\n")


def draw_figures(report: Report, folder: Path) -> list[tuple[str, str]]:
    """Three figures for each label of each part; returns each one's title and file name."""
    drawn = []
    for part in report.parts:
        for summary in part.summaries:
            start = f"{_slug(part.name)}-{_slug(summary.label)}"
            about = f"{summary.label}, {part.name}"
            files = {kind: f"{start}-{kind}.png" for kind in ("bland-altman", "calibration", "threshold")}
            if len(summary.agreement.errors):
                amount = "Volume" if summary.agreement.unit == "mL" else "Area (slices with the label)"
                draw_agreement(
                    summary.agreement, folder / files["bland-altman"], title=f"{amount} of {about}: Bland-Altman"
                )
                drawn.append((f"{about}: Bland-Altman", files["bland-altman"]))
            draw_calibration(summary.calibration, folder / files["calibration"], title=f"Calibration of {about}")
            draw_threshold(summary.threshold, folder / files["threshold"], title=f"Dice and threshold, {about}")
            drawn += [(f"{about}: calibration", files["calibration"])]
            drawn += [(f"{about}: threshold", files["threshold"])]
    return drawn


def _slug(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-").lower()
