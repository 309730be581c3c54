import gzip
import io
import json
import tracemalloc
import zipfile
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from phantoms.results import dicom_grid, picture_grid, result_of, small_labelmap
from sigap.core.result import Result
from sigap.encoders.formats import FORMATS, format_of, surface_key

CONTRACT = {
    "json": ("application/json", "report.json"),
    "nifti": ("application/x-nifti", "mask.nii.gz"),
    "png": ("image/png", "overlay.png"),
    "coco": ("application/vnd.sigap.coco+json", "coco.json"),
    "zip": ("application/zip", "sigap.zip"),
    "seg": ("application/dicom", "seg.dcm"),
    "sr": ("application/dicom", "sr.dcm"),
    "rtstruct": ("application/dicom", "rtstruct.dcm"),
    "sc": ("application/zip", "sc.zip"),
    "stl": ("model/stl", "surface.stl"),
}


def test_formats_are_the_contracts() -> None:
    assert {name: (answer.media_type, answer.filename) for name, answer in FORMATS.items()} == CONTRACT
    assert all(name == answer.name for name, answer in FORMATS.items())


def write(name: str, result: Result, path: Path) -> None:
    """As HTTP does, which names a label for a surface."""
    format_of(surface_key("liver") if name == "stl" else name).write(result, path)


@pytest.fixture
def archive(tmp_path: Path):
    FORMATS["zip"].write(result_of(small_labelmap()), tmp_path / "all.zip")
    with zipfile.ZipFile(tmp_path / "all.zip") as opened:
        yield opened


def test_a_zip_holds_all_the_others_under_their_names(archive: zipfile.ZipFile) -> None:
    assert archive.testzip() is None
    assert archive.namelist() == [
        *("mask.nii.gz", "overlay.png", "coco.json", "seg.dcm", "sr.dcm", "rtstruct.dcm"),
        *("sc-001.dcm", "sc-002.dcm", "sc-003.dcm", "liver.stl", "tumour.stl", "report.json"),
    ]
    assert json.loads(archive.read("report.json"))["schema"] == "sigap.report/1"
    assert json.loads(archive.read("coco.json"))["categories"]
    assert Image.open(io.BytesIO(archive.read("overlay.png"))).format == "PNG"
    with archive.open("mask.nii.gz") as file:
        assert nib.Nifti1Image.from_bytes(gzip.decompress(file.read())).shape == (6, 5, 4)


def test_what_is_compressed_is_not_compressed_again(archive: zipfile.ZipFile) -> None:
    kinds = {entry.filename: entry.compress_type for entry in archive.infolist()}
    assert kinds["mask.nii.gz"] == kinds["overlay.png"] == zipfile.ZIP_STORED
    assert kinds["report.json"] == kinds["coco.json"] == zipfile.ZIP_DEFLATED


def test_a_zip_carries_no_date_and_leaves_no_file_behind(archive: zipfile.ZipFile, tmp_path: Path) -> None:
    assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
    assert [path.name for path in tmp_path.iterdir()] == ["all.zip"]


def test_a_zips_report_counts_what_the_others_took(archive: zipfile.ZipFile) -> None:
    timings = json.loads(archive.read("report.json"))["timings_ms"]
    assert timings["encode"] > 0
    assert timings["total"] == pytest.approx(37.0 + timings["encode"])


@pytest.mark.parametrize("name", FORMATS)
def test_a_file_of_the_same_name_is_overwritten(tmp_path: Path, name: str) -> None:
    path = tmp_path / FORMATS[name].filename
    path.write_bytes(b"old " * 100_000)
    write(name, result_of(small_labelmap()), path)
    assert b"old old" not in path.read_bytes()


@pytest.mark.parametrize("name", FORMATS)
def test_no_format_copies_the_volume(tmp_path: Path, name: str) -> None:
    labelmap = np.zeros((96, 512, 512), np.uint8)
    labelmap[20:60, 100:300, 100:400] = 1
    labelmap[30:40, 150:200, 150:200] = 2
    result = result_of(labelmap)
    write(name, result_of(small_labelmap()), tmp_path / "first")  # what is loaded once is no copy
    tracemalloc.start()
    write(name, result, tmp_path / "second")
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 0.3 * labelmap.size * 2


def test_a_zip_leaves_out_what_the_input_does_not_allow_and_lists_it(tmp_path: Path) -> None:
    picture = result_of(np.ones((1, 5, 6), np.uint8), kind="png", grid=picture_grid(5, 6))
    FORMATS["zip"].write(picture, tmp_path / "all.zip")
    with zipfile.ZipFile(tmp_path / "all.zip") as opened:
        assert sorted(opened.namelist()) == ["coco.json", "left-out.json", "mask.nii.gz", "overlay.png", "report.json"]
        listed = json.loads(opened.read("left-out.json"))
    assert listed["schema"] == "sigap.left-out/1"
    assert {entry["format"] for entry in listed["left_out"]} == {"seg", "sr", "rtstruct", "sc", "stl"}
    reasons = {entry["format"]: entry["reason"] for entry in listed["left_out"]}
    assert "distances" in reasons.pop("stl")
    assert all("DICOM" in reason for reason in reasons.values())


@pytest.mark.parametrize("name", [name for name in CONTRACT if name != "json"])
def test_a_labelmap_that_does_not_fit_is_never_written(tmp_path: Path, name: str) -> None:
    other_shape = result_of(small_labelmap(), grid=dicom_grid((4, 6, 5)))
    unknown_label = result_of(small_labelmap() * np.uint8(2))
    for result, fault in ((other_shape, "shape"), (unknown_label, "2 labels")):
        with pytest.raises(ValueError, match=fault):
            write(name, result, tmp_path / "answer")
