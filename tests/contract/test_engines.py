"""One suite over every engine."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

import toy
from sigap.core.errors import EngineUnavailable, ModelError, SigapError, TooLarge, UnknownTask
from sigap.engines.engine import Engine
from sigap.engines.torchscript import TorchScriptEngine

ENGINES = {"torchscript": TorchScriptEngine.load}


@pytest.fixture(params=sorted(ENGINES))
def engine(request: pytest.FixtureRequest, toy_repository: Path) -> Iterator[Engine]:
    engine: Engine = ENGINES[request.param](toy_repository)
    yield engine
    engine.close()


def test_an_engine_serves_what_the_folder_says(engine: Engine) -> None:
    (model,) = engine.models()
    assert engine.model("toy") is model
    assert (model.name, model.version, model.max_batch_size) == ("toy", "1", 4)
    assert [label.name for label in model.contract.labels] == ["body", "blob"]
    assert engine.is_ready()


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


@pytest.mark.parametrize("load", ENGINES.values(), ids=ENGINES)
@pytest.mark.parametrize(("shade", "wanted"), [(255, ModelError), (254, TooLarge)])
def test_what_would_fail_again_is_not_called_unavailable(
    tmp_path: Path, load: Callable[[Path], Engine], shade: int, wanted: type[SigapError]
) -> None:
    engine = load(toy.write_repository(tmp_path, module=toy.FailsWhereBright()))
    with pytest.raises(wanted) as failure:
        engine.infer(engine.model("toy"), np.full((1, 1, 8, 8), shade, np.uint8))
    assert "secret" not in failure.value.message
    assert engine.infer(engine.model("toy"), np.full((1, 1, 8, 8), 7, np.uint8)).max() == 7
    engine.close()


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


def test_an_empty_repository_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no model"):
        TorchScriptEngine.load(tmp_path)
