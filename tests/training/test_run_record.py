"""What a run was made of."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch

from sigap_training import run_record
from sigap_training.recipe import Recipe
from sigap_training.run_record import RECORD, BadRecord, Start, device_name, git_revision, write_record
from training.tiny_data import small_recipe

FINGERPRINTS = {"train": "a" * 64, "valid": "b" * 64}


def _starts(folder: Path) -> list[dict[str, Any]]:
    starts: list[dict[str, Any]] = json.loads((folder / RECORD).read_text())["starts"]
    return starts


def test_a_start_says_what_a_run_is_made_of(tmp_path: Path) -> None:
    recipe = small_recipe("liver")
    write_record(tmp_path / "run", Start(recipe, FINGERPRINTS, device_name(torch.device("cpu")), 2))
    (start,) = _starts(tmp_path / "run")
    assert start["data_sha256"] == FINGERPRINTS
    assert start["libraries"]["torch"] == torch.__version__
    assert {"monai", "numpy", "sigap"} <= set(start["libraries"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", start["at"])
    assert start["device"] == f"CPU, {os.cpu_count()} cores"
    assert start["processes"] == 2
    # With the folder that the command line names, the recipe can be run again.
    assert Recipe.model_validate(start["recipe"] | {"data": recipe.data}) == recipe


def test_no_folder_of_this_machine_stands_in_it(tmp_path: Path) -> None:
    write_record(tmp_path, Start(small_recipe("liver", data=Path("/somewhere/else")), FINGERPRINTS, "CPU"))
    assert "/somewhere" not in (tmp_path / RECORD).read_text()


def test_a_resumed_run_adds_a_start(tmp_path: Path) -> None:
    for device in ("CPU, 2 cores", "CPU, 4 cores"):
        write_record(tmp_path, Start(small_recipe("liver"), FINGERPRINTS, device))
    assert [start["device"] for start in _starts(tmp_path)] == ["CPU, 2 cores", "CPU, 4 cores"]


@pytest.mark.parametrize(
    ("changes", "fingerprints", "processes", "what"),
    [
        ({"seed": 7}, FINGERPRINTS, 1, "another recipe:"),
        ({}, {"train": "c" * 64, "valid": "b" * 64}, 1, "another data:"),
        ({}, FINGERPRINTS, 2, "another number of processes:"),
    ],
)
def test_another_run_is_refused_and_leaves_no_trace(
    tmp_path: Path, changes: dict[str, Any], fingerprints: dict[str, str], processes: int, what: str
) -> None:
    write_record(tmp_path, Start(small_recipe("liver"), FINGERPRINTS, "CPU"))
    before = (tmp_path / RECORD).read_bytes()
    with pytest.raises(BadRecord, match=what):
        write_record(tmp_path, Start(small_recipe("liver", **changes), fingerprints, "CPU", processes))
    assert (tmp_path / RECORD).read_bytes() == before


def test_a_broken_record_is_named(tmp_path: Path) -> None:
    (tmp_path / RECORD).write_text("{")
    with pytest.raises(BadRecord, match=r"run\.json cannot be read"):
        write_record(tmp_path, Start(small_recipe("liver"), FINGERPRINTS, "CPU"))


class TestGitRevision:
    def _git(self, folder: Path, *arguments: str) -> None:
        names = ["-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
        subprocess.run(["git", "-C", str(folder), *names, *arguments], check=True, capture_output=True)

    @pytest.fixture
    def module(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """A file that stands for the module's own."""
        monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
        path = tmp_path / "run_record.py"
        path.write_text("1")
        monkeypatch.setattr(run_record, "__file__", str(path))
        return path

    def test_outside_a_checkout_there_is_none(self, module: Path) -> None:
        assert git_revision() is None

    def test_without_git_there_is_none(self, module: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", str(module.parent))
        assert git_revision() is None

    def test_it_is_the_commit_and_whether_files_have_changed_since(self, module: Path) -> None:
        self._git(module.parent, "init", "-q")
        self._git(module.parent, "add", ".")
        self._git(module.parent, "commit", "-qm", "first")
        clean = git_revision()
        assert clean is not None
        assert re.fullmatch("[0-9a-f]{40}", clean)
        module.write_text("2")
        assert git_revision() == f"{clean}-dirty"
