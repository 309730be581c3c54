"""What a model's answer to one case is worth, label by label."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sigap.core.contract import Label
from sigap.core.segmentation import mask_of
from sigap.core.study import Volume
from sigap.imaging.measure.amount import volume_ml
from sigap_training.evaluation.calibration import histogram
from sigap_training.evaluation.case import Case
from sigap_training.evaluation.lesions import Lesions
from sigap_training.evaluation.overlap import Overlap
from sigap_training.evaluation.surface import SurfaceDistance, surface_distance
from sigap_training.model_folder import ModelFolder


@dataclass(frozen=True)
class SliceCalls:
    """Slice by slice, (D,): does it have the label, was any voxel called, is any of those right."""

    is_true: NDArray[np.bool_]
    is_called: NDArray[np.bool_]
    is_hit: NDArray[np.bool_]

    @classmethod
    def of(cls, found: NDArray[np.bool_], truth: NDArray[np.bool_]) -> SliceCalls:
        true, called, hit = (np.asarray(mask.any(axis=(1, 2))) for mask in (truth, found, found & truth))
        return cls(true, called, hit)


@dataclass(frozen=True)
class Score:
    """One label of one case.

    Attributes:
        case, patient, source: of the case.
        overlap: in voxels.
        surface: None where a mask is empty or a spacing unknown.
        found_ml, truth_ml: volumes; None without spacing.
        slices: yes or no, slice by slice.
        lesions: None for an organ.
        histogram: [2, 256], voxels outside and inside the truth by probability, before post-processing.
    """

    case: str
    patient: str
    source: str
    overlap: Overlap
    surface: SurfaceDistance | None
    found_ml: float | None
    truth_ml: float | None
    slices: SliceCalls
    lesions: Lesions | None
    histogram: NDArray[np.int64]

    @property
    def hd95_mm(self) -> float | None:
        return self.surface.hd95_mm if self.surface else None

    @property
    def assd_mm(self) -> float | None:
        return self.surface.assd_mm if self.surface else None


def score_case(model: ModelFolder, case: Case) -> dict[str, Score]:
    """Answer a case as the gateway does, and score each label that its truth tells."""
    probabilities = model.probabilities(case.volume)
    labelmap = model.segment(case.volume, probabilities).labelmap
    stored = case.volume.grid.orientation.to_stored
    scores = {}
    for channel, label in enumerate(model.contract.labels):
        if label.name in case.truth:
            found = mask_of(labelmap, model.contract.family(label.name))
            scores[label.name] = _score(case, label, found, stored(probabilities[:, channel]))
    return scores


def _score(case: Case, label: Label, found: NDArray[np.bool_], probabilities: NDArray[np.uint8]) -> Score:
    truth, volume = case.truth[label.name], case.volume
    return Score(
        case=case.name,
        patient=case.patient,
        source=case.source,
        overlap=Overlap.of(found, truth),
        surface=surface_distance(found, truth, volume.grid.spacing_mm),
        found_ml=_millilitres(found, volume),
        truth_ml=_millilitres(truth, volume),
        slices=SliceCalls.of(found, truth),
        lesions=Lesions.of(found, truth) if label.role == "lesion" else None,
        histogram=histogram(probabilities, truth),
    )


def _millilitres(mask: NDArray[np.bool_], volume: Volume) -> float | None:
    return volume_ml(np.count_nonzero(mask, axis=(1, 2)), volume.grid)


def patients_of(scores: Sequence[Score]) -> list[str]:
    """Whose each score is."""
    return [score.patient for score in scores]
