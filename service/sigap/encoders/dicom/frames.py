"""The frames of a DICOM SEG: where each lies, what it shows, which slice it was made from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from highdicom import PixelMeasuresSequence, PlaneOrientationSequence, PlanePositionSequence
from highdicom.sr import CodedConcept
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes

from sigap.core.contract import Contract
from sigap.core.grid import Grid
from sigap.core.segmentation import mask_of
from sigap.core.study import DicomSlice, DicomSource
from sigap.encoders.dicom.items import item
from sigap.encoders.dicom.source import reference

UNKNOWN_THICKNESS_MM = 1.0
"""Of a single slice whose header does not say; the macro wants a number, and the mask's NIfTI affine has the same."""
_PATIENT = "PATIENT"


@dataclass(frozen=True)
class Layer:
    """One frame.

    Attributes:
        segment: its number, from 1.
        index: of the slice that it lies on.
    """

    segment: int
    index: int


def layers(labelmap: NDArray[np.uint8], contract: Contract) -> list[Layer]:
    """Segment by segment, from feet to head, where there is something to show.

    A segment that is empty gets one frame without a pixel, on the first slice: some readers refuse a segment, and all
    of them an object, that has no frame.
    """
    found = []
    for number, label in enumerate(contract.labels, 1):
        values = contract.family(label.name)
        marked = [index for index, plane in enumerate(labelmap) if mask_of(plane, values).any()]
        found += [Layer(number, index) for index in marked or [0]]
    return found


def planes(labelmap: NDArray[np.uint8], contract: Contract, shown: Sequence[Layer]) -> Iterator[NDArray[np.bool_]]:
    """(rows, columns) of each frame."""
    for layer in shown:
        yield mask_of(labelmap[layer.index], contract.family(contract.labels[layer.segment - 1].name))


def shared_groups(grid: Grid, source: DicomSource) -> Dataset:
    """What holds for all frames: Pixel Measures and Plane Orientation (PS3.3 C.7.6.16.2.1 and .4)."""
    between, rows, columns = grid.spacing_mm
    if rows is None or columns is None or grid.column_step_lps_mm is None or grid.row_step_lps_mm is None:
        raise ValueError("a DICOM series was accepted without spacing")
    directions = np.concatenate([grid.column_step_lps_mm / columns, grid.row_step_lps_mm / rows])
    measures = PixelMeasuresSequence(
        pixel_spacing=(rows, columns),
        slice_thickness=source.thickness_mm or between or UNKNOWN_THICKNESS_MM,
        spacing_between_slices=between if grid.shape[0] > 1 and grid.is_uniform else None,
    )
    orientation = PlaneOrientationSequence(_PATIENT, image_orientation=directions.tolist())
    return item(PixelMeasuresSequence=measures, PlaneOrientationSequence=orientation)


def frame_groups(layer: Layer, grid: Grid, source: DicomSource) -> Dataset:
    """What holds for one frame.

    Frame Content, Plane Position, Derivation Image (PS3.3 C.7.6.16.2.2, .3 and .6) and Segmentation (C.8.20.3.1).
    """
    if grid.first_voxels_lps_mm is None:
        raise ValueError("a DICOM series was accepted without positions")
    position = grid.first_voxels_lps_mm[layer.index].tolist()
    return item(
        FrameContentSequence=[item(DimensionIndexValues=[layer.segment, layer.index + 1])],
        PlanePositionSequence=PlanePositionSequence(_PATIENT, image_position=position),
        DerivationImageSequence=[_derivation(source.slices[layer.index])],
        SegmentIdentificationSequence=[item(ReferencedSegmentNumber=layer.segment)],
    )


def dimensions(organization_uid: str) -> dict[str, Any]:
    """By which values the frames are ordered: segment, then place (PS3.3 C.7.6.17)."""
    return {
        "DimensionOrganizationSequence": [item(DimensionOrganizationUID=organization_uid)],
        "DimensionIndexSequence": [
            item(
                DimensionOrganizationUID=organization_uid,
                DimensionIndexPointer=0x0062000B,
                FunctionalGroupPointer=0x0062000A,
                DimensionDescriptionLabel="Segment Number",
            ),
            item(
                DimensionOrganizationUID=organization_uid,
                DimensionIndexPointer=0x00200032,
                FunctionalGroupPointer=0x00209113,
                DimensionDescriptionLabel="Image Position Patient",
            ),
        ],
    }


def _derivation(one: DicomSlice) -> Dataset:
    source = reference(one)
    source.PurposeOfReferenceCodeSequence = [CodedConcept.from_code(codes.DCM.SourceImageForImageProcessingOperation)]
    source.SpatialLocationsPreserved = "YES"
    return item(
        DerivationCodeSequence=[CodedConcept.from_code(codes.cid7203.SegmentationImageDerivation)],
        SourceImageSequence=[source],
    )
