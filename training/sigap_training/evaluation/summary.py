"""The figures of one label over the cases of a part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import compress
from typing import Any

import numpy as np

from sigap.core.contract import Label
from sigap_training.evaluation.agreement import Agreement
from sigap_training.evaluation.calibration import Calibration, bce_dice_loss
from sigap_training.evaluation.intervals import Estimate, bootstrap, mean, share
from sigap_training.evaluation.lesions import SIZE_CLASSES, Detection, detect
from sigap_training.evaluation.overlap import POOLED
from sigap_training.evaluation.scoring import Score, patients_of
from sigap_training.evaluation.threshold import ThresholdCurve


@dataclass(frozen=True)
class SliceFigures:
    """Yes or no, slice by slice; a slice is called if any voxel is left after post-processing.

    Attributes:
        sensitivity: of slices with the label those called.
        at_the_place: of slices with the label those called at a true voxel.
        specificity: of slices without it those not called.
    """

    sensitivity: Estimate
    at_the_place: Estimate
    specificity: Estimate

    @classmethod
    def of(cls, scores: Sequence[Score]) -> SliceFigures:
        patients = [score.patient for score in scores for _ in score.slices.is_true]
        is_true, is_called, is_hit = (
            np.concatenate([getattr(score.slices, name) for score in scores])
            for name in ("is_true", "is_called", "is_hit")
        )
        positives, negatives = list(compress(patients, is_true)), list(compress(patients, ~is_true))
        return cls(
            sensitivity=share(is_called[is_true].tolist(), positives),
            at_the_place=share(is_hit[is_true].tolist(), positives),
            specificity=share((~is_called[~is_true]).tolist(), negatives),
        )

    def as_json(self) -> dict[str, Any]:
        return {name: estimate.as_json() for name, estimate in vars(self).items()}


@dataclass(frozen=True)
class SourceFigures:
    """Slices of one source that all have the label, or all have not.

    Attributes:
        source: as the data calls it.
        has_label: which of the two.
        called: the share of slices called.
        at_the_place: called at a true voxel; None without the label.
        dice: mean over slices; None without the label.
    """

    source: str
    has_label: bool
    called: Estimate
    at_the_place: Estimate | None
    dice: Estimate | None

    @classmethod
    def of(cls, source: str, scores: Sequence[Score], *, has_label: bool) -> SourceFigures:
        patients = patients_of(scores)
        hits = share([bool(score.slices.is_hit.any()) for score in scores], patients)
        return cls(
            source=source,
            has_label=has_label,
            called=_called(scores),
            at_the_place=hits if has_label else None,
            dice=mean([score.overlap.dice for score in scores], patients) if has_label else None,
        )

    def as_json(self) -> dict[str, Any]:
        figures = {name: getattr(self, name) for name in ("called", "at_the_place", "dice")}
        shown = {name: estimate.as_json() if estimate else None for name, estimate in figures.items()}
        return {"source": self.source, "has_label": self.has_label, **shown}


@dataclass(frozen=True)
class Summary:
    """One label of one part.

    Attributes:
        label: its name.
        cases: how many tell it, and of them `with_label` have it.
        patients: how many they are of.
        a_case: means over cases: Dice, precision and recall of those that have the label, accuracy of all.
        pooled: the same of all voxels of all cases together.
        hd95_mm, assd_mm: means over the cases where the distance is defined.
        agreement: of volumes, or of areas in pixels.
        slices: yes or no.
        called_with, called_without: whole cases with and without the label: the share with any voxel called.
        sources: of pictures, by their source.
        detection: by size class; None for an organ.
        loss, calibration, threshold: of probabilities before post-processing; of the first see `bce_dice_loss`.
    """

    label: str
    cases: int
    with_label: int
    patients: int
    a_case: dict[str, Estimate]
    pooled: dict[str, Estimate]
    hd95_mm: Estimate
    assd_mm: Estimate
    agreement: Agreement
    slices: SliceFigures
    called_with: Estimate
    called_without: Estimate
    sources: tuple[SourceFigures, ...]
    detection: dict[str, Detection] | None
    loss: dict[str, float]
    calibration: Calibration
    threshold: ThresholdCurve

    def as_json(self) -> dict[str, Any]:
        return {
            "cases": self.cases,
            "cases_with_label": self.with_label,
            "patients": self.patients,
            "mean_of_cases": {name: estimate.as_json() for name, estimate in self.a_case.items()},
            "all_voxels": {name: estimate.as_json() for name, estimate in self.pooled.items()},
            "hd95_mm": self.hd95_mm.as_json(),
            "average_symmetric_surface_distance_mm": self.assd_mm.as_json(),
            "amount": self.agreement.as_json(),
            "slices": self.slices.as_json(),
            "cases_called": {"with_label": self.called_with.as_json(), "without": self.called_without.as_json()},
            "sources": [figures.as_json() for figures in self.sources],
            "lesions": self.detection and {size: found.as_json() for size, found in self.detection.items()},
            "loss": self.loss,
            "calibration": self.calibration.as_json(),
            "threshold": self.threshold.as_json(),
        }


def summarise(scores: Sequence[Score], label: Label, *, is_pictures: bool) -> Summary:
    """Sum up a label; at least one score."""
    patients = patients_of(scores)
    having = [score for score in scores if score.overlap.is_true]
    owners = patients_of(having)
    rows = np.array([score.overlap.as_row() for score in scores])
    histograms = [score.histogram for score in scores]
    counts = np.sum(histograms, axis=0)
    return Summary(
        label=label.name,
        cases=len(scores),
        with_label=len(having),
        patients=len(set(patients)),
        a_case={
            "dice": mean([score.overlap.dice for score in having], owners),
            "accuracy": mean([score.overlap.accuracy for score in scores], patients),
            "precision": mean([score.overlap.precision for score in having], owners),
            "recall": mean([score.overlap.recall for score in having], owners),
        },
        pooled={name: bootstrap(rows, patients, statistic) for name, statistic in POOLED.items()},
        hd95_mm=mean([score.hd95_mm for score in scores], patients),
        assd_mm=mean([score.assd_mm for score in scores], patients),
        agreement=_agreement(scores, having, is_pictures=is_pictures),
        slices=SliceFigures.of(scores),
        called_with=_called(having),
        called_without=_called([score for score in scores if not score.overlap.is_true]),
        sources=_by_source(scores) if is_pictures else (),
        detection=_detect(scores, label, patients),
        loss=bce_dice_loss(counts),
        calibration=Calibration.of(counts),
        threshold=ThresholdCurve.of(histograms, label.thresholds[1]),
    )


def case_rows(scores: Sequence[Score]) -> list[dict[str, Any]]:
    """Each case's own figures, for the report's list."""
    return [
        {
            "case": score.case,
            "patient": score.patient,
            "source": score.source,
            "has_label": score.overlap.is_true,
            "dice": score.overlap.dice,
            "accuracy": score.overlap.accuracy,
            "precision": score.overlap.precision,
            "recall": score.overlap.recall,
            "hd95_mm": score.hd95_mm,
            "assd_mm": score.assd_mm,
            "found_ml": score.found_ml,
            "truth_ml": score.truth_ml,
            "found_voxels": score.overlap.both + score.overlap.found_only,
            "truth_voxels": score.overlap.both + score.overlap.truth_only,
        }
        for score in scores
    ]


def _called(scores: Sequence[Score]) -> Estimate:
    """The share of cases with any voxel called."""
    return share([bool(score.slices.is_called.any()) for score in scores], patients_of(scores))


def _detect(scores: Sequence[Score], label: Label, patients: Sequence[str]) -> dict[str, Detection] | None:
    if label.role != "lesion":
        return None
    lesions = [score.lesions for score in scores if score.lesions is not None]
    return {size: detect(lesions, patients, size) for size in SIZE_CLASSES}


def _agreement(scores: Sequence[Score], having: Sequence[Score], *, is_pictures: bool) -> Agreement:
    """Volumes of all cases; of pictures the areas of slices that have the label, or most of them would be 0 and 0."""
    if is_pictures:
        found = [score.overlap.both + score.overlap.found_only for score in having]
        truth = [score.overlap.both + score.overlap.truth_only for score in having]
        return Agreement("px", np.array(found, float), np.array(truth, float), patients_of(having))
    pairs = [(score.found_ml, score.truth_ml, score.patient) for score in scores]
    known = [(mine, true, who) for mine, true, who in pairs if mine is not None and true is not None]
    amounts = np.array([(mine, true) for mine, true, _ in known]).reshape(-1, 2)
    return Agreement("mL", amounts[:, 0], amounts[:, 1], [who for _, _, who in known])


def _by_source(scores: Sequence[Score]) -> tuple[SourceFigures, ...]:
    groups: dict[tuple[str, bool], list[Score]] = {}
    for score in scores:
        groups.setdefault((score.source or "(source not told)", score.overlap.is_true), []).append(score)
    return tuple(
        SourceFigures.of(source, group, has_label=has_label)
        for (source, has_label), group in sorted(groups.items(), key=lambda item: (not item[0][1], item[0][0]))
    )
