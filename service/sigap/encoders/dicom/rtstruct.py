"""Contours for planning systems: RT Structure Set (PS3.3 A.19)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.charset import default_encoding
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag
from pydicom.uid import UID, ImplicitVRLittleEndian, RTStructureSetStorage

from sigap.core.contract import Label
from sigap.core.grid import Grid
from sigap.core.result import Result
from sigap.core.segmentation import mask_of
from sigap.core.study import DicomSource
from sigap.encoders.dicom.instance import Kind, made_at, new_instance, save
from sigap.encoders.dicom.items import item, plain
from sigap.encoders.dicom.source import instances, reference, source_of
from sigap.encoders.dicom.uids import Uids, frame_of_reference
from sigap.encoders.labels import labelmap_of
from sigap.encoders.outline import outlines
from sigap.imaging.dicom.quiet import quiet

RTSTRUCT = Kind("rtstruct", RTStructureSetStorage, "RTSTRUCT", 9104, "contours", has_body_part=False)
_STUDY_CLASS = "1.2.840.10008.3.1.2.3.1"
_CONTOUR_DATA = Tag(0x30060050)


@quiet()
def write_rtstruct(result: Result, path: Path) -> None:
    """Write one region of interest for each label, its contours along the pixels' edges: they enclose just the mask.

    Contours may be longer than the 64 kB that an explicit VR allows, so the file is in Implicit VR Little Endian.

    Raises:
        FormatNotForInput: the input is no DICOM, or its images name no study, series or instance.
        ValueError: the labelmap does not fit the volume.
    """
    source = source_of(result.study)
    labelmap = labelmap_of(result)
    dataset = new_instance(result, RTSTRUCT, Uids(result))
    for absent in ("ContentDate", "ContentTime"):
        delattr(dataset, absent)
    dataset.OperatorsName = None
    frame = source.frame_of_reference_uid or frame_of_reference(result.study.origin)
    _add_structure_set(dataset, result, UID(frame))
    regions = list(enumerate(result.model.contract.labels, 1))
    dataset.ROIContourSequence = [_contours(result, labelmap, number, label) for number, label in regions]
    dataset.RTROIObservationsSequence = [_observation(number, label) for number, label in regions]
    dataset.ApprovalStatus = "UNAPPROVED"
    save(dataset, path, syntax=ImplicitVRLittleEndian)


def _add_structure_set(dataset: Dataset, result: Result, frame: UID) -> None:
    """Structure Set (PS3.3 C.8.8.5) and Frame of Reference (C.7.4.1)."""
    origin, made = result.study.origin, made_at(result)
    source = source_of(result.study)
    dataset.FrameOfReferenceUID, dataset.PositionReferenceIndicator = frame, None
    dataset.StructureSetLabel = plain(result.model.name)[:16]
    dataset.StructureSetName = plain(f"Sigap {result.model.name}, research use only")[:64]
    dataset.StructureSetDate, dataset.StructureSetTime = made.strftime("%Y%m%d"), made.strftime("%H%M%S.%f")
    series = item(SeriesInstanceUID=origin.series_uid, ContourImageSequence=instances(source.slices))
    study = item(
        ReferencedSOPClassUID=_STUDY_CLASS,
        ReferencedSOPInstanceUID=origin.study_uid,
        RTReferencedSeriesSequence=[series],
    )
    dataset.ReferencedFrameOfReferenceSequence = [item(FrameOfReferenceUID=frame, RTReferencedStudySequence=[study])]
    regions = []
    for number, measure in enumerate(result.measurements.labels, 1):
        region = item(
            ROINumber=number,
            ReferencedFrameOfReferenceUID=frame,
            ROIName=plain(measure.name)[:64],
            ROIGenerationAlgorithm="AUTOMATIC",
        )
        if measure.volume_ml is not None:
            region.ROIVolume = f"{measure.volume_ml:.10g}"
        regions.append(region)
    dataset.StructureSetROISequence = regions


def _contours(result: Result, labelmap: NDArray[np.uint8], number: int, label: Label) -> Dataset:
    """ROI Contour (PS3.3 C.8.8.6); of a label that was not detected without a contour."""
    grid, source = result.study.volume.grid, source_of(result.study)
    region = item(ReferencedROINumber=number, ROIDisplayColor=list(label.colour))
    values = result.model.contract.family(label.name)
    found = [contour for index, plane in enumerate(labelmap) for contour in _on(plane, values, grid, source, index)]
    if found:
        region.ContourSequence = found
    return region


def _on(
    plane: NDArray[np.uint8], values: tuple[int, ...], grid: Grid, source: DicomSource, index: int
) -> Iterator[Dataset]:
    mask = mask_of(plane, values)
    if not mask.any():
        return
    for corners in outlines(mask):
        contour = item(
            ContourImageSequence=[reference(source.slices[index])],
            ContourGeometricType="CLOSED_PLANAR",
            NumberOfContourPoints=len(corners),
        )
        _set_points(contour, _places(corners, grid, index))
        yield contour


def _places(corners: NDArray[np.int64], grid: Grid, index: int) -> NDArray[np.float64]:
    """(n, 3) LPS mm of a slice's corners, which lie half a pixel before the centres of their pixels."""
    if grid.first_voxels_lps_mm is None or grid.row_step_lps_mm is None or grid.column_step_lps_mm is None:
        raise ValueError("a DICOM series was accepted without positions")
    rows, columns = (corners - 0.5).T[:, :, np.newaxis]
    return np.asarray(grid.first_voxels_lps_mm[index] + rows * grid.row_step_lps_mm + columns * grid.column_step_lps_mm)


def _set_points(contour: Dataset, places: NDArray[np.float64]) -> None:
    """Contour Data in its bytes: pydicom would make an object of each of a hundred thousand numbers."""
    text = "\\".join(f"{number:.4f}" for number in places.ravel().tolist()).encode("ascii")
    text += b" " * (len(text) % 2)
    contour[_CONTOUR_DATA] = RawDataElement(
        _CONTOUR_DATA, "DS", len(text), text, 0, is_implicit_VR=True, is_little_endian=True
    )
    contour.set_original_encoding(is_implicit_vr=True, is_little_endian=True, character_encoding=default_encoding)


def _observation(number: int, label: Label) -> Dataset:
    """RT ROI Observations (PS3.3 C.8.8.8); what a lesion means for a plan is for others to say."""
    return item(
        ObservationNumber=number,
        ReferencedROINumber=number,
        RTROIInterpretedType="ORGAN" if label.role == "organ" else None,
        ROIInterpreter=None,
    )
