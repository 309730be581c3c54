"""The commands, from data to a model folder."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import typer
import yaml
from typer.testing import CliRunner, Result

from sigap_training import cli
from sigap_training.recipe import Recipe
from training.bright_model import write_bright_model
from training.tiny_data import small_recipe, write_coco, write_lits, write_slice_labels

BOTH = ["liver", "tumour"]


def _invoke(command: Callable[..., None], *arguments: Any) -> Result:
    app = typer.Typer()
    app.command()(command)
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def _output(result: Result) -> str:
    """Without the line breaks of a narrow terminal."""
    return " ".join(result.output.split())


def _write_recipe(path: Path, task: str, **changes: Any) -> Path:
    """Its data are nowhere: a test names them, or goes without."""
    recipe = small_recipe(task, data=Path("nowhere"), **{"epochs": 1} | changes)
    path.write_text(yaml.safe_dump(recipe.model_dump(mode="json")))
    return path


def _write_checkpoint(path: Path) -> Recipe:
    recipe = small_recipe("liver", data=Path("nowhere"))
    state = {"recipe": recipe.model_dump(mode="json"), "network": recipe.build_network().state_dict(), "epoch": 1}
    torch.save(state, path)
    return recipe


@pytest.fixture
def recipe_file(tmp_path: Path) -> Path:
    return _write_recipe(tmp_path / "tiny.yaml", "liver")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With data in it, and options to keep all else there."""
    write_lits(tmp_path, {"0": ("train", BOTH), "101": ("train", ["liver"]), "5": ("valid", BOTH)})
    return tmp_path


def _options(folder: Path) -> list[Any]:
    return ["--out", folder / "run", "--data", folder, "--cache", folder / "cache", "--accelerator", "cpu"]


class TestTrain:
    def test_a_run_leaves_what_its_help_promises_and_can_be_exported(self, recipe_file: Path, folder: Path) -> None:
        trained = _invoke(cli._train, recipe_file, *_options(folder))
        assert trained.exit_code == 0, trained.output
        names = {path.name for path in (folder / "run").iterdir()}
        assert {"best.pt", "last.pt", "history.json", "curves.png", "run.json"} <= names
        assert "best: epoch 1" in _output(trained)
        (start,) = json.loads((folder / "run" / "run.json").read_text())["starts"]
        assert set(start["data_sha256"]) == {"train", "valid"}

        exported = _invoke(
            cli._export,
            folder / "run" / "best.pt",
            *("--repository", folder / "repository", "--data", folder, "--cache", folder / "cache"),
        )
        assert exported.exit_code == 0, exported.output
        assert "noise only" not in exported.output
        assert (folder / "repository" / "liver" / "1" / "model.pt").exists()

    def test_blood_and_slice_labels(self, tmp_path: Path) -> None:
        for split in ("train", "valid"):
            write_coco(tmp_path / split)
        write_slice_labels(tmp_path / "slice_labels", {"a": "1", "b": "0"})
        recipe = _write_recipe(tmp_path / "tiny.yaml", "hemorrhage")
        trained = _invoke(cli._train, recipe, *_options(tmp_path))
        assert trained.exit_code == 0, trained.output
        assert (tmp_path / "run" / "classes.png").exists()

    def test_changes_reach_the_run(self, recipe_file: Path, folder: Path) -> None:
        changes = ["--set", "network.options.width=3", "--set", "seed=8", "--set", "epoch_slices=4"]
        trained = _invoke(cli._train, recipe_file, *_options(folder), *changes)
        assert trained.exit_code == 0, trained.output
        kept = torch.load(folder / "run" / "best.pt", weights_only=True)["recipe"]
        assert (kept["network"]["options"]["width"], kept["seed"]) == (3, 8)

    def test_bad_data_ends_with_its_name_before_anything_is_trained(self, recipe_file: Path, folder: Path) -> None:
        (folder / "train" / "segmentation-101.nii.gz").unlink()
        result = _invoke(cli._train, recipe_file, *_options(folder))
        assert result.exit_code == 1
        assert "segmentation-101.nii.gz is missing" in result.output.replace("\n", "")
        assert not (folder / "run").exists()

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["--set", "epohcs=3"], "epohcs"),
            (["--set", "epochs"], "'epochs' is no change"),
            (["--set", "shares={spleen: 1}"], "'spleen'"),
            (["--set", "split.leave_out=Nobody"], "Nobody"),
        ],
    )
    def test_what_cannot_be_trained_ends_with_one_message(
        self, recipe_file: Path, folder: Path, arguments: list[str], message: str
    ) -> None:
        result = _invoke(cli._train, recipe_file, *_options(folder), *arguments)
        assert result.exit_code == 1
        assert message in _output(result)

    def test_a_teacher_draws_masks_and_another_one_does_not_go_on(self, tmp_path: Path) -> None:
        for split in ("train", "valid"):
            write_coco(tmp_path / split)
        write_slice_labels(tmp_path / "slice_labels", {"a": "1", "b": "0"})
        shares = dict.fromkeys(["expert", "weak", "label-positive", "label-taught", "label-negative"], 0.2)
        shares |= {"negative-phe": 0.0, "negative-rsna": 0.0}
        recipe = _write_recipe(tmp_path / "tiny.yaml", "hemorrhage", shares=shares)
        teacher = write_bright_model(tmp_path / "teachers", "hemorrhage", size=32)
        command = [recipe, *_options(tmp_path), "--set", f"taught_by={teacher}"]
        trained = _invoke(cli._train, *command)
        assert trained.exit_code == 0, trained.output
        start = json.loads((tmp_path / "run" / "run.json").read_text())["starts"][0]
        assert start["data_sha256"]["taught_by"] == hashlib.sha256((teacher / "1/model.pt").read_bytes()).hexdigest()
        write_bright_model(tmp_path / "teachers", "hemorrhage", size=48)
        result = _invoke(cli._train, *command)
        assert result.exit_code == 1
        assert "that run began with another data" in _output(result)

    def test_a_teacher_that_is_not_there_is_named_before_any_data_are(self, tmp_path: Path) -> None:
        recipe = _write_recipe(tmp_path / "tiny.yaml", "hemorrhage", shares={})
        result = _invoke(cli._train, recipe, *_options(tmp_path), "--set", f"taught_by={tmp_path / 'none'}")
        assert result.exit_code == 1
        assert re.search(r"taught_by: .*none/config\.pbtxt is missing", result.output.replace("\n", ""))
        assert not (tmp_path / "run").exists()

    def test_a_missing_recipe_ends_with_the_names_there_are(self, folder: Path) -> None:
        result = _invoke(cli._train, "livre", *_options(folder))
        assert result.exit_code == 1
        assert "livre" in result.output
        assert "hemorrhage" in result.output

    def test_two_processes_share_the_work(self, folder: Path) -> None:
        """As on two GPUs, but with Gloo: each sees half of a batch, one writes, both end."""
        recipe = _write_recipe(folder / "tiny.yaml", "liver", patience=1)
        command = [Path(sys.executable).parent / "sigap-train", recipe, *_options(folder), "--devices", 2]
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        ended = subprocess.run(
            [str(part) for part in command], capture_output=True, text=True, env=environment, timeout=300, check=False
        )
        assert ended.returncode == 0, ended.stdout + ended.stderr
        assert ended.stderr.count("epoch 1: loss") == 1
        state = torch.load(folder / "run" / "best.pt", weights_only=True)
        recipe_kept = Recipe.model_validate(state["recipe"])
        recipe_kept.build_network().load_state_dict(state["network"])
        assert len(json.loads((folder / "run" / "run.json").read_text())["starts"]) == 1


