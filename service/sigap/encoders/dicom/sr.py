"""The report as DICOM Structured Report: Comprehensive 3D SR (PS3.3 A.35.13), TID 1500 Measurement Report (PS3.16)."""

from __future__ import annotations

from pathlib import Path

from highdicom.sr import (
    CodedConcept,
    ContainerContentItem,
    ContentSequence,
    DeviceObserverIdentifyingAttributes,
    MeasurementReport,
    ObservationContext,
    ObserverContext,
    RelationshipTypeValues,
    TextContentItem,
)
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import Comprehensive3DSRStorage

from sigap.core.result import Result
from sigap.encoders.dicom.groups import SCHEME, measurement_groups
from sigap.encoders.dicom.instance import MANUFACTURER, Kind, new_instance, save
from sigap.encoders.dicom.items import item, plain
from sigap.encoders.dicom.seg import SEG
from sigap.encoders.dicom.source import instances, source_of
from sigap.encoders.dicom.uids import Uids, device
from sigap.encoders.finding import finding
from sigap.imaging.dicom.quiet import quiet

SR = Kind("sr", Comprehensive3DSRStorage, "SR", 9102, "measurements", has_body_part=False)
_QUALITATIVE_EVALUATIONS = CodedConcept("C0034375", "UMLS", "Qualitative Evaluations")
_INTERVAL = (
    "Least and greatest volume show how the number depends on the threshold of the probability; "
    "they are no confidence interval."
)


@quiet()
def write_sr(result: Result, path: Path) -> None:
    """Write every number of the report that is known, each group linked to its segment in the SEG of the same result.

    Raises:
        FormatNotForInput: the input is no DICOM, or its images name no study, series or instance.
    """
    source_of(result.study)
    uids = Uids(result)
    dataset = new_instance(result, SR, uids)
    (root,) = MeasurementReport(
        observation_context=ObservationContext(observer_device_context=_observer(result)),
        procedure_reported=codes.LN.CTUnspecifiedBodyRegion,
        imaging_measurements=measurement_groups(result, uids),
    )
    root.ContentSequence.append(_evaluations(result))
    for element in root:
        dataset.add(element)
    _add_document_general(dataset, result, uids)
    save(dataset, path)


def _observer(result: Result) -> ObserverContext:
    """TID 1002 and 1004: no person, but this software with this model."""
    model = result.model
    attributes = DeviceObserverIdentifyingAttributes(
        uid=device(model),
        name=plain(f"{MANUFACTURER} {model.name} {model.version}"),
        manufacturer_name=MANUFACTURER,
        model_name=MANUFACTURER,
        serial_number=model.sha256,
    )
    return ObserverContext(observer_type=codes.DCM.Device, observer_identifying_attributes=attributes)


def _evaluations(result: Result) -> ContainerContentItem:
    """TID 1500, Qualitative Evaluations: what was found in words, and what to be careful about."""
    container = ContainerContentItem(name=_QUALITATIVE_EVALUATIONS, relationship_type=RelationshipTypeValues.CONTAINS)
    geometry = result.study.geometry
    comments = ["Research use only: not a medical device."]
    comments += [f"Geometry {geometry.severity.word}, {reason.code}: {reason.message}" for reason in geometry.reasons]
    comments += [f"Warning, {notice.code}: {notice.message}" for notice in result.warnings]
    if any(measure.interval_ml is not None and measure.voxels for measure in result.measurements.labels):
        comments.append(_INTERVAL)
    container.ContentSequence = ContentSequence(
        [
            _text(codes.DCM.Finding, finding(result)["statement"]),
            *(_text(codes.DCM.Comment, comment) for comment in comments),
        ]
    )
    return container


def _text(name: CodedConcept, text: str) -> TextContentItem:
    return TextContentItem(name=name, value=plain(text), relationship_type=RelationshipTypeValues.CONTAINS)


def _add_document_general(dataset: Dataset, result: Result, uids: Uids) -> None:
    """SR Document General (PS3.3 C.17.2) and SR Document Series (C.17.1): complete, and verified by nobody."""
    source = source_of(result.study)
    dataset.ReferencedPerformedProcedureStepSequence = []
    dataset.PerformedProcedureCodeSequence = []
    dataset.CompletionFlag, dataset.VerificationFlag, dataset.PreliminaryFlag = "COMPLETE", "UNVERIFIED", "PRELIMINARY"
    segmentation = item(ReferencedSOPClassUID=SEG.sop_class, ReferencedSOPInstanceUID=uids.of(SEG.name, "instance", 1))
    series = {
        result.study.origin.series_uid: instances(source.slices),
        uids.of(SEG.name, "series"): [segmentation],
    }
    evidence = [item(SeriesInstanceUID=uid, ReferencedSOPSequence=referred) for uid, referred in series.items()]
    dataset.CurrentRequestedProcedureEvidenceSequence = [
        item(StudyInstanceUID=result.study.origin.study_uid, ReferencedSeriesSequence=evidence)
    ]
    dataset.CodingSchemeIdentificationSequence = [
        item(CodingSchemeDesignator=SCHEME, CodingSchemeName="Sigap", CodingSchemeResponsibleOrganization="Sigap")
    ]
