"""The mask as DICOM Segmentation (PS3.3 A.51), on the frames of its source: nothing is ever resampled."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import BinaryIO, cast

from highdicom import AlgorithmIdentificationSequence
from highdicom.color import CIELabColor
from highdicom.seg import SegmentDescription
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import SegmentationStorage

from sigap.core.contract import Label
from sigap.core.result import Result
from sigap.encoders.dicom.bits import write_bits
from sigap.encoders.dicom.frames import dimensions, frame_groups, layers, planes, shared_groups
from sigap.encoders.dicom.instance import MANUFACTURER, Kind, new_instance, note_loss, save
from sigap.encoders.dicom.items import category, item, kind, plain, region
from sigap.encoders.dicom.source import header_of, instances, source_of
from sigap.encoders.dicom.uids import Uids, frame_of_reference
from sigap.encoders.labels import labelmap_of
from sigap.imaging.dicom.quiet import quiet

SEG = Kind("seg", SegmentationStorage, "SEG", 9101, "segmentation")
_LONGEST_LABEL = 16


@quiet()
def write_seg(result: Result, path: Path) -> None:
    """Write one binary segment for each label, what a label contains counted to it; equal results give equal bytes.

    Raises:
        FormatNotForInput: the input is no DICOM, or its images name no study, series or instance.
        ValueError: the labelmap does not fit the volume.
    """
    source_of(result.study)
    labelmap, contract = labelmap_of(result), result.model.contract
    shown = layers(labelmap, contract)
    dataset = _segmentation(result)
    grid, source = result.study.volume.grid, source_of(result.study)
    dataset.NumberOfFrames = len(shown)
    dataset.SharedFunctionalGroupsSequence = [shared_groups(grid, source)]
    dataset.PerFrameFunctionalGroupsSequence = [frame_groups(layer, grid, source) for layer in shown]
    with tempfile.TemporaryFile(dir=path.parent) as pixels:
        write_bits(planes(labelmap, contract, shown), cast("BinaryIO", pixels))
        pixels.seek(0)
        dataset.add_new("PixelData", "OB", pixels)
        save(dataset, path)


def _segmentation(result: Result) -> Dataset:
    """All but the frames.

    Segmentation Image (PS3.3 C.8.20.2), Frame of Reference (C.7.4.1), Common Instance Reference (C.12.2).
    """
    uids, source, contract = Uids(result), source_of(result.study), result.model.contract
    dataset = new_instance(result, SEG, uids)
    dataset.FrameOfReferenceUID = source.frame_of_reference_uid or frame_of_reference(result.study.origin)
    dataset.PositionReferenceIndicator = header_of(source).get("PositionReferenceIndicator")
    dataset.ReferencedSeriesSequence = [
        item(SeriesInstanceUID=result.study.origin.series_uid, ReferencedInstanceSequence=instances(source.slices))
    ]
    for keyword, value in dimensions(uids.of("seg", "dimensions")).items():
        setattr(dataset, keyword, value)
    dataset.ImageType = ["DERIVED", "PRIMARY"]
    dataset.ContentLabel = _label_of(result.model.name)
    dataset.ContentDescription = plain(f"{result.model.name} by Sigap, research use only")[:64]
    dataset.ContentCreatorName = None
    dataset.SegmentationType = "BINARY"
    dataset.SegmentsOverlap = "YES" if any(label.parent for label in contract.labels) else "NO"
    dataset.SegmentSequence = [_segment(result, uids, number, label) for number, label in enumerate(contract.labels, 1)]
    _, dataset.Rows, dataset.Columns = result.study.volume.grid.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation, dataset.PixelRepresentation = 1, "MONOCHROME2", 0
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 1, 1, 0
    note_loss(dataset, result)
    return dataset


def _segment(result: Result, uids: Uids, number: int, label: Label) -> Dataset:
    """What a segment is, what found it, how it is best shown (Segment Description Macro, PS3.3 C.8.20.4)."""
    place = region(label)
    return SegmentDescription(
        segment_number=number,
        segment_label=plain(label.name)[:64],
        segmented_property_category=category(label),
        segmented_property_type=kind(label),
        algorithm_type="AUTOMATIC",
        algorithm_identification=algorithm(result),
        tracking_id=plain(label.name),
        tracking_uid=uids.of("tracking", label.name),
        anatomic_regions=None if place is None else [place],
        display_color=CIELabColor.from_rgb(*label.colour),
    )


def algorithm(result: Result) -> AlgorithmIdentificationSequence:
    """The model, its version and the hash of its weights (Algorithm Identification Macro, PS3.3 10.16)."""
    model = result.model
    return AlgorithmIdentificationSequence(
        name=plain(f"{MANUFACTURER} {model.name}")[:64],
        family=codes.DCM.ArtificialIntelligence,
        version=plain(model.version)[:64],
        source=MANUFACTURER,
        parameters={"sha256": model.sha256},
    )


def _label_of(name: str) -> str:
    """A name as Content Label, a code string of 16 characters."""
    letters = (letter if letter.isalnum() or letter in "_ " else "_" for letter in plain(name).upper())
    return "".join(letters)[:_LONGEST_LABEL]
