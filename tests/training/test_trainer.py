"""Training on phantoms: it runs, resumes, and stops where it must."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning_fabric import Fabric
from rich.progress import Progress
from torch import Tensor

from sigap_training import coco, slice_labels
from sigap_training import trainer as trainer_module
from sigap_training.balance import BadShares
from sigap_training.batches import Batch
from sigap_training.datasets import load_split
from sigap_training.efficient_unet import EfficientUNet, EfficientUNetConfig, load_imagenet
from sigap_training.recipe import Recipe
from sigap_training.trainer import BEST, HISTORY, LAST, Score, Trainer, TrainingFailed
from training.tiny_data import small_recipe, write_coco, write_lits, write_slice_labels


@pytest.fixture(scope="module")
def liver_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("liver")
    both = ["liver", "tumour"]
    write_lits(root, {"0": ("train", both), "101": ("train", ["liver"]), "5": ("valid", both)})
    return root


@pytest.fixture(scope="module")
def blood_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("blood")
    for split in ("train", "valid"):
        write_coco(root / split)
    write_slice_labels(root / "slice_labels", {"a": "1", "b": "0"})
    return root


@pytest.fixture(scope="module")
def unbroken(liver_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of three epochs that nobody disturbed."""
    folder = tmp_path_factory.mktemp("unbroken")
    _run(_trainer(_recipe(), liver_folder, folder))
    return folder


def _recipe(**changes: Any) -> Recipe:
    return small_recipe("liver", **{"epochs": 3} | changes)


def _trainer(recipe: Recipe, data: Path, run: Path) -> Trainer:
    splits = [load_split(recipe, split, data=data) for split in ("train", "valid")]
    fabric = Fabric(accelerator="cpu", devices=1, precision=recipe.precision)
    fabric.launch()
    return Trainer(recipe, splits[0], splits[1], run, fabric)


def _run(trainer: Trainer) -> list[Score]:
    with Progress(disable=True) as progress:
        return trainer.run(progress)


def _state(folder: Path, name: str = LAST) -> dict[str, Any]:
    state: dict[str, Any] = torch.load(folder / name, weights_only=True)
    return state


def _assert_equal_runs(one: Path, other: Path) -> None:
    for part in ("network", "trained", "average"):
        first, second = _state(one)[part], _state(other)[part]
        assert all(torch.equal(first[name], second[name]) for name in first), part
    assert _state(one)["scores"] == _state(other)["scores"]
    best = [_state(folder, BEST) for folder in (one, other)]
    assert best[0]["epoch"] == best[1]["epoch"]
    assert all(torch.equal(best[0]["network"][name], best[1]["network"][name]) for name in best[0]["network"])
    assert json.loads((one / HISTORY).read_text()) == json.loads((other / HISTORY).read_text())


