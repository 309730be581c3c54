"""The commands, from data to a model folder."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import typer
import yaml
from typer.testing import CliRunner

from sigap_training import cli
from training.tiny_data import small_recipe, write_lits

BOTH = ["liver", "tumour"]


def _app(command: object) -> typer.Typer:
    app = typer.Typer()
    app.command()(command)  # type: ignore[type-var]
    return app


@pytest.fixture
def recipe_file(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(small_recipe("liver", epochs=1).model_dump(mode="json")))
    return path


def test_from_data_to_a_model_folder(recipe_file: Path, tmp_path: Path) -> None:
    write_lits(tmp_path, {"0": ("train", BOTH), "101": ("train", ["liver"]), "5": ("valid", BOTH)})
    options = ["--out", str(tmp_path / "run"), "--data", str(tmp_path), "--cache", str(tmp_path / "cache")]
    trained = CliRunner().invoke(_app(cli._train), [str(recipe_file), *options])
    assert trained.exit_code == 0, trained.output
    exported = CliRunner().invoke(
        _app(cli._export), [str(tmp_path / "run" / "best.pt"), "--repository", str(tmp_path / "repository")]
    )
    assert exported.exit_code == 0, exported.output
    assert (tmp_path / "repository" / "liver" / "1" / "model.pt").exists()


def test_bad_data_ends_with_its_name(recipe_file: Path, tmp_path: Path) -> None:
    write_lits(tmp_path, {"0": ("train", BOTH), "101": ("train", ["liver"]), "5": ("valid", BOTH)})
    (tmp_path / "train" / "segmentation-101.nii.gz").unlink()
    options = ["--out", str(tmp_path / "run"), "--data", str(tmp_path), "--cache", str(tmp_path / "cache")]
    result = CliRunner().invoke(_app(cli._train), [str(recipe_file), *options])
    assert result.exit_code == 1
    assert "segmentation-101.nii.gz is missing" in result.output.replace("\n", "")


def test_no_checkpoint_ends_with_its_name(tmp_path: Path) -> None:
    result = CliRunner().invoke(_app(cli._export), [str(tmp_path / "none.pt")])
    assert result.exit_code == 1
    assert "none.pt" in result.output.replace("\n", "")


def test_a_recipes_contract_replaces_the_checkpoints(recipe_file: Path, tmp_path: Path) -> None:
    recipe = small_recipe("liver")
    torch.save(
        {"recipe": recipe.model_dump(mode="json"), "network": recipe.build_network().state_dict()}, tmp_path / "best.pt"
    )
    document = yaml.safe_load(recipe_file.read_text())
    document["contract"]["priority"] = "batch"
    recipe_file.write_text(yaml.safe_dump(document))
    cli._export(tmp_path / "best.pt", tmp_path / "repository", recipe_file)
    assert '"priority": "batch"' in (tmp_path / "repository" / "liver" / "config.pbtxt").read_text()
