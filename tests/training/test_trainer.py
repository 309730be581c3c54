"""Training on phantoms: it runs, resumes, and stops where it must."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from rich.progress import Progress

from sigap_training.datasets import load_split
from sigap_training.recipe import Recipe
from sigap_training.trainer import Trainer, TrainingFailed
from training.tiny_data import small_recipe, write_coco, write_lits, write_slice_labels


@pytest.fixture(scope="module")
def liver_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("liver")
    both = ["liver", "tumour"]
    write_lits(root, {"0": ("train", both), "101": ("train", ["liver"]), "5": ("valid", both)})
    return root


def _trainer(recipe: Recipe, data: Path, run: Path) -> Trainer:
    splits = [load_split(recipe, split, data=data) for split in ("train", "valid")]
    return Trainer(recipe, splits[0], splits[1], run)


def _run(trainer: Trainer) -> list[float]:
    with Progress(disable=True) as progress:
        return [score.loss for score in trainer.run(progress)]


def test_a_resumed_run_ends_like_an_unbroken_one(
    liver_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = small_recipe("liver")
    unbroken = _run(_trainer(recipe, liver_folder, tmp_path / "unbroken"))

    halted = _trainer(recipe, liver_folder, tmp_path / "halted")
    monkeypatch.setattr(halted, "_validate", lambda: _halt_in_epoch_2(halted))
    with pytest.raises(KeyboardInterrupt):
        _run(halted)
    resumed = _run(_trainer(recipe, liver_folder, tmp_path / "halted"))

    assert resumed == unbroken
    weights = [torch.load(tmp_path / name / "last.pt", weights_only=True)["network"] for name in ("unbroken", "halted")]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def _halt_in_epoch_2(trainer: Trainer) -> list[float]:
    if trainer.epoch == 2:
        raise KeyboardInterrupt
    return [0.5, 0.5]


def test_masks_and_slice_labels_train_together(tmp_path: Path) -> None:
    for split in ("train", "valid"):
        write_coco(tmp_path / split)
    write_slice_labels(tmp_path / "slice_labels", {"a": "1", "b": "0"})
    losses = _run(_trainer(small_recipe("hemorrhage"), tmp_path, tmp_path / "run"))
    assert len(losses) == 2
    assert (tmp_path / "run" / "best.pt").exists()


def test_a_loss_that_is_no_number_stops_training(liver_folder: Path, tmp_path: Path) -> None:
    trainer = _trainer(small_recipe("liver"), liver_folder, tmp_path)
    with torch.no_grad():
        next(trainer.network.parameters()).fill_(float("nan"))
    with pytest.raises(TrainingFailed, match=r"loss is nan in epoch 1, step 1.*learning_rate"):
        _run(trainer)


def test_the_cache_gives_back_what_was_read(liver_folder: Path, tmp_path: Path) -> None:
    recipe = small_recipe("liver")
    read = load_split(recipe, "train", data=liver_folder, cache=tmp_path / "cache")
    kept = load_split(recipe, "train", data=liver_folder, cache=tmp_path / "cache")
    assert kept.groups == read.groups
    assert (kept.images == read.images).all()
    assert (kept.known == read.known).all()
