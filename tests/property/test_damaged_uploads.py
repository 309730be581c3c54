"""Whatever a byte is changed into, an upload is read or refused: nothing else is ever raised."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phantoms.nifti import gzipped, nifti_bytes
from phantoms.pictures import encoded, shades
from phantoms.zips import zipped
from sigap.core.errors import InputError
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
