"""All numbers of one segmentation."""

from __future__ import annotations

import numpy as np

from sigap.core.contract import Contract, Label
from sigap.core.measurement import LabelMeasure, Lesion, Measurements
from sigap.core.segmentation import Segmentation, mask_of
from sigap.core.study import Volume
from sigap.imaging.measure.amount import area_mm2, area_px, volume_ml
from sigap.imaging.measure.hounsfield import hounsfield
from sigap.imaging.measure.lesions import measure_lesions, number_lesions
from sigap.imaging.postprocess.region import Region, bounding_box


def measure(segmentation: Segmentation, volume: Volume, contract: Contract) -> Measurements:
    """Read every number of the report off a labelmap.

    Args:
        segmentation: from `postprocess.segment`, or a bare labelmap such as a truth mask; then there are no intervals.
        volume: what was segmented, on the same grid.
        contract: the labelmap's labels, and the measures of the task.
    """
    found = bounding_box(segmentation.labelmap)
    labels: list[LabelMeasure] = []
    lesions: list[Lesion] = []
    for label in contract.labels:
        region = Region.empty()
        if found is not None:
            inside = mask_of(segmentation.labelmap[found], contract.family(label.name))
            region = Region.of(inside, (found[0].start, found[1].start, found[2].start))
        labels.append(_measure_label(label, region, segmentation, volume))
        if label.role == "lesion":
            lesions += measure_lesions(region, label.name, volume, contract)
    measures = _burdens(labels, contract) if "burden" in contract.measures else {}
    return Measurements(tuple(labels), number_lesions(lesions), measures)


def _measure_label(label: Label, region: Region, segmentation: Segmentation, volume: Volume) -> LabelMeasure:
    grid = volume.grid
    slice_voxels = np.count_nonzero(region.voxels, axis=(1, 2))
    voxels = int(slice_voxels.sum())
    dropped = segmentation.dropped.get(label.name)
    return LabelMeasure(
        name=label.name,
        voxels=voxels,
        volume_ml=volume_ml(slice_voxels, grid, region.first[0]),
        area_mm2=area_mm2(voxels, grid),
        area_px=area_px(voxels, grid),
        interval_ml=_interval(label.name, segmentation, volume),
        hu=hounsfield(volume, region),
        dropped_components=0 if dropped is None else dropped.components,
        dropped_volume_ml=volume_ml(np.zeros(0, np.int64) if dropped is None else dropped.slice_voxels, grid),
    )


def _interval(name: str, segmentation: Segmentation, volume: Volume) -> tuple[float, float] | None:
    """Least and greatest volume over the three thresholds; None of a mask that did not come from probabilities."""
    volumes = [volume_ml(counts, volume.grid) for counts in segmentation.slice_voxels.get(name, ())]
    known = [amount for amount in volumes if amount is not None]
    return (min(known), max(known)) if known else None


def _burdens(labels: list[LabelMeasure], contract: Contract) -> dict[str, float | None]:
    """For each lesion inside an organ its part of the organ, itself included, in percent."""
    measured = {label.name: label for label in labels}
    burdens: dict[str, float | None] = {}
    for label in contract.labels:
        if label.role == "lesion" and label.parent is not None:
            burdens[f"{label.name}_burden_percent"] = _percent(measured[label.name], measured[label.parent])
    return burdens


def _percent(part: LabelMeasure, whole: LabelMeasure) -> float | None:
    """By volume; where there is none, in a single slice without thickness, by area; None of nothing."""
    if whole.voxels == 0:
        return None
    if part.volume_ml is None or whole.volume_ml is None:
        return 100 * part.voxels / whole.voxels
    return 100 * part.volume_ml / whole.volume_ml