class TestExport:
    def test_no_checkpoint_ends_with_its_name(self, tmp_path: Path) -> None:
        result = _invoke(cli._export, tmp_path / "none.pt", "--repository", tmp_path)
        assert result.exit_code == 1
        assert "none.pt" in result.output.replace("\n", "")

    def test_a_recipes_contract_replaces_the_checkpoints_and_noise_must_do_without_data(self, tmp_path: Path) -> None:
        recipe = _write_checkpoint(tmp_path / "best.pt")
        changed = recipe.contract | {"priority": "batch"}
        recipe_file = _write_recipe(tmp_path / "tiny.yaml", "liver", contract=changed)
        result = _invoke(
            cli._export, tmp_path / "best.pt", "--repository", tmp_path / "repository", "--recipe", recipe_file
        )
        assert result.exit_code == 0, result.output
        assert "noise only" in _output(result)
        assert '"priority": "batch"' in (tmp_path / "repository" / "liver" / "config.pbtxt").read_text()

    def test_a_report_about_another_model_is_refused(self, tmp_path: Path) -> None:
        _write_checkpoint(tmp_path / "best.pt")
        export = (cli._export, tmp_path / "best.pt", "--repository", tmp_path / "repository")
        assert _invoke(*export).exit_code == 0
        card = tmp_path / "repository" / "liver" / "MODEL_CARD.md"
        before = card.read_text()
        (tmp_path / "report.json").write_text(json.dumps({"model": {"sha256": "0" * 64}}))
        result = _invoke(*export, "--report", tmp_path)
        assert result.exit_code == 1
        assert "another model" in _output(result)
        assert card.read_text() == before

    def test_a_report_about_no_model_at_all_is_refused(self, tmp_path: Path) -> None:
        _write_checkpoint(tmp_path / "best.pt")
        result = _invoke(cli._export, tmp_path / "best.pt", "--repository", tmp_path / "none", "--report", tmp_path)
        assert result.exit_code == 1
        assert "exported before" in _output(result)


@pytest.mark.parametrize(("command", "words"), [(cli._train, "sigap-export OUT/best.pt"), (cli._export, "--report")])
def test_help_teaches_the_next_step(command: Callable[..., None], words: str) -> None:
    result = _invoke(command, "--help")
    assert result.exit_code == 0
    assert words in _output(result)
