"""One suite over every engine."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from shutil import copytree

import numpy as np
import pytest
import torch

import toy
from conftest import ROOT
from phantoms import heads
from sigap.core.errors import EngineUnavailable, ModelError, SigapError, TooLarge, UnknownTask
from sigap.engines.engine import Engine
from sigap.engines.torchscript import TorchScriptEngine
from sigap.imaging.window import window
from triton_server import House


@pytest.fixture(scope="session")
def both(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with a toy, and one that fails on some of what it is asked."""
    folder = tmp_path_factory.mktemp("both")
    toy.write_repository(folder)
    return toy.write_repository(folder, task="fails", module=toy.FailsWhereBright())


@pytest.fixture(params=["torchscript", "triton"])
def engine(request: pytest.FixtureRequest, both: Path) -> Iterator[Engine]:
    """Each engine over the same repository."""
    if request.param == "torchscript":
        with closing(TorchScriptEngine.load(both)) as engine:
            yield engine
        return
    house: House = request.getfixturevalue("triton")
    for folder in both.iterdir():
        house.add_folder(folder)
    with house.engine() as engine:
        yield engine


def test_an_engine_serves_what_the_folder_says(engine: Engine) -> None:
    model = engine.model("toy")
    assert model in engine.models()
    assert (model.name, model.version, model.max_batch_size) == ("toy", "1", 4)
    assert [label.name for label in model.contract.labels] == ["body", "blob"]
    assert engine.is_ready()
    assert engine.is_ready("toy")


def test_an_unknown_task_is_named_with_those_that_exist(engine: Engine) -> None:
    with pytest.raises(UnknownTask, match="toy"):
        engine.model("heart")


@pytest.mark.parametrize("shape", [(1, 1, 8, 8), (4, 1, 33, 57)])
def test_probabilities_have_the_slices_size(engine: Engine, shape: tuple[int, ...]) -> None:
    slices = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    probabilities = engine.infer(engine.model("toy"), slices)
    assert probabilities.dtype == np.uint8
    assert np.array_equal(probabilities[:, 0], np.clip((slices[:, 0].astype(int) - 120) * 6, 0, 255))
    assert np.array_equal(probabilities[:, 1], np.clip((slices[:, 0].astype(int) - 190) * 8, 0, 255))


def test_batching_changes_nothing(engine: Engine) -> None:
    slices = np.random.default_rng(1).integers(0, 256, (4, 1, 16, 16), dtype=np.uint8)
    model = engine.model("toy")
    one_by_one = np.concatenate([engine.infer(model, slices[n : n + 1]) for n in range(4)])
    assert np.array_equal(engine.infer(model, slices), one_by_one)


def test_a_view_is_as_good_as_an_array(engine: Engine) -> None:
    slices = np.random.default_rng(2).integers(0, 256, (2, 1, 16, 16), dtype=np.uint8)
    model = engine.model("toy")
    assert np.array_equal(engine.infer(model, slices[:, :, ::-1]), engine.infer(model, slices)[:, :, ::-1])


def test_a_closed_engine_says_so(engine: Engine) -> None:
    model = engine.model("toy")
    engine.close()
    assert not engine.is_ready()
    with pytest.raises(EngineUnavailable):
        engine.infer(model, np.zeros((1, 1, 8, 8), np.uint8))


def test_batches_are_answered_in_order_and_made_when_they_are_needed(engine: Engine) -> None:
    model, made, checks = engine.model("toy"), list[int](), list[int]()

    def batches() -> Iterator[np.ndarray]:
        for shade in range(40):
            made.append(shade)
            yield np.full((1 + shade % 4, 1, 8, 8), 120 + shade, np.uint8)

    with closing(engine.infer_all(model, batches(), check=lambda: checks.append(1))) as answers:
        for shade, probabilities in enumerate(answers):
            assert probabilities.shape == (1 + shade % 4, 2, 8, 8)
            assert (probabilities[:, 0] == min(6 * shade, 255)).all()
            assert len(made) <= shade + 17
    assert made == list(range(40))


def test_what_is_not_wanted_any_more_is_not_made(engine: Engine) -> None:
    model, made = engine.model("toy"), list[int]()

    def batches() -> Iterator[np.ndarray]:
        for place in range(1000):
            made.append(place)
            yield np.zeros((4, 1, 8, 8), np.uint8)

    with closing(engine.infer_all(model, batches(), check=lambda: None)) as answers:
        next(answers)
    assert len(made) < 20
    assert engine.infer(model, np.full((1, 1, 8, 8), 255, np.uint8)).max() == 255


