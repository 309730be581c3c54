"""The command line with a toy model: files, exit status, words."""

from __future__ import annotations

import csv
import json
import os
import signal
import tempfile
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from typer.testing import CliRunner, Result

import toy
from phantoms.dicom import write_series
from sigap import __version__
from sigap.cli import app, segment
from sigap.encoders.formats import Format

FOUR = ["coco.json", "mask.nii.gz", "overlay.png", "report.json"]
# By hand: 12 x 10 x 6 voxels of 1 x 1 x 2 mm, and 4 x 3 x 2 of them.
BODY_ML, BLOB_ML = 1.44, 0.048


@pytest.fixture
def phantom(tmp_path: Path) -> Path:
    """Air, a body, a blob in the body."""
    voxels = np.full((20, 24, 10), toy.AIR_HU, np.int16)
    voxels[4:16, 5:15, 2:8] = toy.ORGAN_HU
    voxels[8:12, 8:11, 4:6] = toy.LESION_HU
    path = tmp_path / "phantom.nii.gz"
    nibabel.save(nibabel.Nifti1Image(voxels, np.diag([-1.0, -1.0, 2.0, 1.0])), path)
    return path


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "renamed.nii.gz"
    path.write_text("not an image\n")
    return path


def sigap(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def segmented(toy_repository: Path) -> Any:
    """Call `sigap segment toy` with the toy's repository."""
    return lambda *arguments: sigap("segment", "toy", *arguments, "--models", toy_repository)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "summary.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_one_input_goes_into_the_folder_itself(segmented: Any, phantom: Path, tmp_path: Path) -> None:
    result = segmented(phantom, "--out", tmp_path / "new" / "out")
    assert result.exit_code == 0, result.output
    assert names(tmp_path / "new" / "out") == FOUR
    report = json.loads((tmp_path / "new" / "out" / "report.json").read_text())
    assert [label["volume_ml"] for label in report["labels"]] == pytest.approx([BODY_ML, BLOB_ML])
    assert report["timings_ms"]["encode"] > 0
    assert "1.44" in result.stdout
    assert "Blob detected by the algorithm" in result.stdout
    assert "Research use only" in result.stdout
    mask = nibabel.load(tmp_path / "new" / "out" / "mask.nii.gz")
    assert mask.affine.tobytes() == nibabel.load(phantom).affine.tobytes()
    assert np.count_nonzero(np.asarray(mask.dataobj) == 2) == 24


def test_several_inputs_get_a_folder_each_and_a_bad_one_does_not_stop_the_others(
    segmented: Any, phantom: Path, text: Path, tmp_path: Path
) -> None:
    series = tmp_path / "series"
    voxels = np.full((6, 16, 16), toy.ORGAN_HU, np.int16)
    write_series(series, voxels, spacing_mm=(5, 1, 1))
    coronal = tmp_path / "other" / "series"
    write_series(coronal, voxels, spacing_mm=(5, 1, 1), orientation=(1, 0, 0, 0, 0, -1))
    out = tmp_path / "out"
    result = segmented(phantom, text, series, coronal, phantom, tmp_path / "gone.nii", "--out", out)
    assert result.exit_code == 1
    assert names(out) == ["phantom", "phantom-2", "series", "summary.csv"]
    assert names(out / "phantom-2") == names(out / "series") == FOUR
    table = rows(out)
    assert [row["state"] for row in table] == ["done", "refused", "done", "refused", "done", "refused"]
    assert [row["problem"] for row in table] == ["", "unsupported-format", "", "geometry-refused", "", "no-file"]
    assert table[3]["geometry"] == "refused"
    assert table[3]["remarks"] == "not_axial"
    assert float(table[0]["body_volume_ml"]) == pytest.approx(BODY_ML)
    assert float(table[4]["blob_burden_percent"]) == pytest.approx(100 * BLOB_ML / BODY_ML)
    assert "detected" in table[0]["message"]
    assert table[1]["body_volume_ml"] == ""
    assert str(text) in result.stderr


def test_a_name_that_is_no_utf8_stops_nothing(segmented: Any, phantom: Path, tmp_path: Path) -> None:
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/h\xe9ad.nii.gz"))
    odd.write_bytes(phantom.read_bytes())
    series, out = tmp_path / "series", tmp_path / "out"
    write_series(series, np.full((6, 16, 16), toy.ORGAN_HU, np.int16), spacing_mm=(5, 1, 1))
    Path(os.fsdecode(os.fsencode(series) + b"/r\xe9sum\xe9.txt")).write_text("not an image\n")
    result = segmented(odd, series, phantom, "--out", out)
    assert result.exit_code == 0, result.output
    assert [row["state"] for row in rows(out)] == ["done", "done", "done"]
    assert rows(out)[0]["input"].endswith("/h\\xe9ad.nii.gz")
    report = json.loads((out / "series" / "report.json").read_text())
    assert [file["name"] for file in report["input"]["ignored"]] == ["r\\xe9sum\\xe9.txt"]


def test_the_folder_where_one_stands_takes_an_answer(
    segmented: Any, phantom: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "out").mkdir()
    monkeypatch.chdir(tmp_path / "out")
    assert segmented(phantom, "--out", ".").exit_code == 0
    assert names(tmp_path / "out") == FOUR


def test_beside_its_folder_nothing_of_an_answer_is_written(
    segmented: Any, phantom: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be another disk: a container has the folder of its results mounted."""
    out, seen = tmp_path / "mounted", []
    out.mkdir()
    write = Format.files

    def look(self: Format, result: Any) -> Any:
        seen.append((names(tmp_path), len(names(out))))
        return write(self, result)

    monkeypatch.setattr(Format, "files", look)
    assert segmented(phantom, "--out", out, "--format", "json").exit_code == 0
    assert seen == [(["mounted", phantom.name], 1)]
    assert names(out) == ["report.json"]


def test_a_folder_that_takes_nothing_is_found_before_the_work(segmented: Any, phantom: Path) -> None:
    result = segmented(phantom, phantom, "--out", "/proc")
    assert result.exit_code == 2
    assert "--out: nothing can be written into the folder" in result.stderr


def test_an_input_that_may_not_be_read_does_not_stop_the_others(
    segmented: Any, phantom: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Root, who runs the tests in CI, may read everything.
    monkeypatch.setattr(os, "access", lambda path, _: str(path) != str(phantom))
    assert segmented(phantom, "--out", tmp_path / "out").exit_code == 2
    assert segmented(phantom, phantom, "--out", tmp_path / "out").exit_code == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_leaves_nothing_unpacked(
    segmented: Any, phantom: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    def struck(*_: object, workspace: Path, **__: object) -> None:
        (workspace / "unpacked").touch()
        signal.raise_signal(number)

    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    monkeypatch.setattr("sigap.pipeline.run", struck)
    before = signal.getsignal(number)
    # Whoever heeds no signal is not ended by this one.
    signal.signal(number, lambda *_: None)
    try:
        assert segmented(phantom, "--out", tmp_path / "out").exit_code == 128 + number
    finally:
        signal.signal(number, before)
    assert names(tmp_path / "temporary") == names(tmp_path / "out") == []


def test_a_refused_input_leaves_nothing(segmented: Any, text: Path, tmp_path: Path) -> None:
    result = segmented(text, "--out", tmp_path / "out")
    assert result.exit_code == 1
    assert not any((tmp_path / "out").iterdir())
    assert "Error:" in result.stderr
    assert "Traceback" not in result.output


def test_what_breaks_while_files_are_written_leaves_nothing(
    segmented: Any, phantom: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill_the_disk(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("sigap.encoders.report.report", fill_the_disk)
    result = segmented(phantom, "--out", tmp_path / "out")
    assert result.exit_code == 1
    assert "No space left on device" in result.stderr
    assert not any((tmp_path / "out").iterdir())
    assert not [path for path in tmp_path.iterdir() if "partial" in path.name]


def test_formats_are_chosen(segmented: Any, phantom: Path, tmp_path: Path) -> None:
    assert segmented(phantom, "--out", tmp_path / "out", "--format", "png, json").exit_code == 0
    assert names(tmp_path / "out") == ["overlay.png", "report.json"]


@pytest.mark.parametrize("name", ["zip", "tiff", ""])
def test_formats_that_are_not_written_are_a_wrong_call(
    segmented: Any, phantom: Path, tmp_path: Path, name: str
) -> None:
    result = segmented(phantom, "--out", tmp_path / "out", "--format", f"json,{name}")
    assert result.exit_code == 2
    assert "json, nifti, png, coco" in " ".join(result.stderr.split())
    assert not (tmp_path / "out").exists()


def test_an_answer_is_never_replaced_unasked(segmented: Any, phantom: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "overlay.png").write_bytes(b"mine")
    (out / "notes.txt").write_text("mine too")
    refused = segmented(phantom, "--out", out, "--format", "json")
    assert refused.exit_code == 2
    assert "--overwrite" in refused.stderr
    assert (out / "overlay.png").read_bytes() == b"mine"
    # The old picture would belong to another run than the new report.
    assert segmented(phantom, "--out", out, "--format", "json", "--overwrite").exit_code == 0
    assert names(out) == ["notes.txt", "report.json"]


def test_an_overwriting_run_that_fails_keeps_the_old_answer(
    segmented: Any, phantom: Path, text: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert segmented(phantom, "--out", out).exit_code == 0
    before = (out / "report.json").read_bytes()
    assert segmented(text, "--out", out, "--overwrite").exit_code == 1
    assert names(out) == FOUR
    assert (out / "report.json").read_bytes() == before


def test_several_inputs_never_replace_an_answer_unasked(segmented: Any, phantom: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert segmented(phantom, phantom, "--out", out).exit_code == 0
    assert segmented(phantom, phantom, "--out", out).exit_code == 2
    assert segmented(phantom, phantom, "--out", out, "--overwrite").exit_code == 0
    assert names(out) == ["phantom", "phantom-2", "summary.csv"]


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["segment"],
        ["segment", "toy"],
        ["segment", "toy", "{phantom}"],
        ["segment", "toy", "{phantom}", "--out", "{phantom}"],
        ["segment", "toy", "{nowhere}", "--out", "{out}"],
        ["segment", "nosuchtask", "{phantom}", "--out", "{out}"],
        ["segment", "toy", "{phantom}", "--out", "{out}", "--models", "{nowhere}"],
        ["segment", "toy", "{phantom}", "--out", "{out}", "--pixel-spacing-mm", "wide"],
        ["segment", "toy", "{phantom}", "--out", "{out}", "--pixel-spacing-mm", "0.7,0.7,0.7"],
        ["segment", "toy", "{phantom}", "--out", "{out}", "--slice-thickness-mm", "-5"],
        ["segment", "toy", "{phantom}", "--out", "{out}", "--series-uid", "series"],
        ["inspect"],
        ["inspect", "{nowhere}"],
        ["serve", "--port", "70000"],
        ["serve", "--host", "0.0.0.0"],
        ["nosuchcommand"],
    ],
)
def test_wrong_calls_exit_with_2(
    arguments: list[str], phantom: Path, toy_repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIGAP_MODELS", str(toy_repository))
    places = {"phantom": phantom, "out": tmp_path / "out", "nowhere": tmp_path / "nowhere"}
    result = sigap(*(argument.format(**places) for argument in arguments))
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output


def test_a_setting_that_makes_no_sense_is_a_wrong_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGAP_PORT", "many")
    result = sigap("config")
    assert result.exit_code == 2
    assert "SIGAP_PORT" in result.stderr


def test_a_misspelt_setting_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGAP_PORTS", "8080")
    result = sigap("config")
    assert result.exit_code == 0
    assert "SIGAP_PORTS" in result.stderr


def test_an_empty_model_repository_fails_in_a_sentence(phantom: Path, tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    result = sigap("segment", "toy", phantom, "--out", tmp_path / "out", "--models", tmp_path / "none")
    assert result.exit_code == 1
    assert "holds no model" in result.stderr
    assert "Traceback" not in result.output


def test_quiet_says_nothing_but_errors(segmented: Any, phantom: Path, text: Path, tmp_path: Path) -> None:
    result = segmented(phantom, text, "--out", tmp_path / "out", "--quiet")
    assert result.stdout == ""
    assert result.stderr.startswith("Error:")


def test_a_picture_with_spacing_has_millilitres(segmented: Any, tmp_path: Path) -> None:
    from PIL import Image

    shades = np.zeros((16, 16), np.uint8)
    shades[4:8, 4:8] = 180
    Image.fromarray(shades).save(tmp_path / "slice.png")
    spacing = ("--pixel-spacing-mm", "0.5,2", "--slice-thickness-mm", "5")
    assert segmented(tmp_path / "slice.png", "--out", tmp_path / "out", *spacing).exit_code == 0
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["labels"][0]["area_mm2"] == pytest.approx(16)
    assert report["labels"][0]["volume_ml"] == pytest.approx(0.08)
    assert report["provenance"]["options"] == {"pixel_spacing_mm": [0.5, 2.0], "slice_thickness_mm": 5.0}


def test_a_broken_pipeline_is_said_with_its_traceback_and_does_not_stop_the_others(
    segmented: Any, phantom: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = segment._run

    def break_once(plan: Any, path: Path, *rest: Any) -> Any:
        if path.parent.name == "broken":
            raise KeyError("slip")
        return whole(plan, path, *rest)

    monkeypatch.setattr(segment, "_run", break_once)
    broken = tmp_path / "broken" / "b.nii"
    broken.parent.mkdir()
    broken.write_bytes(b"")
    result = segmented(broken, phantom, "--out", tmp_path / "out")
    assert result.exit_code == 1
    assert [row["state"] for row in rows(tmp_path / "out")] == ["failed", "done"]
    assert "KeyError" in result.stderr


def test_inspect_as_json(phantom: Path) -> None:
    result = sigap("inspect", phantom, "--json")
    assert result.exit_code == 0
    document = json.loads(result.stdout)
    assert list(document) == ["input", "geometry"]
    assert document["input"]["shape"] == [10, 24, 20]
    assert document["input"]["spacing_mm"] == [2.0, 1.0, 1.0]
    assert document["geometry"] == {"verdict": "ok", "reasons": []}


def test_inspect_describes_a_refused_study_and_exits_with_1(tmp_path: Path) -> None:
    voxels = np.zeros((6, 16, 16), np.int16)
    write_series(tmp_path / "study", voxels, spacing_mm=(5, 1, 1), orientation=(1, 0, 0, 0, 0, -1))
    result = sigap("inspect", tmp_path / "study", "--json")
    assert result.exit_code == 1
    document = json.loads(result.stdout)
    assert document["input"]["kind"] == "dicom"
    assert document["input"]["shape"] is None
    assert document["geometry"]["verdict"] == "refused"
    assert [reason["code"] for reason in document["geometry"]["reasons"]] == ["not_axial"]
    shown = sigap("inspect", tmp_path / "study")
    assert shown.exit_code == 1
    assert "not_axial" in shown.stdout


def test_inspect_of_what_cannot_be_read_is_a_problem_and_exits_with_1(text: Path) -> None:
    result = sigap("inspect", text, "--json")
    assert result.exit_code == 1
    document = json.loads(result.stdout)
    assert document["problem"]["type"] == "urn:sigap:problem:unsupported-format"
    assert document["input"] is document["geometry"] is None
    assert "NIfTI" in result.stderr


def test_models_lists_the_tasks(toy_repository: Path) -> None:
    assert "body, blob" in sigap("models", "--models", toy_repository).stdout
    document = json.loads(sigap("models", "--models", toy_repository, "--json").stdout)
    assert [model["name"] for model in document["models"]] == ["toy"]
    assert document["models"][0]["model_card"]["text"] == "# Toy\n"


def test_config_shows_every_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGAP_PORT", "8080")
    document = json.loads(sigap("config", "--json").stdout)
    assert document["SIGAP_PORT"] == "8080"
    shown = sigap("config").stdout
    assert all(name in shown for name in document)


def test_version() -> None:
    assert sigap("--version").stdout == f"sigap {__version__}\n"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (PermissionError(13, "Permission denied", "/secret/place"), "Permission denied"),
        (MemoryError(), "memory"),
        (KeyError("/secret/place"), "KeyError"),
    ],
)
def test_inspect_says_in_json_what_nobody_foresaw(
    phantom: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, said: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("sigap.imaging.decode.decode", fail)
    result = sigap("inspect", phantom, "--json")
    assert result.exit_code == 1
    described = json.loads(result.stdout)
    assert (described["input"], described["geometry"]) == (None, None)
    assert described["problem"]["type"] == "urn:sigap:problem:internal"
    assert said in described["problem"]["detail"]
    assert "secret" not in result.stdout
    assert "Traceback" not in result.stderr or isinstance(error, KeyError)


@pytest.mark.parametrize("command", ["segment", "inspect", "serve", "models", "config"])
def test_help_teaches_by_example(command: str) -> None:
    shown = sigap(command, "--help").stdout
    assert "Examples" in shown
    assert f"sigap {command}" in shown
    # rich's markup must not show.
    assert "[cyan]" not in shown


def test_a_file_that_may_not_be_read_is_a_wrong_call(phantom: Path, tmp_path: Path) -> None:
    if os.geteuid() == 0:
        phantom = tmp_path / "gone.nii"  # root reads everything: the nearest thing is a file that is not there
    else:
        phantom.chmod(0)
    assert sigap("inspect", phantom).exit_code == 2
