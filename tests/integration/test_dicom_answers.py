"""DICOM objects, key images and surfaces over HTTP and on the command line, and what an input does not allow."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pydicom
import pytest
from typer.testing import CliRunner

import toy
from dicom_programs import faults
from phantoms.dicom import write_series
from phantoms.nifti import nifti_bytes
from phantoms.pictures import encoded
from phantoms.zips import zipped
from serving import serving
from sigap import pipeline
from sigap.api.app import create_app
from sigap.cli import app as cli
from sigap.engines.torchscript import TorchScriptEngine
from sigap.settings import Settings

NOT_MADE = ("seg", "sr", "rtstruct", "sc")


def voxels() -> np.ndarray:
    scan = np.full((6, 24, 24), toy.AIR_HU, np.int16)
    scan[1:-1, 2:20, 2:20] = toy.ORGAN_HU
    scan[2:4, 5:11, 6:12] = toy.LESION_HU
    return scan


@pytest.fixture(scope="module")
def client(toy_repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    engine = TorchScriptEngine.load(toy_repository)
    with serving(create_app(Settings(data=tmp_path_factory.mktemp("data"), models=toy_repository), engine)) as client:
        yield client
    engine.close()


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    paths = write_series(tmp_path_factory.mktemp("series"), voxels())
    return zipped({path.name: path.read_bytes() for path in paths})


@pytest.fixture(scope="module")
def nifti() -> bytes:
    return nifti_bytes(voxels().transpose(2, 1, 0), np.diag([-1.0, -1.0, 5.0, 1.0]))


def post(client: httpx.Client, content: bytes, query: str = "", accept: str = "*/*") -> httpx.Response:
    return client.post(f"/segment/toy{query}", files={"files": ("a", content)}, headers={"Accept": accept})


@pytest.mark.parametrize(
    ("asked", "modality"),
    [
        (("?format=seg", "*/*"), "SEG"),
        (("", "application/dicom"), "SEG"),
        (("", "text/html, application/dicom;q=0.5"), "SEG"),
        (("?format=sr", "application/dicom"), "SR"),
        (("?format=rtstruct", "image/png"), "RTSTRUCT"),
    ],
)
def test_objects_of_a_series(
    client: httpx.Client, series: bytes, asked: tuple[str, str], modality: str, tmp_path: Path
) -> None:
    query, accept = asked
    first, second = (post(client, series, query, accept) for _ in range(2))
    assert first.status_code == 200
    assert first.headers["content-type"] == "application/dicom"
    assert first.headers["content-disposition"] == f'attachment; filename="{modality.lower()}.dcm"'
    assert pydicom.dcmread(io.BytesIO(first.content)).Modality == modality
    assert first.content == second.content
    (tmp_path / "object.dcm").write_bytes(first.content)
    assert faults(tmp_path / "object.dcm") == []


def test_key_images_of_a_series(client: httpx.Client, series: bytes) -> None:
    answer = post(client, series, "?format=sc")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/zip")
    with zipfile.ZipFile(io.BytesIO(answer.content)) as pages:
        assert pages.namelist() == ["sc-001.dcm", "sc-002.dcm", "sc-003.dcm"]


@pytest.mark.parametrize("label", ["body", "blob"])
def test_a_surface_of_each_label_of_anything_with_distances(
    client: httpx.Client, series: bytes, nifti: bytes, label: str
) -> None:
    for study in (series, nifti):
        answer = post(client, study, f"?format=stl&label={label}")
        assert (answer.status_code, answer.headers["content-type"]) == (200, "model/stl")
        assert answer.headers["content-disposition"] == f'attachment; filename="{label}.stl"'
        assert int.from_bytes(answer.content[80:84], "little") > 0
        again = client.get(answer.headers["content-location"])
        assert again.content == answer.content
        assert post(client, study, f"?label={label}", "model/stl").content == answer.content


def test_a_zip_holds_everything(client: httpx.Client, series: bytes) -> None:
    answer = post(client, series, "?format=zip")
    with zipfile.ZipFile(io.BytesIO(answer.content)) as opened:
        assert set(opened.namelist()) == {
            *("report.json", "mask.nii.gz", "overlay.png", "coco.json", "seg.dcm", "sr.dcm", "rtstruct.dcm"),
            *("sc-001.dcm", "sc-002.dcm", "sc-003.dcm", "body.stl", "blob.stl"),
        }
        assert opened.read("seg.dcm") == post(client, series, "?format=seg").content


@pytest.mark.parametrize("name", NOT_MADE)
@pytest.mark.parametrize("kind", ["nifti", "png"])
def test_what_an_input_does_not_allow_is_406_and_its_result_is_kept(
    client: httpx.Client, nifti: bytes, kind: str, name: str
) -> None:
    study = nifti if kind == "nifti" else encoded(np.full((16, 16), 150, np.uint8), "PNG")
    refused = post(client, study, f"?format={name}")
    assert (refused.status_code, refused.headers["content-type"]) == (406, "application/problem+json")
    assert refused.json()["type"] == "urn:sigap:problem:not-acceptable"
    assert "DICOM images" in refused.json()["detail"]
    report = post(client, study)
    assert report.status_code == 200
    job = report.headers["content-location"].split("?")[0]
    assert client.get(f"{job}?format={name}").status_code == 406
    assert client.get(f"{job}?format=nifti").status_code == 200


def test_a_picture_without_a_size_has_no_surface_and_its_zip_says_so(client: httpx.Client) -> None:
    picture = encoded(np.full((16, 16), 160, np.uint8), "PNG")
    assert post(client, picture, "?format=stl&label=body").status_code == 406
    sized = post(client, picture, "?format=stl&label=body&pixel_spacing_mm=0.5&slice_thickness_mm=2")
    assert sized.status_code == 200
    with zipfile.ZipFile(io.BytesIO(post(client, picture, "?format=zip").content)) as opened:
        listed = json.loads(opened.read("left-out.json"))
    assert [entry["format"] for entry in listed["left_out"]] == ["seg", "sr", "rtstruct", "sc", "stl"]


@pytest.mark.parametrize("query", ["?format=stl", "?format=stl&label=spleen", "?format=seg&label=body", "?label=body"])
def test_a_label_that_makes_no_sense_is_422(client: httpx.Client, series: bytes, nifti: bytes, query: str) -> None:
    assert post(client, series, query).status_code == 422
    job = post(client, nifti).headers["content-location"].split("?")[0]
    assert client.get(f"{job}{query}").status_code == 422


@pytest.fixture
def segmented(toy_repository: Path) -> Any:
    def call(*arguments: object) -> Any:
        return CliRunner().invoke(cli, ["segment", "toy", *map(str, arguments), "--models", str(toy_repository)])

    return call


def test_the_command_line_writes_them_under_the_contract_s_names(segmented: Any, series: bytes, tmp_path: Path) -> None:
    (tmp_path / "ct.zip").write_bytes(series)
    ended = segmented(tmp_path / "ct.zip", "--out", tmp_path / "out", "--format", "seg,sr,sc,rtstruct,stl")
    assert ended.exit_code == 0, ended.output
    names = {"seg.dcm", "sr.dcm", "rtstruct.dcm", "sc-001.dcm", "sc-002.dcm", "sc-003.dcm", "body.stl", "blob.stl"}
    assert {path.name for path in (tmp_path / "out").iterdir()} == names
    ended = segmented(tmp_path / "ct.zip", "--out", tmp_path / "out")
    assert ended.exit_code == 2


def test_an_answer_that_is_replaced_leaves_no_page_or_surface_behind(
    segmented: Any, series: bytes, tmp_path: Path
) -> None:
    (tmp_path / "ct.zip").write_bytes(series)
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine.stl").write_bytes(b"solid of somebody else")
    (out / "old.stl").write_bytes(b"Sigap of another task")
    (out / "sc-017.dcm").write_bytes(b"an old page")
    (out / "sc-notes.dcm").write_bytes(b"no page of ours")
    ended = segmented(tmp_path / "ct.zip", "--out", out, "--format", "json,sc", "--overwrite")
    assert ended.exit_code == 0, ended.output
    kept = {"mine.stl", "sc-notes.dcm"}
    assert {path.name for path in out.iterdir()} == {*kept, "report.json", "sc-001.dcm", "sc-002.dcm", "sc-003.dcm"}


def test_an_input_that_does_not_allow_a_format_is_refused_before_the_model_runs(
    segmented: Any, nifti: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ct.nii").write_bytes(nifti)
    monkeypatch.setattr(pipeline, "infer", None)
    ended = segmented(tmp_path / "ct.nii", "--out", tmp_path / "out", "--format", "json,seg")
    assert ended.exit_code == 1
    assert "DICOM images" in ended.output
    assert not (tmp_path / "out" / "report.json").exists()