class TestResuming:
    def test_a_run_killed_in_mid_epoch_ends_like_an_unbroken_one(
        self, liver_folder: Path, tmp_path: Path, unbroken: Path
    ) -> None:
        halted = _trainer(_recipe(), liver_folder, tmp_path)
        steps = []
        make = halted.batches.make

        def make_some(*arguments: Any) -> Batch:
            if len(steps) == 3:  # epochs have two steps
                raise KeyboardInterrupt
            steps.append(1)
            return make(*arguments)

        halted.batches.make = make_some
        with pytest.raises(KeyboardInterrupt):
            _run(halted)
        assert _state(tmp_path)["epoch"] == 1
        _run(_trainer(_recipe(), liver_folder, tmp_path))
        _assert_equal_runs(tmp_path, unbroken)

    @pytest.mark.parametrize("file", [BEST, LAST])
    def test_a_run_killed_while_it_writes_ends_like_an_unbroken_one(
        self, liver_folder: Path, tmp_path: Path, unbroken: Path, monkeypatch: pytest.MonkeyPatch, file: str
    ) -> None:
        """Killed in the second epoch before `best.pt`, or between it and `last.pt`, whichever epoch is the best."""
        save = trainer_module._save
        written = []

        def save_some(path: Path, state: dict[str, Any]) -> None:
            if path.name == file:
                written.append(path)
                if len(written) == 2:
                    path.with_name(f"{file}.part").write_bytes(b"half of it")
                    raise KeyboardInterrupt
            save(path, state)

        monkeypatch.setattr(trainer_module, "_save", save_some)
        monkeypatch.setattr(Trainer, "merit", lambda _, score: float(score.epoch))  # every epoch is the best
        with pytest.raises(KeyboardInterrupt):
            _run(_trainer(_recipe(), liver_folder, tmp_path))
        monkeypatch.undo()
        monkeypatch.setattr(Trainer, "merit", lambda _, score: float(score.epoch))
        assert _state(tmp_path)["epoch"] == 1
        _run(_trainer(_recipe(), liver_folder, tmp_path))
        whole = tmp_path / "whole"
        _run(_trainer(_recipe(), liver_folder, whole))
        _assert_equal_runs(tmp_path, whole)

    def test_a_finished_run_is_left_alone(self, liver_folder: Path, tmp_path: Path, unbroken: Path) -> None:
        shutil.copy(unbroken / LAST, tmp_path)
        scores = _run(_trainer(_recipe(), liver_folder, tmp_path))
        assert [score.epoch for score in scores] == [1, 2, 3]
        assert not (tmp_path / BEST).exists()

    def test_another_recipes_run_is_refused(self, liver_folder: Path, tmp_path: Path, unbroken: Path) -> None:
        shutil.copy(unbroken / LAST, tmp_path)
        with pytest.raises(TrainingFailed, match=r"last\.pt is of another recipe"):
            _run(_trainer(_recipe(learning_rate=0.5), liver_folder, tmp_path))

    def test_a_broken_file_is_named(self, liver_folder: Path, tmp_path: Path) -> None:
        (tmp_path / LAST).write_bytes(b"PK")
        with pytest.raises(TrainingFailed, match=r"last\.pt cannot be read"):
            _run(_trainer(_recipe(), liver_folder, tmp_path))


def test_one_seed_gives_one_model_and_another_gives_another(liver_folder: Path, tmp_path: Path, unbroken: Path) -> None:
    _run(_trainer(_recipe(), liver_folder, tmp_path / "again"))
    _assert_equal_runs(tmp_path / "again", unbroken)
    other = _trainer(_recipe(seed=1, epochs=1), liver_folder, tmp_path / "other")
    fresh = _trainer(_recipe(), liver_folder, tmp_path / "fresh")
    assert not torch.equal(next(other.network.parameters()), next(fresh.network.parameters()))


def test_the_folder_holds_what_it_promises(unbroken: Path) -> None:
    best, last = _state(unbroken, BEST), _state(unbroken)
    assert Recipe.model_validate(best["recipe"]) == _recipe()
    Recipe.model_validate(best["recipe"]).build_network().load_state_dict(best["network"])
    rows = json.loads((unbroken / HISTORY).read_text())
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    assert set(rows[0]) == {"epoch", "train_loss", "valid_loss", "dice", "accuracy"}
    assert len(rows[0]["dice"]) == len(rows[0]["accuracy"]) == 2
    assert best["epoch"] == max(rows, key=lambda row: sum(row["dice"]))["epoch"]
    assert last["epoch"] == 3
    assert list(unbroken.glob("events.out.tfevents.*"))
    assert not list(unbroken.glob("*.part"))


