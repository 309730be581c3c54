"""DICOM sources of every kind that objects are made about, each with a mask of known voxels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.uid import LegacyConvertedEnhancedCTImageStorage

from phantoms import dicom as phantom
from phantoms.results import liver_model, result_of
from sigap.core.contract import Model
from sigap.core.result import Result
from sigap.core.segmentation import Segmentation
from sigap.core.study import InputFile, Study
from sigap.encoders.formats import FORMATS
from sigap.imaging import dicom, measure

SHAPE = (7, 33, 41)
"""Frames of 1353 pixels: as bits they end within a byte."""
VOXELS = phantom.body(SHAPE, seed=3)
TILTED = phantom.even_positions(7, 4.0) + np.arange(7)[:, np.newaxis] * np.array([0.0, 1.2, 0.0])
UNEVEN = phantom.positions_at([0, 2, 4, 6, 11, 16, 21])
# Turned by 10° about the patient's axis, then by 15° about left-right.
OBLIQUE = (0.984808, 0.167731, 0.044943, -0.173648, 0.951251, 0.254887)

Writer = Callable[[Path], object]


def read(folder: Path) -> Study:
    files = [InputFile(path, path.name) for path in sorted(folder.rglob("*")) if path.is_file()]
    return dicom.read(files, sha256="0" * 64)


def mask(shape: tuple[int, int, int] = SHAPE) -> NDArray[np.uint8]:
    """A liver on slices 1 to 4 with a tumour of two slices; nothing of it is symmetric."""
    labelmap = np.zeros(shape, np.uint8)
    labelmap[1:5, 4:20, 6:30] = 1
    labelmap[4, 4:8, 6:30] = 0
    labelmap[2, 8:13, 10:17] = 2
    labelmap[3, 9:12, 11:15] = 2
    return labelmap


def result_on(study: Study, labelmap: NDArray[np.uint8], model: Model | None = None) -> Result:
    """A result with this mask, measured as the pipeline does."""
    model = model or liver_model()
    segmentation = Segmentation(labelmap)
    result = result_of(labelmap, grid=study.volume.grid, model=model, voxels=study.volume.voxels)
    measurements = measure.measure(segmentation, study.volume, model.contract)
    return replace(result, study=study, measurements=measurements)


def series(voxels: NDArray[Any] = VOXELS, **changes: Any) -> Writer:
    return lambda folder: phantom.write_series(folder, voxels, **changes)


def enhanced(**changes: Any) -> Writer:
    return lambda folder: phantom.write_enhanced(folder / "enhanced.dcm", VOXELS, **changes)


def without(*names: str) -> Writer:
    return series(tags=dict.fromkeys(names, phantom.REMOVE))


def two_enhanced(folder: Path) -> None:
    """One series in two objects: slices from both, told apart by object and frame."""
    identity, places = phantom.Identity(), phantom.even_positions(7, 5.0)
    for name, part in (("low", slice(0, 3)), ("high", slice(3, 7))):
        phantom.write_enhanced(folder / name, VOXELS[part], positions_lps_mm=places[part], identity=identity)


def shuffled_enhanced(folder: Path) -> None:
    """Frames that do not stand in the order of their places."""
    order = [4, 0, 6, 2, 5, 1, 3]
    places = phantom.even_positions(7, 5.0)
    phantom.write_enhanced(folder / "one", VOXELS[order], positions_lps_mm=places[order])


IDENTIFYING: Sequence[str] = ("PatientName", "PatientID", "PatientBirthDate", "StudyDate", "StudyTime")
SOURCES: dict[str, Writer] = {
    "GE": series(maker=phantom.GE),
    "Siemens": series(maker=phantom.SIEMENS),
    "Philips": series(maker=phantom.PHILIPS),
    "Toshiba": series(),
    "tilted gantry": series(positions_lps_mm=TILTED),
    "uneven spacing": series(positions_lps_mm=UNEVEN),
    "a gap": series(positions_lps_mm=phantom.positions_at([0, 5, 10, 15, 35, 40, 45])),
    "oblique": series(orientation=OBLIQUE),
    "head last": series(orientation=(-1.0, 0.0, 0.0, 0.0, 1.0, 0.0)),
    "one slice": series(VOXELS[:1]),
    "one slice without thickness": series(VOXELS[:1], tags={"SliceThickness": phantom.REMOVE}),
    "enhanced": enhanced(),
    "legacy enhanced": enhanced(sop_class=LegacyConvertedEnhancedCTImageStorage),
    "enhanced, shuffled": shuffled_enhanced,
    "enhanced, two objects": two_enhanced,
    "enhanced, tilted": enhanced(positions_lps_mm=TILTED),
    "implicit": series(syntax=phantom.IMPLICIT),
    "big endian": series(syntax=phantom.BIG_ENDIAN),
    "deflated": series(syntax=phantom.DEFLATED),
    "JPEG-LS": series(syntax=phantom.JPEG_LS),
    "JPEG-LS, lossy": series(syntax=phantom.JPEG_LS_NEAR),
    "HTJ2K": series(syntax=phantom.HTJ2K),
    "HTJ2K, RPCL": series(syntax=phantom.HTJ2K_RPCL),
    "RLE": series(syntax=phantom.RLE),
    "without preamble": series(syntax=phantom.IMPLICIT, preamble=False),
    "no frame of reference": without("FrameOfReferenceUID"),
    "no patient, no study date": without(*IDENTIFYING),
    "no SOP Class UID": without("SOPClassUID"),
    "declared lossy": series(
        tags={
            "LossyImageCompression": "01",
            "LossyImageCompressionRatio": ["10.5", "2"],
            "LossyImageCompressionMethod": ["ISO_10918_1", "ISO_15444_1"],
        }
    ),
    "values that break their types": series(
        per_slice=lambda _: {"BodyPartExamined": "ABDOMEN", "PatientSex": "O", "PatientAge": "050Y"}
    ),
}


def made_about(source: str, folder: Path, *, is_empty: bool = False) -> Result:
    """A result about one of the `SOURCES`, which is written into the folder first."""
    SOURCES[source](folder / "source")
    study = read(folder / "source")
    count = study.volume.grid.shape[0]
    labelmap = mask()[2:3] if count == 1 else mask()
    return result_on(study, np.zeros_like(labelmap) if is_empty else labelmap)


def written(result: Result, folder: Path, name: str = "seg") -> Path:
    """One format of a result as a file."""
    path = folder / FORMATS[name].filename
    FORMATS[name].write(result, path)
    return path
