"""From data to an answer: sigap-train, sigap-export, sigap-evaluate, sigap-predict-panel, and the gateway's app."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import typer
import yaml
from PIL import Image
from typer.testing import CliRunner

from serving import serving
from sigap.api.app import create_app
from sigap.engines.torchscript import TorchScriptEngine
from sigap.settings import Settings
from sigap_training import cli, cli_evaluate
from training.tiny_data import small_recipe, write_lits


def _call(command: Callable[..., None], *arguments: Any) -> None:
    app = typer.Typer()
    app.command()(command)
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output


def test_a_model_is_trained_exported_measured_and_served(tmp_path: Path) -> None:
    both, data, run, models = ["liver", "tumour"], tmp_path / "data", tmp_path / "run", tmp_path / "models"
    write_lits(data, {"0": ("train", both), "101": ("train", ["liver"]), "5": ("valid", both), "7": ("test", both)})
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(small_recipe("liver", epochs=1).model_dump(mode="json")))
    kept = ["--data", data, "--cache", tmp_path / "cache"]

    _call(cli._train, tmp_path / "tiny.yaml", "--out", run, "--accelerator", "cpu", *kept)
    _call(cli._export, run / "best.pt", "--repository", models, *kept)
    report = tmp_path / "report"
    _call(cli_evaluate._evaluate, models / "liver", "--data", data, "--out", report, "--no-time")
    _call(cli_evaluate._predict_panel, models / "liver", data, "--out", tmp_path / "panel.png", "--count", 1)

    before = (models / "liver" / "1" / "model.pt").read_bytes()
    _call(cli._export, run / "best.pt", "--repository", models, "--report", report, *kept)
    assert (models / "liver" / "1" / "model.pt").read_bytes() == before

    measured = json.loads((report / "report.json").read_text())
    assert (report / "report.md").exists()
    with Image.open(tmp_path / "panel.png") as panel:
        assert panel.width > 100
    card = (models / "liver" / "MODEL_CARD.md").read_text()
    assert measured["model"]["sha256"] in card
    assert measured["command"] in card

    engine = TorchScriptEngine.load(models)
    with serving(create_app(Settings(data=tmp_path / "jobs", models=models), engine)) as client:
        content = (data / "test" / "volume-7.nii.gz").read_bytes()
        answer = client.post("/segment/liver", files={"files": ("scan.nii.gz", content)})
    engine.close()
    assert answer.status_code == 200
    assert [label["name"] for label in answer.json()["labels"]] == ["liver", "tumour"]
