"""Models that answer as one."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from sigap_training.export import ExportFailed, ExportOptions, write_model
from sigap_training.frozen import freeze, load_frozen
from sigap_training.model_folder import ModelFolder
from sigap_training.recipe import Recipe
from sigap_training.together import Together
from training.tiny_data import small_recipe

SHAPE = (3, 1, 40, 33)


class _Answers(nn.Module):
    """The same for every pixel."""

    def __init__(self, value: int) -> None:
        super().__init__()
        self.value = value

    def forward(self, slices: Tensor) -> Tensor:
        return torch.full_like(slices, self.value)


@pytest.mark.parametrize(
    ("first", "second", "mean"),
    [
        (128, 128, 128),
        (51, 204, 128),  # 0.2 and 0.8
        (51, 128, 85),  # odds of 1/4 and about 1: of about 1/2
        (0, 255, 128),
        (255, 255, 255),
        (0, 0, 0),
    ],
)
def test_the_mean_is_of_logits(first: int, second: int, mean: int) -> None:
    answer = Together(_Answers(first), _Answers(second))(torch.zeros(SHAPE, dtype=torch.uint8))
    assert answer.dtype == torch.uint8
    assert answer.shape == SHAPE
    assert (answer.int() - mean).abs().max() <= 1


def test_of_three_each_counts_the_same() -> None:
    # Odds of 1/4, about 1 and 4, then 1/4 twice: the mean of the logits is about 0, then log(1/4) / 3.
    for values, mean in (((51, 128, 204), 128), ((51, 51, 204), 99)):
        answer = Together(*map(_Answers, values))(torch.zeros(SHAPE, dtype=torch.uint8))
        assert (answer.int() - mean).abs().max() <= 1


def _model(root: Path, seed: int, options: ExportOptions | None = None) -> tuple[Path, Recipe]:
    torch.manual_seed(seed)
    recipe = small_recipe("hemorrhage", cached_size=48)
    network = recipe.build_network()
    for _ in range(3):
        network(torch.randn(4, 1, 32, 32) * 2)
    return write_model(recipe, network, root, options=options or ExportOptions()), recipe


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two models, and the first exported once more beside the second."""
    root = tmp_path_factory.mktemp("models")
    first, second = (_model(root / str(seed), seed)[0] for seed in (1, 2))
    both = _model(root / "both", 1, ExportOptions(beside=(second,)))[0]
    return {"first": first, "second": second, "both": both}


def test_an_export_beside_another_answers_with_the_mean_of_both(folders: dict[str, Path]) -> None:
    models = {name: ModelFolder.load(folder) for name, folder in folders.items()}
    slices = torch.randint(0, 256, SHAPE, dtype=torch.uint8)
    apart = Together(*(load_frozen((folders[name] / "1" / "model.pt").read_bytes()) for name in ("first", "second")))
    with torch.inference_mode():
        expected = apart(slices).int()
    answer = torch.from_numpy(models["both"].infer(slices.numpy())).int()
    assert (answer - expected).abs().max() <= 1
    assert (answer - torch.from_numpy(models["first"].infer(slices.numpy())).int()).abs().max() > 1
    alone = torch.cat([torch.from_numpy(models["both"].infer(slices[place : place + 1].numpy())) for place in range(3)])
    assert torch.equal(alone.int(), answer)


def test_an_export_beside_two_answers_with_the_mean_of_three(folders: dict[str, Path], tmp_path: Path) -> None:
    beside = (folders["second"], folders["both"])
    three = ModelFolder.load(_model(tmp_path, 3, ExportOptions(beside=beside))[0])
    alone = ModelFolder.load(_model(tmp_path / "alone", 3)[0])
    slices = torch.randint(0, 256, SHAPE, dtype=torch.uint8)
    expected = Together(*(model.module for model in (alone, *map(ModelFolder.load, beside))))(slices).int()
    assert (torch.from_numpy(three.infer(slices.numpy())).int() - expected).abs().max() <= 1
    hashes = [hashlib.sha256((folder / "1" / "model.pt").read_bytes()).hexdigest() for folder in beside]
    card = (tmp_path / "hemorrhage" / "MODEL_CARD.md").read_text()
    assert all(f"together with the model of SHA-256 {sha256}" in card for sha256 in hashes)


def test_its_card_names_the_other(folders: dict[str, Path]) -> None:
    second = hashlib.sha256((folders["second"] / "1" / "model.pt").read_bytes()).hexdigest()
    assert f"together with the model of SHA-256 {second}" in (folders["both"] / "MODEL_CARD.md").read_text()


def test_the_file_holds_the_weights_of_both(folders: dict[str, Path]) -> None:
    counts = {name: ModelFolder.load(folder).parameter_count for name, folder in folders.items()}
    assert counts["both"] >= counts["first"] + counts["second"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"window": {"level_hu": 40, "width_hu": 90}}, r"the window is \(40.*, 90.*\), not \(40.*, 80"),
        ({"context_slices": 3}, "the number of slices is 3, not 1"),
    ],
)
def test_another_task_is_refused(tmp_path: Path, change: dict[str, object], message: str) -> None:
    _, recipe = _model(tmp_path / "one", 1)
    name = "hemorrhage-short"
    other = small_recipe(name, cached_size=48)
    other = other.model_copy(update={"contract": {**other.contract, **change}})
    beside = write_model(other, other.build_network(), tmp_path / "other")
    with pytest.raises(ExportFailed, match=message):
        write_model(recipe, recipe.build_network(), tmp_path / "both", options=ExportOptions(beside=(beside,)))


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    recipe = small_recipe("hemorrhage", cached_size=48)
    options = ExportOptions(beside=(tmp_path,))
    with pytest.raises(ExportFailed, match=r"--beside: .*config\.pbtxt is missing"):
        write_model(recipe, recipe.build_network(), tmp_path / "both", options=options)


def test_it_is_frozen_as_any_model(folders: dict[str, Path]) -> None:
    frozen = load_frozen(freeze(Together(_Answers(51), _Answers(204)).eval()))
    assert int(frozen(torch.zeros((1, 1, 5, 4), dtype=torch.uint8)).max()) == 128
