"""`sigap-evaluate` from model folders and data to reports, on phantoms whose answers are known."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from sigap_training import cli_evaluate
from sigap_training.evaluation import provenance
from training.bright_model import write_bright_model
from training.tiny_data import LPS, save_coco, write_coco, write_lits, write_nifti, write_roboflow

BOTH = ["liver", "tumour"]
CASES = {"2": ("test", BOTH), "3": ("test", BOTH), "4": ("test", ["liver"]), "5": ("train", BOTH)}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a liver model, cases, and the report of the one on the others."""
    home = tmp_path_factory.mktemp("home")
    write_bright_model(home / "repository", "liver", size=24)
    write_lits(home / "lits", CASES)
    result = evaluate(home / "repository" / "liver", "--data", home / "lits", "--out", home / "report")
    assert result.exit_code == 0, result.output
    return home


@pytest.fixture
def liver(home: Path) -> Path:
    return home / "repository" / "liver"


@pytest.fixture
def data(home: Path) -> Path:
    return home / "lits"


@pytest.fixture
def report(home: Path) -> Path:
    return home / "report"


def evaluate(*arguments: object) -> Any:
    app = typer.Typer()
    app.command()(cli_evaluate._evaluate)
    return CliRunner().invoke(app, [*map(str, arguments), "--no-time"])


