"""Several models on the same data, one row each: the tables of the papers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from sigap_training import figure
from sigap_training.evaluation.intervals import Estimate, mean
from sigap_training.evaluation.markdown import plain, shown, table
from sigap_training.evaluation.report import Report
from sigap_training.evaluation.summary import Summary

_NOTE = """\
Dice a case: mean over the cases that have the label; accuracy: mean over all cases of the share of voxels that are
right, background included, so that even an empty answer is high. Brackets: 95 % bootstrap intervals over patients; of
one patient none. Weights: as served, batch norms folded in. Time: milliseconds a slice of 512 x 512 in a batch of
eight, on the machine named. Beside the first: Dice a case minus that of the first row, case by case."""

_HIGH_ENOUGH = 0.07
_COLUMNS = ("accuracy", "Dice a case", "Dice of all voxels", "beside the first")


def write_comparison(reports: Sequence[Report], folder: Path) -> None:
    """`comparison.json`, `comparison.md`, and a bar figure a part; at least one report, all of the same parts."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "comparison.json").write_text(json.dumps(_document(reports), indent=1, allow_nan=False) + "\n")
    blocks = ["# Comparison", f"```\n{reports[0].command}\n```", _machine(reports[0]), _NOTE]
    for number, part in enumerate(reports[0].parts):
        name = f"comparison-{part.name.replace(' ', '-')}.png"
        draw_comparison(reports, number, folder / name)
        first = part.summaries[0]
        counted = [
            f"{one.label} in {one.with_label} of {one.cases} cases of {one.patients} patients" for one in part.summaries
        ]
        blocks += [f"## {part.name}", f"Data SHA-256 {part.sha256}; {', '.join(counted)}.", _table(reports, number)]
        blocks += ["\n".join(f"- {note}" for note in part.notes)] if part.notes else []
        blocks += [f"![{first.label} and others, {part.name}]({name})"]
    (folder / "comparison.md").write_text("\n\n".join(blocks) + "\n")


def draw_comparison(reports: Sequence[Report], part: int, path: Path) -> None:
    """Dice and accuracy of each label, one bar a model, with the intervals there are."""
    labels = [summary.label for summary in reports[0].parts[part].summaries]
    canvas = figure.new_figure(2.5 + 2.4 * max(2, len(reports)), 4.2)
    for axes, name in zip(canvas.subplots(1, 2), ("dice", "accuracy"), strict=True):
        width = 0.8 / len(labels)
        for place, label in enumerate(labels):
            centres = np.arange(len(reports)) + (place - (len(labels) - 1) / 2) * width
            estimates = [_summary(report, part, label).a_case[name] for report in reports]
            _draw_bars(axes, centres.tolist(), estimates, width * 0.95, colour=figure.colour(place), label=label)
        axes.set_ylim(0, 1.02)
        figure.name_ticks(axes, [report.model.label for report in reports])
        shown_name = "Dice" if name == "dice" else name
        figure.tidy(axes, title=f"{shown_name} a case, {reports[0].parts[part].name}", x="", y=shown_name)
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    figure.save(canvas, path)


def _draw_bars(
    axes: Axes,
    centres: Sequence[float],
    estimates: Sequence[Estimate],
    width: float,
    *,
    colour: str,
    label: str,
) -> None:
    axes.bar(centres, [one.value or 0.0 for one in estimates], width, color=colour, label=label)
    for centre, one in zip(centres, estimates, strict=True):
        # Into the bar where it is high enough, else above it and its interval.
        top = max(one.value or 0.0, one.high or 0.0)
        place, colour_of_text = (0.02, "white") if (one.value or 0.0) >= _HIGH_ENOUGH else (top + 0.015, "black")
        axes.text(centre, place, plain(one.value), ha="center", fontsize=7, color=colour_of_text)
        if one.low is not None and one.high is not None:
            axes.plot([centre, centre], [one.low, one.high], color="black", marker="_")


def difference(report: Report, first: Report, part: int, label: str) -> Estimate:
    """Mean Dice of one model minus another's, case by case; the interval draws patients again."""
    pairs = [
        (ours.overlap.dice - theirs.overlap.dice, ours.patient)
        for ours, theirs in zip(report.parts[part].scores[label], first.parts[part].scores[label], strict=True)
        if ours.overlap.is_true
    ]
    return mean([value for value, _ in pairs], [patient for _, patient in pairs])


def _summary(report: Report, part: int, label: str) -> Summary:
    return next(summary for summary in report.parts[part].summaries if summary.label == label)


def _table(reports: Sequence[Report], part: int) -> str:
    labels = [summary.label for summary in reports[0].parts[part].summaries]
    columns = [f"{label}: {what}" for label in labels for what in _COLUMNS]
    rows = []
    for report in reports:
        cells = []
        for label in labels:
            summary = _summary(report, part, label)
            cells += [
                shown(summary.a_case["accuracy"], digits=4),
                shown(summary.a_case["dice"]),
                shown(summary.pooled["dice"]),
                "-" if report is reports[0] else shown(difference(report, reports[0], part, label)),
            ]
        ms = report.model.ms_a_slice
        rows.append([report.model.label, *cells, f"{report.model.parameters:,}", "-" if ms is None else f"{ms:.0f}"])
    return table(["model", *columns, "weights", "ms a slice"], rows)


def _machine(report: Report) -> str:
    machine = report.machine
    return f"Machine: {machine.cpus} CPUs, {machine.threads} threads, torch {machine.torch}."


def _document(reports: Sequence[Report]) -> dict[str, Any]:
    return {
        "command": reports[0].command,
        "machine": reports[0].machine.as_json(),
        "data_sha256": {part.name: part.sha256 for part in reports[0].parts},
        "models": [
            {
                **report.model.as_json(),
                "parts": {
                    part.name: {
                        summary.label: {
                            "accuracy": summary.a_case["accuracy"].as_json(),
                            "dice": summary.a_case["dice"].as_json(),
                            "dice_all_voxels": summary.pooled["dice"].as_json(),
                            "dice_minus_first": difference(report, reports[0], place, summary.label).as_json(),
                        }
                        for summary in part.summaries
                    }
                    for place, part in enumerate(report.parts)
                },
            }
            for report in reports
        ],
    }
