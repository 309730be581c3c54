"""Key images as DICOM Secondary Capture (PS3.3 A.8.1), for the viewer that knows neither SEG nor SR."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from highdicom.sr import CodedConcept
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import SecondaryCaptureImageStorage

from sigap.core.result import Result
from sigap.encoders.dicom.instance import Kind, made_at, new_instance, note_loss, save
from sigap.encoders.dicom.items import plain
from sigap.encoders.dicom.source import reference, source_of
from sigap.encoders.dicom.uids import Uids
from sigap.encoders.labels import labelmap_of
from sigap.encoders.overlay.pages import KeyImage, draw_key_image, draw_summary, key_images
from sigap.imaging.dicom.quiet import quiet

CAPTURE = Kind("sc", SecondaryCaptureImageStorage, "OT", 9103, "key images")
_LONGEST_COMMENT = 1024


def capture_files(result: Result) -> Mapping[str, Callable[[Result, Path], None]]:
    """What writes each page, by file name: the summary first, then the key images.

    Raises:
        FormatNotForInput: the input is no DICOM, or its images name no study, series or instance.
        ValueError: the labelmap does not fit the volume.
    """
    source_of(result.study)
    labelmap_of(result)
    uids = Uids(result)
    pages: list[KeyImage | None] = [None, *key_images(result)]
    return {
        f"sc-{number:03}.dcm": partial(_write_page, uids=uids, number=number, key=key)
        for number, key in enumerate(pages, 1)
    }


@quiet()
def _write_page(result: Result, path: Path, *, uids: Uids, number: int, key: KeyImage | None) -> None:
    dataset = new_instance(result, CAPTURE, uids, number=number)
    _describe(dataset, result, key)
    _set_pixels(dataset, draw_summary(result) if key is None else draw_key_image(result, key))
    note_loss(dataset, result)
    save(dataset, path)


def _describe(dataset: Dataset, result: Result, key: KeyImage | None) -> None:
    """SC Equipment (PS3.3 C.8.6.1), SC Image (C.8.6.2), General Image (C.7.6.1), General Reference (C.12.4)."""
    made = made_at(result)
    dataset.ConversionType = "WSD"
    if "BodyPartExamined" not in dataset:
        # Type 2C of General Series, where the body part may be a paired one.
        dataset.Laterality = None
    dataset.DateOfSecondaryCapture, dataset.TimeOfSecondaryCapture = made.strftime("%Y%m%d"), made.strftime("%H%M%S.%f")
    dataset.ImageType = ["DERIVED", "SECONDARY"]
    # By the standard's definition: nothing on it tells who the patient is or when the scan was.
    dataset.BurnedInAnnotation = "NO"
    words = "summary" if key is None else f"{key.title}: {key.numbers}"
    dataset.ImageComments = plain(f"Research use only. Sigap {result.model.name}, {words}")[:_LONGEST_COMMENT]
    if key is None or not result.study.volume.grid.is_oriented:
        dataset.PatientOrientation = None
        return
    dataset.PatientOrientation = ["L", "P"]
    shown = reference(source_of(result.study).slices[key.index])
    shown.PurposeOfReferenceCodeSequence = [CodedConcept.from_code(codes.DCM.SourceImageForImageProcessingOperation)]
    dataset.SourceImageSequence = [shown]


def _set_pixels(dataset: Dataset, page: Image.Image) -> None:
    """Image Pixel (PS3.3 C.7.6.3)."""
    dataset.Columns, dataset.Rows = page.size
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation, dataset.PlanarConfiguration = 3, "RGB", 0
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 8, 8, 7, 0
    dataset.add_new("PixelData", "OB", page.tobytes())