@pytest.mark.parametrize(("shade", "wanted"), [(255, ModelError), (254, TooLarge)])
def test_what_would_fail_again_is_not_called_unavailable(engine: Engine, shade: int, wanted: type[SigapError]) -> None:
    model = engine.model("fails")
    with pytest.raises(wanted) as failure:
        engine.infer(model, np.full((1, 1, 8, 8), shade, np.uint8))
    assert "secret" not in failure.value.message
    assert engine.infer(model, np.full((1, 1, 8, 8), 7, np.uint8)).max() == 7


@pytest.mark.parametrize("task", ["liver", "hemorrhage"])
def test_both_engines_give_the_shipped_models_answers_to_the_last_bit(triton: House, task: str) -> None:
    triton.add_folder(ROOT / "model_repository" / task)
    stack = np.stack([heads.head(noise_hu=noise) for noise in range(5, 45, 5)])
    stack[:, 100:130, 90:110] = heads.BLOOD
    with closing(TorchScriptEngine.load(ROOT / "model_repository")) as here, triton.engine() as there:
        model = here.model(task)
        assert there.model(task) == model
        contract = model.contract
        seen = window(np.rint(stack).astype(np.int16), level_hu=contract.level_hu, width_hu=contract.width_hu)
        channels = np.stack([np.roll(seen, place, axis=0) for place in range(contract.context_slices)], axis=1)
        for count in (1, 3, 8):
            expected = here.infer(model, channels[:count])
            assert np.array_equal(there.infer(model, channels[:count]), expected)
            # An empty answer would be equal too.
            assert np.unique(expected).size > 5


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory."), MemoryError()])
def test_memory_that_torch_or_python_lacks_is_the_studys_size(
    toy_repository: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(_: torch.Tensor) -> torch.Tensor:
        raise error

    engine = TorchScriptEngine.load(toy_repository)
    monkeypatch.setitem(engine._modules, "toy", fail)
    with pytest.raises(TooLarge, match="8 x 9"):
        engine.infer(engine.model("toy"), np.zeros((1, 1, 8, 9), np.uint8))


def break_config(repository: Path, old: str, new: str) -> None:
    config = repository / "toy" / "config.pbtxt"
    text = config.read_text()
    assert old in text
    config.write_text(text.replace(old, new))


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("sha256.1", "sha256.7", "sha256.1"),
        ('name: "toy"', 'name: "heart"', "one name"),
        ("max_batch_size", "max_bath_size", "cannot be read"),
        ("dims: [ 2,", "dims: [ 3,", "tensors"),
        ("largest_component", "smallest_component", "smallest_component"),
        ('key: "contract"', 'key: "other"', "contract"),
        ('string_value: "2"', 'string_value: "two"', "INTRA_OP_THREAD_COUNT"),
    ],
)
def test_a_broken_config_is_refused_at_load(tmp_path: Path, old: str, new: str, fault: str) -> None:
    break_config(toy.write_repository(tmp_path), old, new)
    with pytest.raises(ModelError, match=fault):
        TorchScriptEngine.load(tmp_path)


def test_other_bytes_than_the_config_names_are_refused(tmp_path: Path) -> None:
    weights = toy.write_repository(tmp_path) / "toy" / "1" / "model.pt"
    weights.write_bytes(weights.read_bytes() + b"\0")
    with pytest.raises(ModelError, match="SHA-256"):
        TorchScriptEngine.load(tmp_path)


def test_the_newest_version_is_served(tmp_path: Path) -> None:
    toy.write_repository(tmp_path, version="9")
    (tmp_path / "toy" / "9").rename(tmp_path / "toy" / "10")
    break_config(tmp_path, "sha256.9", "sha256.10")
    (tmp_path / "toy" / "9").mkdir()
    engine = TorchScriptEngine.load(tmp_path)
    assert engine.model("toy").version == "10"


def test_only_what_triton_takes_for_a_version_is_one(tmp_path: Path) -> None:
    task = toy.write_repository(tmp_path) / "toy"
    for name in ("02", "0", "\N{SUPERSCRIPT THREE}", "old"):
        copytree(task / "1", task / name)
    (task / "4" / "model.pt").mkdir(parents=True)
    assert TorchScriptEngine.load(tmp_path).model("toy").version == "1"


def test_a_config_that_is_no_file_is_a_model_error(tmp_path: Path) -> None:
    config = toy.write_repository(tmp_path) / "toy" / "config.pbtxt"
    config.unlink()
    config.mkdir()
    with pytest.raises(ModelError, match="cannot be read: Is a directory"):
        TorchScriptEngine.load(tmp_path)


def test_an_empty_repository_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no model"):
        TorchScriptEngine.load(tmp_path)
