"""One blob, however its slices lie, are stored and are ordered: in the same place in every form of the answer."""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray

from phantoms import dicom as phantom
from phantoms import sources
from phantoms.sources import written
from sigap.core.result import Result
from sigap.encoders.formats import FORMATS

BLOB_HU, BODY_HU = 500, 50
SPACING_MM = (4.0, 0.9, 0.7)
Points = NDArray[np.float64]

POSITIONS = {  # PS3.3 C.7.3.1.1.2: how the patient lay says how rows and columns run
    "HFS": (1.0, 0.0, 0.0, 0.0, 1.0, 0.0),
    "HFP": (-1.0, 0.0, 0.0, 0.0, -1.0, 0.0),
    "FFS": (-1.0, 0.0, 0.0, 0.0, 1.0, 0.0),
    "FFP": (1.0, 0.0, 0.0, 0.0, -1.0, 0.0),
    "HFDR": (0.0, 1.0, 0.0, -1.0, 0.0, 0.0),
    "turned": (0.0, 1.0, 0.0, 1.0, 0.0, 0.0),
    "oblique": sources.OBLIQUE,
}
ORDERS = {
    "as scanned": [0, 1, 2, 3, 4, 5, 6, 7],
    "reversed": [7, 6, 5, 4, 3, 2, 1, 0],
    "mixed": [3, 6, 0, 5, 1, 7, 2, 4],
}
TILTS = {"straight": np.zeros(3), "tilted": np.array([0.0, 1.1, 0.0])}


@dataclass(frozen=True)
class Scan:
    """A scan with a blob.

    Attributes:
        result: its mask is the blob within a body.
        truth: mean LPS position of the blob's voxels, worked out from the files' headers alone.
    """

    result: Result
    truth: Points


def scan(folder: Path, orientation: tuple[float, ...], order: list[int], tilt: Points) -> Scan:
    """Slices written in an order that is not theirs, each with its own name, number and place."""
    voxels = np.full((8, 30, 36), BODY_HU, np.int16)
    voxels[2, 5:9, 20:31] = voxels[3, 6:12, 22:28] = voxels[4, 7, 25] = BLOB_HU
    straight = phantom.even_positions(8, SPACING_MM[0], orientation=orientation)
    places = straight + np.arange(8)[:, np.newaxis] * tilt
    paths = phantom.write_series(
        folder, voxels[order], spacing_mm=SPACING_MM, positions_lps_mm=places[order], orientation=orientation
    )
    truth = np.concatenate([blob_of(pydicom.dcmread(path)) for path in paths]).mean(axis=0)
    study = sources.read(folder)
    labelmap = np.where(study.volume.voxels == BLOB_HU, 2, 1).astype(np.uint8)
    return Scan(sources.result_on(study, labelmap), truth)


def blob_of(dataset: pydicom.Dataset) -> Points:
    """PS3.3 C.7.6.2.1.1."""
    rows, columns = np.nonzero(dataset.pixel_array == BLOB_HU)
    along = np.array(dataset.ImageOrientationPatient, float)
    down_mm, across_mm = dataset.PixelSpacing
    first = np.array(dataset.ImagePositionPatient, float)
    return first + columns[:, None] * across_mm * along[:3] + rows[:, None] * down_mm * along[3:]


def of_segmentation(path: Path) -> Points:
    dataset = pydicom.dcmread(path)
    (shared,) = dataset.SharedFunctionalGroupsSequence
    along = np.array(shared.PlaneOrientationSequence[0].ImageOrientationPatient, float)
    down_mm, across_mm = shared.PixelMeasuresSequence[0].PixelSpacing
    points = []
    for frame, plane in zip(dataset.PerFrameFunctionalGroupsSequence, dataset.pixel_array, strict=True):
        if frame.SegmentIdentificationSequence[0].ReferencedSegmentNumber == 2:
            rows, columns = np.nonzero(plane)
            first = np.array(frame.PlanePositionSequence[0].ImagePositionPatient, float)
            points.append(first + columns[:, None] * across_mm * along[:3] + rows[:, None] * down_mm * along[3:])
    return np.concatenate(points).mean(axis=0)


def of_nifti(path: Path) -> Points:
    image = nib.Nifti1Image.from_bytes(gzip.decompress(path.read_bytes()))
    indices = np.argwhere(np.asanyarray(image.dataobj) == 2)
    ras = np.c_[indices, np.ones(len(indices))] @ image.affine.T
    return ras[:, :3].mean(axis=0) * (-1, -1, 1)


def of_contours(path: Path) -> Points:
    """Of the areas that the polygons enclose."""
    weights, centres = [], []
    for contour in pydicom.dcmread(path).ROIContourSequence[1].ContourSequence:
        points = np.array(contour.ContourData, float).reshape(-1, 3)
        one, two = points[1:-1] - points[0], points[2:] - points[0]
        areas = np.cross(one, two)
        signed = areas @ (areas.sum(axis=0) / np.linalg.norm(areas.sum(axis=0)))
        weights.append(signed.sum())
        centres.append(points[0] + (signed[:, None] * (one + two) / 3).sum(axis=0) / signed.sum())
    return np.average(centres, axis=0, weights=weights)


def left_half_px(path: Path, colour: tuple[int, int, int]) -> float:
    """Mean column of a contour on a page, as a fraction of its width."""
    pixels = pydicom.dcmread(path).pixel_array[100:-100].astype(int)
    _, columns = np.nonzero(np.abs(pixels - colour).max(axis=2) < 30)
    return float(columns.mean() / pixels.shape[1])


@pytest.mark.parametrize("tilt", TILTS)
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("position", POSITIONS)
def test_the_blob_is_where_it_is(position: str, order: str, tilt: str, tmp_path: Path) -> None:
    found = scan(tmp_path / "scan", POSITIONS[position], ORDERS[order], TILTS[tilt])
    (lesion,) = found.result.measurements.lesions
    places = {
        "report": np.array(lesion.centroid_lps_mm),
        "SEG": of_segmentation(written(found.result, tmp_path, "seg")),
        "NIfTI": of_nifti(written(found.result, tmp_path, "nifti")),
        "RTSTRUCT": of_contours(written(found.result, tmp_path, "rtstruct")),
    }
    for name, place in places.items():
        assert np.abs(place - found.truth).max() < 0.01, name


@pytest.mark.parametrize("position", POSITIONS)
def test_the_patient_s_right_is_on_the_left_of_a_page(position: str, tmp_path: Path) -> None:
    found = scan(tmp_path / "scan", POSITIONS[position], ORDERS["mixed"], TILTS["straight"])
    grid = found.result.study.volume.grid
    corners = [grid.world_lps_mm((0, row, column)) for row in (0, 29) for column in (0, 35)]
    middle = np.mean(corners, axis=0)[0]
    name, write = list(FORMATS["sc"].files(found.result).items())[-1]
    write(found.result, tmp_path / name)
    across = left_half_px(tmp_path / name, found.result.model.contract.labels[1].colour)
    assert (across < 0.5) == (found.truth[0] < middle)
