"""DICOM objects about real series: the sample study with the shipped weights, and the CT files of pydicom's wheel."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import highdicom as hd
import nibabel
import numpy as np
import pydicom
import pydicom.data
import pytest

from dicom_programs import faults
from phantoms import sources
from phantoms.results import small_labelmap
from sigap.core.errors import SigapError
from sigap.core.study import InputFile
from sigap.encoders.formats import FORMATS
from sigap.imaging import dicom

OBJECTS = ("seg", "sr", "rtstruct", "sc")


def test_the_sample_study_on_the_command_line(samples: Path, tmp_path: Path) -> None:
    command = [Path(sys.executable).parent / "sigap", "segment", "liver", samples / "abdomen_ct_dicom.zip"]
    options = ["--out", tmp_path / "out", "--format", "nifti,seg,sr,sc,rtstruct,stl"]
    ended = subprocess.run([*command, *options], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    found = {path.name: path for path in (tmp_path / "out").iterdir()}
    assert {"seg.dcm", "sr.dcm", "rtstruct.dcm", "sc-001.dcm", "sc-002.dcm", "liver.stl", "tumour.stl"} <= set(found)
    for name, path in found.items():
        if name.endswith(".dcm"):
            assert faults(path) == [], name
    labels = np.asanyarray(nibabel.load(found["mask.nii.gz"]).dataobj)
    pixels = hd.seg.segread(found["seg.dcm"]).get_volume().array
    assert [np.count_nonzero(pixels[..., index]) for index in (0, 1)] == [
        np.count_nonzero(labels),
        np.count_nonzero(labels == 2),
    ]


def ct_files() -> list[Path]:
    """CT images that pydicom ships, each a study of its own."""
    folder = Path(pydicom.data.__file__).parent / "test_files"
    found = []
    for path in sorted(folder.glob("*.dcm")):
        dataset = pydicom.dcmread(path, stop_before_pixels=True, force=True, specific_tags=["Modality", "SOPClassUID"])
        if dataset.get("Modality") == "CT":
            found.append(path)
    return found


@pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
def test_the_ct_files_of_pydicoms_wheel(tmp_path: Path) -> None:
    written = set()
    for path in ct_files():
        try:
            study = dicom.read([InputFile(path, path.name)], sha256="0" * 64)
        except SigapError:
            continue
        labelmap = np.zeros(study.volume.grid.shape, np.uint8)
        _, rows, columns = labelmap.shape
        labelmap[:, rows // 4 : rows // 2, columns // 4 : columns // 2] = small_labelmap().max()
        result = sources.result_on(study, labelmap)
        for name in OBJECTS:
            for file, write in FORMATS[name].files(result).items():
                write(result, tmp_path / file)
                assert faults(tmp_path / file) == [], (path.name, file)
        assert np.array_equal(pydicom.dcmread(tmp_path / "seg.dcm").pixel_array[0], labelmap[0] > 0)
        written.add(path.name)
    assert "CT_small.dcm" in written