def report_of(folder: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((folder / "report.json").read_text())
    return document


def test_a_lits_split_is_scored_as_served(report: Path) -> None:
    test = report_of(report)["parts"]["test"]
    # The dark square lies within bright slices: filled, it is liver again, but nobody calls it a tumour.
    rows = test["cases"]["liver"]
    assert [row["case"] for row in rows] == ["2", "3", "4"]
    voxel_ml = 1.5 * 1.5 * 2 / 1000
    assert rows[0]["truth_voxels"] == 4 * 12 * 8
    assert rows[0]["truth_ml"] == pytest.approx(4 * 12 * 8 * voxel_ml)
    assert rows[0]["dice"] > 0.95
    assert rows[0]["found_voxels"] == pytest.approx(rows[0]["found_ml"] / voxel_ml)
    tumour = test["labels"]["tumour"]
    assert (tumour["cases"], tumour["patients"], tumour["cases_with_label"]) == (2, 2, 2)
    assert tumour["lesions"]["all"]["truth"] == 2
    assert tumour["lesions"]["< 100"]["truth"] == 2
    assert tumour["lesions"][">= 100"]["truth"] == 0
    assert tumour["loss"]["sum"] == tumour["loss"]["binary_cross_entropy"] + tumour["loss"]["dice"]
    assert "lesions" in test["labels"]["liver"]
    assert test["labels"]["liver"]["lesions"] is None


def test_what_the_truth_does_not_tell_is_left_out_and_said(report: Path) -> None:
    text = (report / "report.md").read_text()
    assert "Left out of the figures of tumour only, because the truth does not tell it: 4." in text


def test_the_report_begins_with_where_it_comes_from(report: Path) -> None:
    text, document = (report / "report.md").read_text(), report_of(report)
    assert text.index("sigap-evaluate") < text.index(document["model"]["sha256"]) < text.index("## test")
    assert document["parts"]["test"]["data_sha256"] in text
    assert f"torch {document['machine']['torch']}" in text


def test_every_figure_that_the_report_shows_is_there(report: Path) -> None:
    lines = (report / "report.md").read_text().splitlines()
    shown = [line.split("](")[1][:-1] for line in lines if line.startswith("![")]
    assert len(shown) == 6
    assert sorted(shown) == sorted(path.name for path in report.glob("*.png"))


def test_one_patient_has_no_interval(liver: Path, tmp_path: Path) -> None:
    write_lits(tmp_path / "one", {"2": ("test", BOTH)})
    evaluate(liver, "--data", tmp_path / "one", "--out", tmp_path / "out")
    dice = report_of(tmp_path / "out")["parts"]["test"]["labels"]["liver"]["mean_of_cases"]["dice"]
    assert (dice["low"], dice["high"], dice["reason"], dice["patients"]) == (None, None, "one patient", 1)


def test_a_study_and_its_mask(liver: Path, data: Path, tmp_path: Path) -> None:
    case = data / "test"
    study = ["--study", case / "volume-2.nii.gz", "--truth", case / "segmentation-2.nii.gz"]
    result = evaluate(liver, *study, "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert list(report_of(tmp_path / "out")["parts"]) == ["studies"]
    assert set(report_of(tmp_path / "out")["parts"]["studies"]["labels"]) == {"liver", "tumour"}


def test_a_flipped_mask_of_a_study_is_brought_into_place(liver: Path, data: Path, tmp_path: Path) -> None:
    mask = nib.load(data / "test" / "segmentation-2.nii.gz")
    flipped = nib.as_closest_canonical(mask)
    nib.save(flipped, tmp_path / "ras.nii.gz")
    assert not np.array_equal(np.asanyarray(flipped.dataobj), np.asanyarray(mask.dataobj))
    study = ["--study", data / "test" / "volume-2.nii.gz", "--truth"]
    evaluate(liver, *study, data / "test" / "segmentation-2.nii.gz", "--out", tmp_path / "a")
    evaluate(liver, *study, tmp_path / "ras.nii.gz", "--out", tmp_path / "b")
    first, second = (report_of(tmp_path / name)["parts"]["studies"]["cases"] for name in "ab")
    assert first == second


def test_pictures_are_scored_by_source(tmp_path: Path) -> None:
    model = write_bright_model(tmp_path / "repository", "hemorrhage", size=64)
    write_coco(tmp_path / "coco" / "test", side=64)
    result = evaluate(model, "--data", tmp_path / "coco", "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    test = report_of(tmp_path / "out")["parts"]["test"]
    assert any("Of 4 of 4 slices the patient is unknown" in note for note in test["notes"])
    blood = test["labels"]["hemorrhage"]
    by_source = {entry["source"]: entry for entry in blood["sources"]}
    # Rows 8..15, columns 4..11 are bright; of BHSD also a polygon of 64 pixels is true, which is not.
    assert by_source["PHE-SICH-CT-IDS"]["dice"]["value"] == 1
    assert by_source["BHSD"]["dice"]["value"] == pytest.approx(2 / 3, abs=0.05)
    assert by_source["RSNA (no)"]["called"]["value"] == 0
    assert by_source["RSNA (no)"]["dice"] is None
    assert blood["slices"]["sensitivity"]["value"] == 1
    assert blood["slices"]["specificity"]["value"] == 1
    assert (blood["cases_called"]["with_label"]["value"], blood["cases_called"]["without"]["value"]) == (1, 0)
    assert blood["hd95_mm"]["value"] is None
    assert blood["amount"]["unit"] == "px"


def test_a_roboflow_export_without_sources_or_patients(tmp_path: Path) -> None:
    model = write_bright_model(tmp_path / "repository", "hemorrhage", size=32)
    write_roboflow(tmp_path / "coco")
    result = evaluate(model, "--data", tmp_path / "coco", "--split", "valid", "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    valid = report_of(tmp_path / "out")["parts"]["valid"]
    assert valid["notes"][0] == "This part picked checkpoint and thresholds: a development figure."
    blood = valid["labels"]["hemorrhage"]
    assert [entry["source"] for entry in blood["sources"]] == ["(source not told)"] * 2
    assert blood["slices"]["sensitivity"]["value"] == 0


def test_models_are_compared(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home)
    liver, out = home / "repository" / "liver", home / "out"
    result = evaluate(f"with={liver}", f"without={liver}", "--data", home / "lits", "--out", out)
    assert result.exit_code == 0, result.output
    document = json.loads((out / "comparison.json").read_text())
    assert [model["label"] for model in document["models"]] == ["with", "without"]
    first, second = (model["parts"]["test"]["liver"] for model in document["models"])
    assert first["dice"] == second["dice"]
    assert second["dice_minus_first"]["value"] == 0
    text = (out / "comparison.md").read_text()
    assert "| without |" in text
    assert "sigap-evaluate with=repository/liver without=repository/liver --data lits" in text
    assert (out / "comparison-test.png").exists()
    for path in (
        out / "comparison.md",
        out / "comparison.json",
        out / "with" / "report.md",
        out / "with" / "report.json",
    ):
        assert str(home) not in path.read_text()


def test_cases_that_were_trained_on_say_so(liver: Path, data: Path, tmp_path: Path) -> None:
    evaluate(liver, "--data", data, "--split", "train", "--out", tmp_path / "out")
    assert "- These cases were trained on: no measure of performance." in (tmp_path / "out" / "report.md").read_text()


def test_left_out_patients_are_pooled(liver: Path, data: Path, tmp_path: Path) -> None:
    result = evaluate(f"P2={liver}", f"P5={liver}", "--leave-one-out", "--data", data, "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    part = report_of(tmp_path / "out")["parts"]["left out"]
    assert "P2 " in part["notes"][0]
    assert [(row["case"], row["patient"]) for row in part["cases"]["liver"]] == [("2", "P2"), ("5", "P5")]


def test_a_slice_is_timed(liver: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provenance, "time_slices", lambda _: 12.3)
    app = typer.Typer()
    app.command()(cli_evaluate._evaluate)
    arguments = [str(liver), "--data", str(data), "--out", str(tmp_path / "out")]
    assert CliRunner().invoke(app, arguments).exit_code == 0
    assert report_of(tmp_path / "out")["model"]["ms_a_slice"] == 12.3
    assert "12 ms a slice of 512 x 512" in (tmp_path / "out" / "report.md").read_text()


def test_bad_input_ends_with_one_line_that_names_it(liver: Path, data: Path, tmp_path: Path) -> None:
    out = ["--out", tmp_path / "out"]
    volume, mask = data / "test" / "volume-2.nii.gz", data / "test" / "segmentation-2.nii.gz"
    write_nifti(tmp_path / "small.nii.gz", np.ones((8, 8, 2), np.uint8), LPS)
    write_nifti(tmp_path / "nine.nii.gz", np.full((24, 24, 4), 9, np.uint8), LPS)
    moved = LPS.copy()
    moved[2, 3] = 0.5
    write_nifti(tmp_path / "moved.nii.gz", np.ones((24, 24, 4), np.uint8), moved)
    document = write_coco(tmp_path / "coco" / "test")
    save_coco(tmp_path / "coco" / "test", document | {"images": [], "annotations": []})
    expected = {
        "config.pbtxt is missing": [tmp_path / "none", "--data", data],
        "is no folder": [liver, "--data", tmp_path / "none"],
        "no split 'tset'": [liver, "--data", data, "--split", "tset"],
        "split 'valid' has no case": [liver, "--data", data, "--split", "valid"],
        "split 'test' has no image": [liver, "--data", tmp_path / "coco"],
        "nothing to measure on": [liver],
        "each study needs its mask": [liver, "--study", volume],
        "small.nii.gz: a mask of (2, 8, 8) voxels": [liver, "--study", volume, "--truth", tmp_path / "small.nii.gz"],
        "value 9, but the model has 2 labels": [liver, "--study", volume, "--truth", tmp_path / "nine.nii.gz"],
        "config.pbtxt is no NIfTI mask": [liver, "--study", volume, "--truth", liver / "config.pbtxt"],
        "config.pbtxt: ": [liver, "--study", liver / "config.pbtxt", "--truth", mask],
        "moved.nii.gz: its affine is not its study's": [liver, "--study", volume, "--truth", tmp_path / "moved.nii.gz"],
        "leave out --split": [f"P2={liver}", "--leave-one-out", "--data", data, "--split", "test"],
        "leave out --study, --truth": [f"P2={liver}", "--leave-one-out", "--study", volume, "--truth", mask],
        "nothing to measure": [f"P2={liver}", "--leave-one-out"],
        "two models are called 'liver'": [liver, liver, "--data", data],
        "cannot leave patient 'P9' out": [f"P9={liver}", "--leave-one-out", "--data", data],
    }
    for message, arguments in expected.items():
        result = evaluate(*arguments, *out)
        assert result.exit_code == 1, message
        assert message in result.output
        assert len(result.output.strip().splitlines()) == 1, result.output
    assert not (tmp_path / "out").exists()


def test_what_cannot_be_written_is_said_before_anything_is_measured(liver: Path, data: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for out in (tmp_path / "file", tmp_path / "file" / "below"):
        result = evaluate(liver, "--data", data, "--out", out)
        assert result.exit_code == 1
        assert "cannot be written into" in result.output
        assert len(result.output.strip().splitlines()) == 1, result.output


def test_other_labels_than_the_datas_are_refused(liver: Path, data: Path, tmp_path: Path) -> None:
    blood = write_bright_model(tmp_path / "repository", "hemorrhage", size=32)
    write_coco(tmp_path / "coco" / "test")
    for arguments, message in (
        ([blood, "--data", data], "tells liver and tumour, the model hemorrhage"),
        ([liver, "--data", tmp_path / "coco"], "has no category liver, tumour"),
        ([blood, liver, "--data", data], "they are not compared"),
    ):
        result = evaluate(*arguments, "--out", tmp_path / "out")
        assert result.exit_code == 1
        assert message in result.output


def test_categories_of_a_model_with_several_labels_have_their_own_masks(tmp_path: Path) -> None:
    folder = write_bright_model(tmp_path / "repository", "liver", size=32)
    document = write_coco(tmp_path / "coco" / "test")
    document["categories"] = [{"id": n, "name": name} for n, name in enumerate(("liver", "tumour", "other"), 1)]
    save_coco(tmp_path / "coco" / "test", document)
    result = evaluate(folder, "--data", tmp_path / "coco", "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    rows = report_of(tmp_path / "out")["parts"]["test"]["cases"]
    # Annotations: image 1 has liver (rows 8..15, columns 4..11) and tumour (a polygon), image 2 only `other`.
    assert [row["truth_voxels"] for row in rows["liver"]] == [64, 0, 0, 0]
    assert [row["truth_voxels"] for row in rows["tumour"]] == [64, 0, 0, 0]


def test_slices_that_leave_a_label_untold_are_left_out_of_its_figures_only(tmp_path: Path) -> None:
    """As in training: a whole holds its parts, alone it leaves them unknown, and names are compared plain."""
    folder = write_bright_model(tmp_path / "repository", "liver", size=32)
    document = write_coco(tmp_path / "coco" / "test")
    document["categories"] = [
        {"id": 1, "name": "Liver"},
        {"id": 2, "name": "other part", "supercategory": "Liver"},
        {"id": 3, "name": "TUMOUR", "supercategory": "Liver"},
    ]
    document["annotations"][1]["category_id"] = 1
    save_coco(tmp_path / "coco" / "test", document)
    result = evaluate(folder, "--data", tmp_path / "coco", "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    test = report_of(tmp_path / "out")["parts"]["test"]
    # The first picture has only liver, in two places; the second a tumour, which is liver too.
    assert [(row["case"], row["truth_voxels"]) for row in test["cases"]["liver"]] == [
        ("1", 128),
        ("2", 64),
        ("3", 0),
        ("4", 0),
    ]
    assert [(row["case"], row["truth_voxels"]) for row in test["cases"]["tumour"]] == [("2", 64), ("3", 0), ("4", 0)]
    assert (test["labels"]["liver"]["cases"], test["labels"]["tumour"]["cases"]) == (4, 3)
    note = "Left out of the figures of tumour only, because the truth does not tell it: 1 of 4 slices."
    assert note in test["notes"]
    assert note in (tmp_path / "out" / "report.md").read_text()


def test_two_spellings_of_one_label_are_refused(tmp_path: Path) -> None:
    folder = write_bright_model(tmp_path / "repository", "liver", size=32)
    document = write_coco(tmp_path / "coco" / "test")
    document["categories"] = [{"id": n, "name": name} for n, name in enumerate(("liver", "tumour", "Tumour"), 1)]
    save_coco(tmp_path / "coco" / "test", document)
    result = evaluate(folder, "--data", tmp_path / "coco", "--out", tmp_path / "out")
    assert result.exit_code == 1
    assert "the categories tumour, Tumour are all called as the label tumour" in result.output
