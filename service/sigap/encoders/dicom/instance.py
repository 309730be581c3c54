"""What all of Sigap's DICOM objects have in common: patient, study, a new series, the equipment, the file."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from pydicom import dcmwrite
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian

from sigap import __version__
from sigap.core.result import Result
from sigap.encoders.dicom.items import plain
from sigap.encoders.dicom.source import header_of, source_of
from sigap.encoders.dicom.uids import IMPLEMENTATION_CLASS_UID, Uids

MANUFACTURER = "Sigap"
RESEARCH = "RESEARCH"
# Type 2 of the Patient and General Study modules: without a value where the source has none.
_EMPTY_IF_UNKNOWN = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex"),
    *("StudyDate", "StudyTime", "StudyID", "AccessionNumber", "ReferringPhysicianName"),
)
# Of the source's series or image: of no meaning here, or taken over by those objects alone that need them.
_NOT_ALL_NEED = (
    *("SeriesInstanceUID", "PositionReferenceIndicator"),
    *("LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod"),
)
_LONGEST_TEXT = 64


@dataclass(frozen=True)
class Kind:
    """What kind of object one is.

    Attributes:
        name: of the answer's format.
        sop_class: of the storage service.
        modality: of its series.
        series_number: of its series; above what a scanner counts to.
        description: what its series is called, after the task.
        has_body_part: whether its series may name one (an image's may).
    """

    name: str
    sop_class: UID
    modality: str
    series_number: int
    description: str
    has_body_part: bool = True


def new_instance(result: Result, kind: Kind, uids: Uids, *, number: int = 1) -> Dataset:
    """An object without content, in a new series of the source's study.

    Patient (PS3.3 C.7.1.1), General Study (C.7.2.1), Patient Study (C.7.2.2), General Series (C.7.3.1), Enhanced
    General Equipment (C.7.5.2) and SOP Common (C.12.1).

    Raises:
        FormatNotForInput: the images name no study, series or instance.
    """
    dataset = header_of(source_of(result.study))
    for keyword in _NOT_ALL_NEED:
        if keyword in dataset:
            delattr(dataset, keyword)
    if not kind.has_body_part and "BodyPartExamined" in dataset:
        del dataset.BodyPartExamined
    for keyword in _EMPTY_IF_UNKNOWN:
        if keyword not in dataset:
            setattr(dataset, keyword, None)
    _name_deidentification(dataset)
    dataset.SOPClassUID, dataset.SOPInstanceUID = kind.sop_class, uids.of(kind.name, "instance", number)
    dataset.SeriesInstanceUID = uids.of(kind.name, "series")
    dataset.Modality, dataset.SeriesNumber, dataset.InstanceNumber = kind.modality, kind.series_number, number
    dataset.SeriesDescription = plain(f"Sigap {result.model.name}: {kind.description}, research use")[:_LONGEST_TEXT]
    _sign(dataset, result)
    return dataset


def _name_deidentification(dataset: Dataset) -> None:
    """Type 1C of Patient beside Patient Identity Removed, and not in all images that have that."""
    named = ("DeidentificationMethod", "DeidentificationMethodCodeSequence")
    if dataset.get("PatientIdentityRemoved") == "YES" and not any(keyword in dataset for keyword in named):
        dataset.DeidentificationMethod = "Not named by the images"


def _sign(dataset: Dataset, result: Result) -> None:
    """Who made it, with what, when, and that it is for research."""
    dataset.Manufacturer = dataset.ManufacturerModelName = MANUFACTURER
    # Of a device the number that no other has: of this one that is what its model weighs.
    dataset.DeviceSerialNumber = result.model.sha256[:_LONGEST_TEXT]
    dataset.SoftwareVersions = [__version__, plain(f"{result.model.name} {result.model.version}")[:_LONGEST_TEXT]]
    dataset.ContentQualification = RESEARCH
    made = made_at(result)
    for moment in ("SeriesDate", "ContentDate", "InstanceCreationDate"):
        setattr(dataset, moment, made.strftime("%Y%m%d"))
        setattr(dataset, moment.replace("Date", "Time"), made.strftime("%H%M%S.%f"))


def note_loss(dataset: Dataset, result: Result) -> None:
    """Mark pixels made from lossy ones as such for good (PS3.3 C.7.6.1.1.5), with ratio and method if known."""
    is_lossy = any(reason.code == "lossy" for reason in result.study.geometry.reasons)
    dataset.LossyImageCompression = "01" if is_lossy else "00"
    header = header_of(source_of(result.study))
    for keyword in ("LossyImageCompressionRatio", "LossyImageCompressionMethod"):
        if is_lossy and keyword in header:
            dataset[keyword] = header[keyword]


def made_at(result: Result) -> datetime:
    """When the run was, in the time zone of the study's own dates: what it names, else that of this machine."""
    offset = header_of(source_of(result.study)).get("TimezoneOffsetFromUTC")
    if not offset:
        return result.created.astimezone()
    return result.created.astimezone(datetime.strptime(str(offset), "%z").tzinfo)


def save(dataset: Dataset, path: Path, *, syntax: UID = ExplicitVRLittleEndian) -> None:
    """Write a Part 10 file (PS3.10 7.1), little endian; equal data sets give equal bytes."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = dataset.SOPClassUID, dataset.SOPInstanceUID
    meta.TransferSyntaxUID = syntax
    meta.ImplementationClassUID = IMPLEMENTATION_CLASS_UID
    meta.ImplementationVersionName = f"SIGAP_{__version__}"[:16]
    dataset.file_meta = meta
    # The texts taken over are bytes still; they are the same in both.
    dataset.set_original_encoding(is_implicit_vr=syntax.is_implicit_VR, is_little_endian=True)
    dcmwrite(path, dataset, enforce_file_format=True)
