"""Model cards: what a model is, how it was made and what was measured, as Markdown."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from sigap.core.contract import Contract
from sigap_training.evaluation.intervals import Estimate
from sigap_training.evaluation.markdown import shown, table

RESEARCH = "Research use only; not a medical device."
NOT_MEASURED = "**Not evaluated yet**: `sigap-evaluate` measures, `sigap-export --report` writes the figures here."


class CardWords(BaseModel):
    """What a card says in words; the numbers come from the run and its reports.

    Attributes:
        title: what the model outlines, on what.
        headline: what a reader must know first.
        training: how it was trained, beyond what the recipe says.
        limits: what it misses, what was not tried.
        data: sources and terms.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: str = ""
    headline: str = ""
    training: str = ""
    limits: str = "Not written yet."
    data: str = "Not written yet."


class BadReport(Exception):
    """A report that a card cannot quote; the message names the file."""


@dataclass(frozen=True)
class ModelFacts:
    """What a card's first table says.

    Attributes:
        task: the model's name.
        network: its name and options.
        parameters: how many weights.
        size: the side of its input.
        sha256: of `model.pt`.
        made_by: the command that trained it, its epoch and commit.
    """

    task: str
    network: str
    parameters: int
    size: int
    sha256: str
    made_by: str


def card_text(facts: ModelFacts, words: CardWords, contract: Contract, reports: Sequence[Mapping[str, Any]]) -> str:
    """The whole card.

    Args:
        facts: of the model.
        words: see there.
        contract: labels, window and thresholds.
        reports: parsed `report.json` files of `sigap-evaluate`.
    """
    blocks = [
        f"# {facts.task}: {words.title}" if words.title else f"# {facts.task}",
        f"{RESEARCH} **{words.headline.strip()}**" if words.headline else RESEARCH,
        table(["", ""], list(_about(facts, contract, reports))),
        "## How it was trained",
        f"{facts.made_by} {words.training.strip()}".strip(),
        "## Figures",
        *([block for report in reports for block in _figures(report)] or [NOT_MEASURED]),
        "## Limits",
        words.limits.strip(),
        "## Data and terms",
        words.data.strip(),
    ]
    return "\n\n".join(blocks) + "\n"


def read_report(path: Path, sha256: str) -> dict[str, Any]:
    """A `report.json` about the model with this SHA-256.

    Raises:
        BadReport: it is missing, no report, or another model's: its figures would be a lie.
    """
    path = path / "report.json" if path.is_dir() else path
    try:
        report: dict[str, Any] = json.loads(path.read_text())
        measured = report["model"]["sha256"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadReport(f"{path} is no report of sigap-evaluate: {error}") from error
    if measured != sha256:
        raise BadReport(f"{path} measured another model: SHA-256 {measured}, this one has {sha256}")
    return report


def _about(facts: ModelFacts, contract: Contract, reports: Sequence[Mapping[str, Any]]) -> Iterator[list[str]]:
    slices = "one slice" if contract.context_slices == 1 else f"{contract.context_slices} neighbouring slices"
    yield ["network", f"{facts.network}, {facts.parameters:,} weights (`sigap_training.networks`)"]
    yield ["sees", f"{slices} of any size, sampled at {facts.size} x {facts.size}"]
    yield ["window", f"level {contract.level_hu:g} HU, width {contract.width_hu:g} HU"]
    for label in contract.labels:
        low, middle, high = label.thresholds
        yield [label.name, f"from probability {middle:g} on; interval {low:g} to {high:g}"]
    yield ["model.pt", f"SHA-256 {facts.sha256}"]
    for report in reports:
        if report["model"]["ms_a_slice"] is not None:
            machine = report["machine"]
            side = "512 x 512"
            yield [
                "time",
                f"{report['model']['ms_a_slice']:.0f} ms a slice of {side}, {machine['threads']} CPU threads",
            ]
            break


def _figures(report: Mapping[str, Any]) -> Iterator[str]:
    yield f"```\n{report['command']}\n```"
    for name, part in report["parts"].items():
        rows = [row for label, figures in part["labels"].items() for row in _rows(label, figures)]
        yield f"**{name}** (data SHA-256 {part['data_sha256'][:16]}…)"
        yield table(["what", "n", "result"], rows)
        if part["notes"]:
            yield "\n".join(f"- {note}" for note in part["notes"])


def _rows(label: str, figures: Mapping[str, Any]) -> Iterator[list[str]]:
    whole = figures["mean_of_cases"]
    if figures["sources"]:
        yield from _picture_rows(label, figures)
        return
    cases = f"{figures['cases']} cases, {figures['patients']} patients"
    yield [f"{label}: Dice a case", cases, shown(Estimate(**whole["dice"]))]
    yield [f"{label}: accuracy a case", cases, shown(Estimate(**whole["accuracy"]), digits=4)]
    for name, key in (("HD95, mm", "hd95_mm"), ("surface distance, mm", "average_symmetric_surface_distance_mm")):
        yield [f"{label}: {name}", cases, shown(Estimate(**figures[key]), digits=2)]
    for size, found in (figures["lesions"] or {}).items():
        missed = (
            f"{shown(Estimate(**found['recall']))}; false ones a patient {shown(Estimate(**found['false_a_patient']))}"
        )
        yield [f"{label}: lesions found, {size} voxels", f"{found['truth']}", missed]
    slices = figures["slices"]
    for key, name in (("sensitivity", "slices with it, called"), ("specificity", "slices without, not called")):
        yield [f"{label}: {name}", str(slices[key]["count"]), shown(Estimate(**slices[key]))]


def _picture_rows(label: str, figures: Mapping[str, Any]) -> Iterator[list[str]]:
    """Slices by source: some of them hold the label, the others do not."""
    for source in figures["sources"]:
        has = "with" if source["has_label"] else "without"
        about, count = f"{source['source']}, {has} {label}", str(source["called"]["count"])
        if source["has_label"]:
            yield [f"{about}: mean Dice", count, shown(Estimate(**source["dice"]))]
            yield [f"{about}: called at a true place", count, shown(Estimate(**source["at_the_place"]))]
        yield [f"{about}: called", count, shown(Estimate(**source["called"]))]
