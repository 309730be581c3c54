"""The exported model: what the gateway and Triton will read and run."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch
from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import ModelConfig

import sigap_training
from sigap.core.contract import Contract
from sigap_training.export import ExportFailed, check_agreement, export_checkpoint, freeze, load_frozen, write_model
from sigap_training.served import ServedModel, normalise
from training.tiny_data import small_recipe

TASKS = ("liver", "hemorrhage")
DEVICES = ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",)


def _served(task: str) -> ServedModel:
    """A network whose batch norms do something."""
    torch.manual_seed(5)
    recipe = small_recipe(task, width=4)
    network = recipe.build_network()
    channels = recipe.read_contract().context_slices
    for _ in range(3):
        network(torch.randn(4, channels, 32, 32) * 2)
    return ServedModel(network.eval(), 32).eval()


@pytest.fixture(scope="module", params=TASKS)
def pair(request: pytest.FixtureRequest) -> tuple[ServedModel, torch.jit.ScriptModule]:
    served = _served(request.param)
    return served, load_frozen(freeze(served))


def _slices(served: ServedModel, count: int, height: int, width: int) -> torch.Tensor:
    channels = next(served.network.parameters()).shape[1]
    random = torch.Generator().manual_seed(height)
    return torch.randint(0, 256, (count, channels, height, width), generator=random, dtype=torch.uint8)


@pytest.mark.parametrize(("height", "width"), [(101, 122), (33, 32), (7, 64), (64, 7), (1, 1), (130, 130)])
def test_any_size_comes_back_and_equals_the_eager_model(
    pair: tuple[ServedModel, torch.jit.ScriptModule], height: int, width: int
) -> None:
    served, exported = pair
    slices = _slices(served, 2, height, width)
    with torch.inference_mode():
        expected, answer = served(slices), exported(slices)
    assert answer.dtype == torch.uint8
    assert answer.shape == (2, expected.shape[1], height, width)
    assert (answer.int() - expected.int()).abs().max() <= 1


def test_batching_changes_nothing(pair: tuple[ServedModel, torch.jit.ScriptModule]) -> None:
    served, exported = pair
    slices = _slices(served, 8, 57, 80)
    with torch.inference_mode():
        alone = torch.cat([exported(slices[index : index + 1]) for index in range(8)])
        for size in (2, 3, 4, 8):
            batched = torch.cat([exported(slices[start : start + size]) for start in range(0, 8, size)])
            assert torch.equal(batched, alone)


def test_the_argument_and_the_arithmetic_are_the_contracts() -> None:
    class Middle(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x[:, 1:2]

    served = ServedModel(Middle(), 16)
    exported = load_frozen(freeze(served))
    arguments = exported.forward.schema.arguments  # type: ignore[attr-defined]
    assert [argument.name for argument in arguments[1:]] == ["SLICES"]
    slices = torch.full((1, 3, 16, 16), 180, dtype=torch.uint8)
    logit = normalise(torch.tensor(180 / 255))
    assert torch.equal(exported(slices).unique(), torch.round(255 * torch.sigmoid(logit)).to(torch.uint8).view(1))


@pytest.mark.parametrize("task", TASKS)
def test_the_folder_is_what_triton_and_the_gateway_read(task: str, tmp_path: Path) -> None:
    recipe = small_recipe(task)
    folder = write_model(recipe, recipe.build_network().eval(), tmp_path)
    config = text_format.Parse((folder / "config.pbtxt").read_text(), ModelConfig())
    parameters = {key: value.string_value for key, value in config.parameters.items()}
    contract = Contract.from_json(parameters["contract"])
    assert contract == recipe.read_contract()
    assert (config.name, config.backend, config.platform) == (task, "pytorch", "pytorch_libtorch")
    assert (config.input[0].name, list(config.input[0].dims)) == ("SLICES", [contract.context_slices, -1, -1])
    assert (config.output[0].name, list(config.output[0].dims)) == ("PROBABILITIES", [len(contract.labels), -1, -1])
    assert config.max_batch_size == 8
    assert config.version_policy.latest.num_versions == 2
    assert config.HasField("dynamic_batching")
    assert (parameters["INTRA_OP_THREAD_COUNT"], parameters["INTER_OP_THREAD_COUNT"]) == ("2", "1")
    assert parameters["sha256.1"] == hashlib.sha256((folder / "1" / "model.pt").read_bytes()).hexdigest()
    assert (folder / contract.model_card).exists()


def test_a_quote_in_a_sentence_survives_the_config(tmp_path: Path) -> None:
    recipe = small_recipe("liver")
    card = {"file": "MODEL_CARD.md", "sensitivity": 'The test patient\'s "big" tumour: 50 % \\ n = 1, é'}
    recipe = recipe.model_copy(update={"contract": recipe.contract | {"model_card": card}})
    folder = write_model(recipe, recipe.build_network().eval(), tmp_path)
    config = text_format.Parse((folder / "config.pbtxt").read_text(), ModelConfig())
    assert Contract.from_json(config.parameters["contract"].string_value).sensitivity == card["sensitivity"]


def test_a_checkpoint_is_exported_and_its_card_is_kept(tmp_path: Path) -> None:
    recipe = small_recipe("liver")
    torch.save(
        {"recipe": recipe.model_dump(mode="json"), "network": recipe.build_network().state_dict()}, tmp_path / "best.pt"
    )
    folder = export_checkpoint(tmp_path / "best.pt", tmp_path / "repository")
    (folder / "MODEL_CARD.md").write_text("measured")
    export_checkpoint(tmp_path / "best.pt", tmp_path / "repository")
    assert (folder / "MODEL_CARD.md").read_text() == "measured"


def test_what_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    (tmp_path / "best.pt").write_bytes(b"nothing")
    with pytest.raises(ExportFailed, match=r"best\.pt"):
        export_checkpoint(tmp_path / "best.pt", tmp_path)


def test_another_networks_file_is_not_agreed_to() -> None:
    served = _served("liver")
    other = _served("liver")
    with torch.no_grad():
        other.network.head.bias.add_(3.0)  # type: ignore[operator, union-attr]
    with pytest.raises(ExportFailed, match="differs from the trained one"):
        check_agreement(served, freeze(other), 3)


def test_the_file_names_no_place_of_this_machine() -> None:
    model = freeze(_served("liver"))
    for place in (Path(torch.__file__).parent, Path(sigap_training.__file__).parent):
        assert str(place).encode() not in model


@pytest.mark.parametrize("device", DEVICES)
def test_the_file_runs_on_every_device_there_is(pair: tuple[ServedModel, torch.jit.ScriptModule], device: str) -> None:
    served, exported = pair
    slices = _slices(served, 4, 57, 80)
    with torch.inference_mode():
        expected, answer = served(slices), exported.to(device)(slices.to(device)).cpu()
    exported.to("cpu")
    assert (answer.int() - expected.int()).abs().max() <= 2
