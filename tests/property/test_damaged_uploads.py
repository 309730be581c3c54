"""Whatever a byte is changed into, an upload is read or refused: nothing else is ever raised."""

from __future__ import annotations

import json
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset

from phantoms.dicom import body, write_enhanced, write_series
from phantoms.nifti import gzipped, nifti_bytes
from phantoms.pictures import encoded, shades
from phantoms.zips import zipped
from sigap.core.errors import GeometryRefused, InputError
from sigap.core.study import DecodeOptions, InputFile, Limits
from sigap.imaging.decode import decode

VOXELS = np.arange(60, dtype=np.int16).reshape(5, 4, 3) - 1000
CONTENTS = {
    "nifti": nifti_bytes(VOXELS),
    "nifti-2": nifti_bytes(VOXELS.astype(np.float32) / 4, version=2, byte_order=">"),
    "nifti.gz": gzipped(nifti_bytes(VOXELS)),
    "png": encoded(shades(), "PNG"),
    "jpeg": encoded(shades(), "JPEG"),
    "zip": zipped({"scan": nifti_bytes(VOXELS), "notes": b"text"}),
}
SLICES = body((3, 8, 8))
HOSTILE = (0.0, -1.0, 1e-300, 1e20, 1e30, 1.5e39, 2e6, 1e200, -1e200, 1e308)
USUAL = {"RescaleSlope": 1.0, "RescaleIntercept": 0.0, "PixelSpacing": 0.7, "SliceThickness": 5.0, "height": -100.0}
Changes = dict[str, dict[str, Any]]
LIMITS = Limits(members=10, unpacked_bytes=1 << 20, plane_pixels=1 << 16, volume_bytes=1 << 20)


@pytest.mark.parametrize("kind", CONTENTS)
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_changed_bytes(kind: str, data: st.DataObject) -> None:
    content = bytearray(CONTENTS[kind])
    places = st.integers(0, min(len(content), 600) - 1)
    for place, value in data.draw(st.dictionaries(places, st.integers(0, 255), max_size=8)).items():
        content[place] = value
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "upload"
        path.write_bytes(content[: data.draw(st.just(len(content)) | st.integers(0, len(content)))])
        try:
            study = decode([InputFile(path, "scan")], workspace=Path(folder), options=DecodeOptions(), limits=LIMITS)
        except InputError:
            return
        assert study.volume.voxels.shape == study.volume.grid.shape
        assert np.isfinite(study.volume.voxels).all()


times = st.text("0123456789.:a-+ ", max_size=8) | st.sampled_from(["101200", ".a", ".", "1e5"])


@pytest.mark.parametrize("kind", ["dicom", "enhanced"])
@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_changed_dicom_headers(kind: str, data: st.DataObject) -> None:
    """One or two numbers that no scanner writes, so that one refusal does not hide what the other would do."""
    numbers = st.sampled_from(HOSTILE) | st.floats(allow_nan=False, allow_infinity=False)
    drawn = data.draw(st.dictionaries(st.sampled_from(sorted(USUAL)), numbers, max_size=2))
    values = USUAL | drawn
    changes = {
        "rescale": {name: values[name] for name in ("RescaleSlope", "RescaleIntercept")},
        "measures": {"PixelSpacing": [values["PixelSpacing"]] * 2, "SliceThickness": values["SliceThickness"]},
    }
    step = data.draw(st.sampled_from([0.0, 5.0]))  # 0: all slices share one place, and the clock may tell them apart
    heights = [values["height"], values["height"] + step, values["height"] + 2 * step]
    clocks = [data.draw(times) for _ in heights]
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom's, over what is written here
        write = write_plain if kind == "dicom" else write_changed_enhanced
        sent = [InputFile(path, path.name) for path in write(Path(folder), changes, heights, clocks)]
        workspace = Path(folder) / "workspace"
        workspace.mkdir()
        try:
            study = decode(sent, workspace=workspace, options=DecodeOptions(), limits=LIMITS)
        except InputError as error:
            if isinstance(error, GeometryRefused):
                json.dumps(error.verdict.as_json(), allow_nan=False)
            return
        json.dumps(study.geometry.as_json(), allow_nan=False)
        grid = study.volume.grid
        assert study.volume.voxels.shape == grid.shape
        assert np.isfinite(study.volume.voxels).all()
        assert np.isfinite([*grid.spacing_mm[1:], *(grid.shares_mm or ()), np.prod(grid.spacing_mm[1:])]).all()


def write_plain(folder: Path, changes: Changes, heights: list[Any], clocks: list[str]) -> list[Path]:
    paths = write_series(folder, SLICES)
    for path, height, clock in zip(paths, heights, clocks, strict=True):
        dataset = pydicom.dcmread(path)
        for keyword, value in [*changes["rescale"].items(), *changes["measures"].items()]:
            set_raw(dataset, keyword, value)
        set_raw(dataset, "ImagePositionPatient", [0.0, 0.0, height])
        set_raw(dataset, "AcquisitionTime", clock)
        dataset.save_as(path)
    return paths


def write_changed_enhanced(folder: Path, changes: Changes, heights: list[Any], clocks: list[str]) -> list[Path]:
    def shared(groups: Dataset) -> None:
        for keyword, value in changes["rescale"].items():
            set_raw(groups.PixelValueTransformationSequence[0], keyword, value)
        for keyword, value in changes["measures"].items():
            set_raw(groups.PixelMeasuresSequence[0], keyword, value)

    def own(index: int, groups: Dataset) -> None:
        set_raw(groups.PlanePositionSequence[0], "ImagePositionPatient", [0.0, 0.0, heights[index]])
        set_raw(groups.FrameContentSequence[0], "FrameAcquisitionDateTime", clocks[index])

    return [write_enhanced(folder / "scan.dcm", SLICES, shared=shared, per_frame=own)]


def set_raw(dataset: Dataset, keyword: str, value: Any) -> None:
    """As text of any length: a decimal string has room for no more than 16 characters."""
    values = value if isinstance(value, list) else [value]
    dataset.add_new(keyword, "LO", [str(one) for one in values])
