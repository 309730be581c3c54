"""A report as Markdown: where it comes from, then its tables."""

from __future__ import annotations

from collections.abc import Sequence

from sigap_training.evaluation.markdown import plain, shown, table
from sigap_training.evaluation.provenance import TIMED_SIDE
from sigap_training.evaluation.report import PartReport, Report
from sigap_training.evaluation.summary import Summary

METHOD = """\
How it was measured:
- The gateway's own way: decoding, window, batches, model, thresholds and post-processing. A slice is *called* if any
  voxel is left after post-processing.
- *Dice a case* and recall are means over the cases that have the label, precision over those of them where anything
  was found (n); *of all voxels* pools all cases. Empty truths do not count in the former: slices called without cause
  and false lesions show those.
- Brackets are 95 % intervals: a bootstrap that draws patients again, each with all its cases and slices (2,000 draws,
  percentiles), and Wilson's for shares of slices or cases of which each patient has one. One patient has no interval.
  Where all patients are alike, drawing them again tells nothing: there is none, but of shares Wilson's of as many
  slices as there are patients, wider than that of all slices.
- HD95: the larger of both directions' 95th percentiles of the distance between the surfaces; ASSD: average symmetric
  surface distance. Both are means over the cases where truth and answer have a voxel and the spacing is known; the
  others are left out.
- Lesions are 26-connected pieces; a hit is any common voxel. A true lesion counts in its own size class, a found one
  in its own.
- Loss, calibration and Dice by threshold are those of the probabilities, before post-processing. The loss is binary
  cross-entropy plus one minus Dice of the probabilities, as in training (smooth 1), of all voxels of the part together
  at their stored size. Probabilities are bytes by 255, held between 1/510 and 1 - 1/510."""


def report_text(report: Report, figures: Sequence[tuple[str, str]]) -> str:
    """The whole report; `figures` are titles and file names beside it."""
    facts, machine = report.model, report.machine
    timed = (
        "not timed" if facts.ms_a_slice is None else f"{facts.ms_a_slice:.0f} ms a slice of {TIMED_SIDE} x {TIMED_SIDE}"
    )
    about = [
        ["model", f"{facts.name}, version {facts.version}, {facts.parameters:,} weights"],
        ["model.pt", f"SHA-256 {facts.sha256}"],
        *([f"data, {part.name}", f"SHA-256 {part.sha256}"] for part in report.parts),
        ["machine", f"{machine.cpus} CPUs, {machine.threads} threads, torch {machine.torch}"],
        ["time", f"{timed}, batch of eight"],
    ]
    blocks = [
        f"# Evaluation of {facts.label}",
        f"```\n{report.command}\n```",
        table(["", ""], about),
        METHOD,
        *(block for part in report.parts for block in _part(part)),
        "## Figures",
        *(f"![{title}]({name})" for title, name in figures),
    ]
    return "\n\n".join(blocks) + "\n"


def _part(part: PartReport) -> list[str]:
    blocks = [f"## {part.name}"]
    if part.notes:
        blocks.append("\n".join(f"- {note}" for note in part.notes))
    blocks += ["### Overlap", _overlap(part.summaries, "patients or lone slices" if part.is_pictures else "patients")]
    blocks += ["### Amounts and distances", _amounts(part.summaries)]
    blocks += ["### Probabilities", _probabilities(part.summaries)]
    blocks += ["### Slices", _slices(part.summaries)]
    if part.is_pictures:
        blocks += ["### Slices by source", _sources(part.summaries)]
    for summary in part.summaries:
        if summary.detection is not None:
            blocks += [f"### Lesions: {summary.label}", _lesions(summary)]
    if not part.is_pictures:
        blocks += ["### Cases", _cases(part)]
    return blocks


def _overlap(summaries: Sequence[Summary], whose: str) -> str:
    rows = [
        [
            summary.label,
            f"{summary.cases}, with it {summary.with_label}; {whose}: {summary.patients}",
            shown(summary.a_case["dice"]),
            shown(summary.pooled["dice"]),
            shown(summary.a_case["accuracy"], digits=4),
            f"{shown(summary.a_case['precision'])}, n = {summary.a_case['precision'].count}",
            shown(summary.a_case["recall"]),
            f"{plain(summary.pooled['precision'].value)} / {plain(summary.pooled['recall'].value)}",
        ]
        for summary in summaries
    ]
    head = [
        "label",
        "cases",
        "Dice a case",
        "Dice of all voxels",
        "accuracy a case",
        "precision a case",
        "recall a case",
    ]
    return table([*head, "precision / recall of all voxels"], rows)


