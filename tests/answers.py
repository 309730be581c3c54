"""Answers in every format, read back by other libraries than those that wrote them, and held against the report."""

from __future__ import annotations

import gzip
import io
import json
import struct
import zipfile
from collections.abc import Callable, Mapping
from typing import Any

import nibabel
import numpy as np
import pydicom
from numpy.typing import NDArray
from PIL import Image

Report = dict[str, Any]

MODALITIES = {"seg": "SEG", "sr": "SR", "rtstruct": "RTSTRUCT"}


def mask(content: bytes) -> NDArray[np.uint8]:
    """(slices, rows, columns) of a mask, whose own axes are columns, rows, slices."""
    image = nibabel.Nifti1Image.from_bytes(gzip.decompress(content))
    return np.asarray(image.dataobj).transpose(2, 1, 0)


def check_report(content: bytes, report: Report) -> None:
    """The same study and numbers, whoever asks."""
    again = json.loads(content)
    for part in ("schema", "task", "model", "input", "geometry", "labels", "lesions", "measures"):
        assert again[part] == report[part], part


def check_mask(content: bytes, report: Report) -> None:
    """Its shape is the input's, its voxels are the report's."""
    found = mask(content)
    assert list(found.shape) == report["input"]["shape"]
    first = report["labels"][0]
    assert np.count_nonzero(found) == first["voxels"]  # the first label contains the others
    for value, label in enumerate(report["labels"][1:], 2):
        assert np.count_nonzero(found == value) == label["voxels"]


def check_picture(content: bytes, report: Report) -> None:
    image = Image.open(io.BytesIO(content))
    image.load()
    assert image.format == "PNG"
    assert min(image.size) > 100


def check_coco(content: bytes, report: Report) -> None:
    found = json.loads(content)
    assert [category["name"] for category in found["categories"]] == [label["name"] for label in report["labels"]]
    assert found["annotations"]


def check_zip(content: bytes, report: Report) -> None:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.testzip() is None
        names = archive.namelist()
        check_report(archive.read("report.json"), report)
        check_mask(archive.read("mask.nii.gz"), report)
        check_coco(archive.read("coco.json"), report)
    assert "overlay.png" in names


def check_dicom(modality: str) -> Callable[[bytes, Report], None]:
    """An object of that modality, in the study that it was made from."""

    def check(content: bytes, report: Report) -> None:
        dataset = pydicom.dcmread(io.BytesIO(content))
        assert dataset.Modality == modality
        assert dataset.StudyInstanceUID == report["input"]["study_uid"]

    return check


def check_captures(content: bytes, report: Report) -> None:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        pictures = [pydicom.dcmread(io.BytesIO(archive.read(name))) for name in archive.namelist()]
    assert pictures
    assert {picture.StudyInstanceUID for picture in pictures} == {report["input"]["study_uid"]}


def check_surface(content: bytes, report: Report) -> None:
    """Binary STL: 80 bytes, the number of triangles, 50 bytes each."""
    triangles = struct.unpack_from("<I", content, 80)[0]
    assert triangles > 100
    assert len(content) == 84 + 50 * triangles


CHECKS: Mapping[str, Callable[[bytes, Report], None]] = {
    "json": check_report,
    "nifti": check_mask,
    "png": check_picture,
    "coco": check_coco,
    "zip": check_zip,
    "sc": check_captures,
    "stl": check_surface,
    **{name: check_dicom(modality) for name, modality in MODALITIES.items()},
}