class TestStopping:
    def _merits(self, monkeypatch: pytest.MonkeyPatch, *values: float) -> None:
        monkeypatch.setattr(Trainer, "merit", lambda _, score: values[score.epoch - 1])

    def test_it_stops_when_it_gets_no_better(
        self, liver_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self._merits(monkeypatch, 0.1, 0.3, 0.2, 0.3, 0.9, 0.9)
        scores = _run(_trainer(_recipe(epochs=6, patience=2), liver_folder, tmp_path))
        assert [score.epoch for score in scores] == [1, 2, 3, 4]
        assert _state(tmp_path, BEST)["epoch"] == 2
        again = _run(_trainer(_recipe(epochs=6, patience=2), liver_folder, tmp_path))
        assert len(again) == 4

    def test_best_by_names_the_labels_that_decide(self, liver_folder: Path, tmp_path: Path) -> None:
        score = Score(epoch=1, train_loss=0.0, dice=[0.8, 0.2])
        for best_by, merit in (((), 0.5), (("tumour",), 0.2), (("liver",), 0.8)):
            trainer = _trainer(_recipe(best_by=best_by), liver_folder, tmp_path)
            assert trainer.merit(score) == pytest.approx(merit)

    def test_a_loss_that_is_no_number_stops_training(self, liver_folder: Path, tmp_path: Path) -> None:
        trainer = _trainer(_recipe(), liver_folder, tmp_path)
        with torch.no_grad():
            next(trainer.network.parameters()).fill_(float("nan"))
        with pytest.raises(TrainingFailed, match=r"loss is nan in epoch 1, step 1.*learning_rate"):
            _run(trainer)

    def test_a_gradient_that_is_no_number_stops_training(self, liver_folder: Path, tmp_path: Path) -> None:
        trainer = _trainer(_recipe(), liver_folder, tmp_path)
        next(trainer.network.parameters()).register_hook(lambda gradient: gradient * float("inf"))
        with pytest.raises(TrainingFailed, match=r"gradient is (inf|nan) in epoch 1, step 1"):
            _run(trainer)
        assert not (tmp_path / LAST).exists()

    def test_a_group_that_is_not_there_is_named_before_training(self, liver_folder: Path, tmp_path: Path) -> None:
        with pytest.raises(BadShares, match="spleen"):
            _trainer(_recipe(shares={"spleen": 1.0}), liver_folder, tmp_path)


class TestLearningRate:
    def test_the_cosine_rises_over_an_epoch_and_falls_to_nothing(self, liver_folder: Path, tmp_path: Path) -> None:
        trainer = _trainer(_recipe(epochs=10, learning_rate=0.5), liver_folder, tmp_path)
        rates = [trainer._learning_rate(epochs) for epochs in (0.0, 0.5, 5.0, 10.0)]
        assert rates == pytest.approx([0.5 * 0.02, 0.5 * 0.52 * 0.993844, 0.25, 0.0], rel=1e-5)
        assert max(trainer._learning_rate(step / 50) for step in range(500)) < 0.5

    def test_the_constant_one_stays(self, liver_folder: Path, tmp_path: Path) -> None:
        trainer = _trainer(_recipe(schedule="constant", learning_rate=0.25), liver_folder, tmp_path)
        assert {trainer._learning_rate(epochs) for epochs in (0.0, 0.4, 2.9)} == {0.25}

    @pytest.mark.parametrize("optimiser", ["adam", "adamw"])
    def test_the_optimiser_gets_it(self, liver_folder: Path, tmp_path: Path, optimiser: str) -> None:
        recipe = _recipe(schedule="constant", learning_rate=0.25, optimiser=optimiser, weight_decay=0.1, epochs=1)
        trainer = _trainer(recipe, liver_folder, tmp_path)
        _run(trainer)
        group = trainer.optimiser.param_groups[0]
        assert (group["lr"], group["weight_decay"]) == (0.25, 0.1 if optimiser == "adamw" else 0)


class TestAveraging:
    def test_without_it_the_average_is_the_network(self, liver_folder: Path, tmp_path: Path) -> None:
        trainer = _trainer(_recipe(averaging=0.0, epochs=1), liver_folder, tmp_path)
        _run(trainer)
        state = _state(tmp_path)
        for name, weights in state["trained"].items():
            torch.testing.assert_close(state["network"][name], weights)

    def test_with_it_the_average_lags_behind(self, unbroken: Path) -> None:
        state = _state(unbroken)
        assert not torch.equal(state["network"]["head.weight"], state["trained"]["head.weight"])


class TestValidation:
    def test_dice_and_accuracy_by_hand(self, liver_folder: Path, tmp_path: Path) -> None:
        """A network that says liver everywhere and tumour nowhere, on 4 slices of 32 x 32 pixels."""
        recipe = _recipe(framed=False)
        trainer = _trainer(recipe, liver_folder, tmp_path)
        truth = torch.from_numpy(trainer.valid.masks).float() / 255 > 0.5
        head: Any = trainer.average.module.head
        torch.nn.init.zeros_(head.weight)
        with torch.no_grad():
            head.bias.copy_(torch.tensor([9.0, -9.0]))
        score = trainer._validate(0.5)
        liver = int(truth[:, 0].sum())
        assert liver > 0
        assert score.dice == pytest.approx([2 * liver / (liver + truth[:, 0].numel()), 0.0])
        total = truth[:, 0].numel()
        assert score.accuracy == pytest.approx([liver / total, 1 - int(truth[:, 1].sum()) / total])
        assert score.train_loss == 0.5

    def test_what_is_unknown_does_not_count(self, liver_folder: Path, tmp_path: Path) -> None:
        trainer = _trainer(_recipe(framed=False), liver_folder, tmp_path)
        known = trainer.valid.known.copy()
        known[:, 1] = False
        trainer.valid = replace(trainer.valid, known=known)
        score = trainer._validate(0.0)
        assert score.dice[1] is None
        assert score.accuracy[1] is None
        assert score.accuracy[0] is not None
        assert score.accuracy[0] > 0


SILENT = dict.fromkeys((*coco.GROUPS, *slice_labels.GROUPS), 0.0)


class TestSliceLabels:
    def test_masks_slice_labels_and_pseudo_labels_train_together(
        self, blood_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        loss = replace(small_recipe("hemorrhage").loss, pseudo_from=0.5)
        recipe = small_recipe("hemorrhage", loss=loss, shares=SILENT | {"label-positive": 1.0, "expert": 1.0})
        trainer = _trainer(recipe, blood_folder, tmp_path)
        taught = []

        def teach(pixels: Tensor) -> Tensor:
            taught.append((trainer.epoch, len(pixels)))
            return torch.full((len(pixels), 1, 32, 32), 3.0)

        monkeypatch.setattr(trainer, "_teach", teach)
        scores = _run(trainer)
        assert len(scores) == 2
        assert {epoch for epoch, _ in taught} == {1}
        assert all(1 <= count < 4 for _, count in taught)

    def test_every_part_weighs_as_the_recipe_says(self, blood_folder: Path, tmp_path: Path) -> None:
        plain = replace(small_recipe("hemorrhage").loss, finding_weight=1e-9, presence_weight=0.0, pseudo_weight=0.0)
        pixels = torch.randn(2, 1, 32, 32)
        batch = Batch(
            pixels=pixels,
            masks=torch.zeros(2, 1, 32, 32),
            known=torch.tensor([[True], [False]]),
            findings=torch.tensor([[0] * 6, [1] * 6], dtype=torch.int8),
        )
        losses = []
        for changes in (
            {},
            {"finding_weight": 1.0},
            {"finding_weight": 3.0},
            {"pseudo_weight": 1.0},
            {"presence_weight": 1.0},
        ):
            recipe = small_recipe("hemorrhage", loss=replace(plain, pseudo_from=0.0, **changes))
            trainer = _trainer(recipe, blood_folder, tmp_path)
            trainer.network.eval()
            trainer._teach = lambda pixels: torch.full((len(pixels), 1, 32, 32), 9.0)
            losses.append(float(trainer._loss(batch).detach()))
        masks, once, thrice, pseudo, presence = losses
        assert once > masks
        assert thrice - masks == pytest.approx(3 * (once - masks), rel=1e-4)
        assert pseudo > masks
        assert presence > masks

    def test_the_teacher_is_the_average_and_gets_no_gradient(self, blood_folder: Path, tmp_path: Path) -> None:
        trainer = _trainer(small_recipe("hemorrhage"), blood_folder, tmp_path)
        pixels = torch.randn(2, 1, 32, 32)
        taught = trainer._teach(pixels)
        assert not taught.requires_grad
        assert not trainer.average.training
        torch.testing.assert_close(taught, trainer.average(pixels)[0].detach())


def test_a_pretrained_encoder_is_where_training_begins(blood_folder: Path, tmp_path: Path) -> None:
    """And nowhere else: the rest is the seed's, as without it."""
    knowing, fresh = (
        _trainer(
            small_recipe("hemorrhage", pretrained=is_pretrained), blood_folder, tmp_path
        ).network.module.state_dict()
        for is_pretrained in (True, False)
    )
    network = EfficientUNet(EfficientUNetConfig(width=2))
    load_imagenet(network)
    expected = {f"unet.encoder.{name}": value for name, value in network.encoder.state_dict().items()}
    for name, value in knowing.items():
        torch.testing.assert_close(value, expected.get(name, fresh[name]))


@pytest.mark.parametrize("precision", ["bf16-mixed", "32-true"])
def test_any_precision_gives_full_weights(liver_folder: Path, tmp_path: Path, precision: str) -> None:
    _run(_trainer(_recipe(precision=precision, epochs=1), liver_folder, tmp_path))
    assert {value.dtype for value in _state(tmp_path)["trained"].values()} == {torch.float32, torch.int64}