def _amounts(summaries: Sequence[Summary]) -> str:
    rows = []
    for summary in summaries:
        agreement = summary.agreement
        limits = agreement.limits
        rows.append(
            [
                summary.label,
                str(len(agreement.errors)),
                f"{shown(agreement.bias, digits=2)} {agreement.unit}",
                f"{shown(agreement.absolute, digits=2)} {agreement.unit}",
                f"{limits[0]:.2f} to {limits[1]:.2f}" if limits else "- (fewer than 3 cases)",
                f"{shown(summary.hd95_mm, digits=1)}, n = {summary.hd95_mm.count}",
                f"{shown(summary.assd_mm, digits=2)}, n = {summary.assd_mm.count}",
            ]
        )
    head = ["label", "n", "found minus true", "size of error", "limits of agreement", "HD95, mm", "ASSD, mm"]
    return table(head, rows)


def _probabilities(summaries: Sequence[Summary]) -> str:
    rows = [
        [
            summary.label,
            *(plain(summary.loss[name], 4) for name in ("binary_cross_entropy", "dice", "sum")),
            plain(summary.calibration.error(), 4),
            plain(summary.calibration.error(1), 4),
        ]
        for summary in summaries
    ]
    head = ["label", "binary cross-entropy", "1 - Dice", "loss, their sum", "calibration error"]
    return table([*head, "calibration error without p < 0.1"], rows)


def _slices(summaries: Sequence[Summary]) -> str:
    rows = [
        [
            summary.label,
            str(summary.slices.sensitivity.count),
            shown(summary.slices.sensitivity),
            shown(summary.slices.at_the_place),
            str(summary.slices.specificity.count),
            shown(summary.slices.specificity),
            f"{shown(summary.called_with)}, n = {summary.called_with.count}",
            f"{shown(summary.called_without)}, n = {summary.called_without.count}",
        ]
        for summary in summaries
    ]
    head = ["label", "slices with", "sensitivity", "called at a true voxel", "without", "specificity"]
    return table([*head, "whole cases with it, called", "whole cases without, called"], rows)


def _sources(summaries: Sequence[Summary]) -> str:
    rows = [
        [
            figures.source,
            f"{'with' if figures.has_label else 'without'} {summary.label}",
            f"{figures.called.count} of {figures.called.patients}",
            shown(figures.called),
            shown(figures.at_the_place),
            shown(figures.dice),
        ]
        for summary in summaries
        for figures in summary.sources
    ]
    return table(["source", "truth", "slices of patients", "called", "called at a true voxel", "mean Dice"], rows)


def _lesions(summary: Summary) -> str:
    rows = [
        [
            size,
            f"{found.hit} of {found.truth}",
            shown(found.recall),
            f"{found.found - found.false} of {found.found}",
            shown(found.precision),
            shown(found.f1),
            shown(found.false_a_patient, digits=2),
        ]
        for size, found in (summary.detection or {}).items()
    ]
    return table(["voxels", "hit", "recall", "right of found", "precision", "F1", "false ones a patient"], rows)


def _cases(part: PartReport) -> str:
    rows = [
        [
            score.case,
            score.patient,
            label,
            plain(score.overlap.dice),
            plain(score.overlap.accuracy, 4),
            plain(score.overlap.precision),
            plain(score.overlap.recall),
            plain(score.hd95_mm, 1),
            plain(score.assd_mm, 2),
            f"{plain(score.found_ml, 1)} / {plain(score.truth_ml, 1)}",
        ]
        for label, scores in part.scores.items()
        for score in scores
    ]
    head = ["case", "patient", "label", "Dice", "accuracy", "precision", "recall", "HD95, mm", "ASSD, mm"]
    return table([*head, "found / true, mL"], rows)
