"""Measurement groups of a structured report: one for each label as a whole, one for each lesion (PS3.16 TID 1411)."""

from __future__ import annotations

from collections.abc import Iterator

from highdicom.sr import (
    AlgorithmIdentification,
    CodedConcept,
    FindingSite,
    Measurement,
    ReferencedSegment,
    RelationshipTypeValues,
    SourceImageForMeasurement,
    SourceSeriesForSegmentation,
    TextContentItem,
    TrackingIdentifier,
    VolumetricROIMeasurementsAndQualitativeEvaluations,
)
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from sigap.core.measurement import Hounsfield, LabelMeasure, Lesion
from sigap.core.result import Result
from sigap.core.study import DicomSlice
from sigap.encoders.dicom.instance import MANUFACTURER
from sigap.encoders.dicom.items import category, kind, plain, region
from sigap.encoders.dicom.seg import SEG
from sigap.encoders.dicom.source import reference, source_of
from sigap.encoders.dicom.uids import Uids

Group = VolumetricROIMeasurementsAndQualitativeEvaluations

SCHEME = "99SIGAP"
"""Names what no standard code means (PS3.16 8.2)."""
LEAST_VOLUME = Code("least-volume", SCHEME, "Least volume over the thresholds")
GREATEST_VOLUME = Code("greatest-volume", SCHEME, "Greatest volume over the thresholds")
ABC2 = Code("abc2", SCHEME, "ABC/2 estimate of volume")
ABC2_WEIGHTED = Code("abc2-weighted", SCHEME, "ABC/2 estimate of volume, slices weighted")
# UCUM (PS3.16 CID 7181 and others).
_ML = Code("mL", "UCUM", "milliliter")
_MM = Code("mm", "UCUM", "millimeter")
_MM2 = Code("mm2", "UCUM", "square millimeter")
_HU = Code("[hnsf'U]", "UCUM", "Hounsfield unit")
_PERCENT = Code("%", "UCUM", "percent")
_ATTENUATION = Code("112031", "DCM", "Attenuation Coefficient")
_AREA = Code("42798000", "SCT", "Area")
_LONG_AXIS = Code("103339001", "SCT", "Long Axis")
_SHORT_AXIS = Code("103340004", "SCT", "Short Axis")
_STATISTICS = {
    "mean": Code("373098007", "SCT", "Mean"),
    "sd": Code("386136009", "SCT", "Standard Deviation"),
    "min": Code("255605001", "SCT", "Minimum"),
    "max": Code("56851009", "SCT", "Maximum"),
}


def measurement_groups(result: Result, uids: Uids) -> list[Group]:
    """Groups of all labels in the contract's order, then of all lesions, the largest first.

    What is not known has no item. A label that was not detected has a group without a number, which says so.
    """
    made = []
    for measure in result.measurements.labels:
        found = list(_of_label(measure, result)) if measure.voxels else []
        group = _group(result, uids, [measure.name], found)
        if not measure.voxels:
            _add_comment(group, f"{measure.name.capitalize()} not detected by the algorithm.")
        made.append(group)
    for lesion in result.measurements.lesions:
        group = _group(result, uids, [lesion.label, str(lesion.id)], list(_of_lesion(lesion, result)))
        if lesion.abc2_disagrees:
            _add_comment(group, "The ABC/2 estimate and the volume disagree.")
        made.append(group)
    return made


def _group(result: Result, uids: Uids, names: list[str], measurements: list[Measurement]) -> Group:
    """What is measured, by what, and which segment shows it; a lesion's is that of its label.

    `names` are the label's, and the lesion's number if it is about one.
    """
    model, label = result.model, result.model.contract.label(names[0])
    place, number = region(label), model.contract.labels.index(label) + 1
    return Group(
        tracking_identifier=TrackingIdentifier(uid=uids.of("tracking", *names), identifier=plain(" ".join(names))),
        referenced_segment=ReferencedSegment(
            sop_class_uid=SEG.sop_class,
            sop_instance_uid=uids.of(SEG.name, "instance", 1),
            segment_number=number,
            source_series=SourceSeriesForSegmentation(str(result.study.origin.series_uid)),
        ),
        finding_category=category(label),
        finding_type=kind(label),
        finding_sites=None if place is None else [FindingSite(place)],
        algorithm_id=AlgorithmIdentification(
            name=plain(f"{MANUFACTURER} {model.name}"),
            version=plain(model.version),
            parameters=[f"sha256={model.sha256}"],
        ),
        measurements=measurements,
    )


def _of_label(measure: LabelMeasure, result: Result) -> Iterator[Measurement]:
    yield from _number(codes.SCT.Volume, measure.volume_ml, _ML)
    if measure.interval_ml is not None:
        yield from _number(LEAST_VOLUME, measure.interval_ml[0], _ML)
        yield from _number(GREATEST_VOLUME, measure.interval_ml[1], _ML)
    yield from _number(_AREA, measure.area_mm2, _MM2)
    yield from _hounsfield(measure.hu)
    burden = result.measurements.measures.get(f"{measure.name}_burden_percent")
    yield from _number(Code("burden", SCHEME, plain(f"{measure.name} burden")[:64].capitalize()), burden, _PERCENT)


def _of_lesion(lesion: Lesion, result: Result) -> Iterator[Measurement]:
    key = source_of(result.study).slices[lesion.key_slice]
    yield from _number(codes.SCT.Volume, lesion.volume_ml, _ML)
    yield from _number(_AREA, lesion.area_mm2, _MM2)
    yield from _number(_LONG_AXIS, lesion.longest_diameter_mm, _MM, key)
    yield from _number(_SHORT_AXIS, lesion.perpendicular_diameter_mm, _MM, key)
    yield from _hounsfield(lesion.hu)
    yield from _number(ABC2, lesion.abc2_ml, _ML)
    yield from _number(ABC2_WEIGHTED, lesion.abc2_weighted_ml, _ML)


def _hounsfield(hu: Hounsfield | None) -> Iterator[Measurement]:
    for name, statistic in _STATISTICS.items():
        if hu is not None:
            yield Measurement(name=_ATTENUATION, value=getattr(hu, name), unit=_HU, derivation=statistic)


def _number(
    name: Code, value: float | None, unit: Code, measured_on: DicomSlice | None = None
) -> Iterator[Measurement]:
    """TID 300; nothing where the value is not known."""
    if value is None:
        return
    images = None
    if measured_on is not None:
        named = reference(measured_on)
        images = [
            SourceImageForMeasurement(
                referenced_sop_class_uid=named.ReferencedSOPClassUID,
                referenced_sop_instance_uid=named.ReferencedSOPInstanceUID,
                referenced_frame_numbers=None if measured_on.frame_number is None else [measured_on.frame_number],
            )
        ]
    yield Measurement(name=name, value=value, unit=unit, referenced_images=images)


def _add_comment(group: Group, text: str) -> None:
    item = TextContentItem(
        name=CodedConcept.from_code(codes.DCM.Comment),
        value=plain(text),
        relationship_type=RelationshipTypeValues.CONTAINS,
    )
    group[0].ContentSequence.append(item)
