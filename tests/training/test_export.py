"""The exported model: what the gateway and Triton will read and run."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import ModelConfig

import sigap_training
from sigap.core.contract import Contract
from sigap_training.efficient_unet import EfficientEncoder
from sigap_training.export import (
    NOT_MEASURED,
    ExportFailed,
    ExportOptions,
    check_agreement,
    export_checkpoint,
    probes,
    read_checkpoint,
    serve,
    write_model,
)
from sigap_training.frozen import freeze, load_frozen
from sigap_training.recipe import Recipe, read_recipe
from sigap_training.served import ServedModel, normalise
from training.tiny_data import small_recipe

TASKS = ("liver", "hemorrhage")
DEVICES = ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",)
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "framed": ("liver", {"mirrored": False, "framed": True}),
    "mirrored": ("liver", {"mirrored": True, "framed": True}),
    "whole": ("liver", {"mirrored": False, "framed": False}),
    "findings": ("hemorrhage", {"mirrored": False}),
    "mirrored findings": ("hemorrhage", {"mirrored": True}),
    "paper's findings": ("hemorrhage-short", {"mirrored": True}),
}


def _served(task: str, **changes: Any) -> ServedModel:
    """A network whose batch norms do something."""
    torch.manual_seed(5)
    recipe = small_recipe(task, width=4, cached_size=48, **changes)
    network = recipe.build_network()
    channels = recipe.read_contract().context_slices
    for _ in range(3):
        network(torch.randn(4, channels, 32, 32) * 2)
    return serve(recipe, network)


@pytest.fixture(scope="module", params=VARIANTS)
def pair(request: pytest.FixtureRequest) -> tuple[ServedModel, torch.jit.ScriptModule]:
    task, changes = VARIANTS[request.param]
    served = _served(task, **changes)
    return served, load_frozen(freeze(served))


def _slices(served: ServedModel, count: int, height: int, width: int) -> torch.Tensor:
    sees_views = any(isinstance(part, EfficientEncoder) for part in served.network.modules())
    channels = 1 if sees_views else next(served.network.parameters()).shape[1]
    random = torch.Generator().manual_seed(height)
    slices = torch.randint(0, 256, (count, channels, height, width), generator=random, dtype=torch.uint8)
    slices[::2, :, :, : width // 3] = 0  # air, so that every other slice has a frame of its own
    return slices


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

    served = ServedModel(Middle(), size=16, working_size=16, framed=False)
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
    assert contract == replace(recipe.read_contract(), sensitivity=NOT_MEASURED)
    assert (config.name, config.backend, config.platform) == (task, "pytorch", "pytorch_libtorch")
    assert (config.input[0].name, list(config.input[0].dims)) == ("SLICES", [contract.context_slices, -1, -1])
    assert (config.output[0].name, list(config.output[0].dims)) == ("PROBABILITIES", [len(contract.labels), -1, -1])
    assert config.max_batch_size == 8
    assert config.version_policy.latest.num_versions == 2
    assert config.HasField("dynamic_batching")
    assert (parameters["INTRA_OP_THREAD_COUNT"], parameters["INTER_OP_THREAD_COUNT"]) == ("2", "1")
    assert parameters["sha256.1"] == hashlib.sha256((folder / "1" / "model.pt").read_bytes()).hexdigest()
    assert (folder / contract.model_card).exists()


def test_what_a_negative_is_worth_is_said_of_measured_weights_only(tmp_path: Path) -> None:
    card = {"file": "MODEL_CARD.md", "sensitivity": 'The test patient\'s "big" tumour: 50 % \\ n = 1, é'}
    recipe = small_recipe("liver")
    recipe = recipe.model_copy(update={"contract": recipe.contract | {"model_card": card}})
    network = recipe.build_network().eval()

    folder = write_model(recipe, network, tmp_path)
    assert _contract(folder).sensitivity == NOT_MEASURED
    sha256 = hashlib.sha256((folder / "1" / "model.pt").read_bytes()).hexdigest()
    facts = {"sha256": sha256, "ms_a_slice": None}
    (tmp_path / "report.json").write_text(json.dumps({"command": "measure", "model": facts, "parts": {}}))
    write_model(recipe, network, tmp_path, options=ExportOptions(reports=(tmp_path,)))
    assert _contract(folder).sensitivity == card["sensitivity"]


def _contract(folder: Path) -> Contract:
    config = text_format.Parse((folder / "config.pbtxt").read_text(), ModelConfig())
    return Contract.from_json(config.parameters["contract"].string_value)


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"task": "spleen"}, "task"),
        ({"window": {"level_hu": 40, "width_hu": 300}}, "level_hu"),
        ({"context_slices": 1}, "slices"),
    ],
)
def test_another_task_is_not_chosen_after_training(tmp_path: Path, changes: dict[str, Any], what: str) -> None:
    recipe = small_recipe("liver")
    task = {"task": changes.pop("task")} if "task" in changes else {}
    other = recipe.model_copy(update={"contract": recipe.contract | changes, **task})
    checkpoint = _checkpoint(tmp_path / "best.pt", recipe)
    with pytest.raises(ExportFailed, match=f"was trained with {what}"):
        export_checkpoint(checkpoint, tmp_path, ExportOptions(served_as=other))


def _checkpoint(path: Path, recipe: Recipe) -> Path:
    state = {"recipe": recipe.model_dump(mode="json"), "network": recipe.build_network().state_dict(), "epoch": 3}
    torch.save(state, path)
    return path


def test_a_checkpoint_is_exported_and_its_card_says_what_it_is(tmp_path: Path) -> None:
    checkpoint = _checkpoint(tmp_path / "best.pt", small_recipe("liver", epochs=7))
    folder = export_checkpoint(checkpoint, tmp_path / "repository")
    card = (folder / "MODEL_CARD.md").read_text()
    assert "not a medical device" in card
    assert hashlib.sha256((folder / "1" / "model.pt").read_bytes()).hexdigest() in card
    assert "epoch 3 of 7" in card
    assert "Not evaluated yet" in card


def test_another_recipe_may_say_how_it_is_served_but_not_what_it_is(tmp_path: Path) -> None:
    """`size` is the network's: it was trained at it."""
    recipe = small_recipe("hemorrhage", mirrored=False)
    checkpoint = _checkpoint(tmp_path / "best.pt", recipe)
    contract = recipe.contract | {"priority": "batch"}
    other = recipe.model_copy(update={"contract": contract, "mirrored": True, "size": 16})
    served = export_checkpoint(checkpoint, tmp_path / "repository", ExportOptions(served_as=other))
    config = text_format.Parse((served / "config.pbtxt").read_text(), ModelConfig())
    assert Contract.from_json(config.parameters["contract"].string_value).priority == "batch"
    network = read_checkpoint(checkpoint)[1]
    expected = serve(recipe.model_copy(update={"mirrored": True}), network)
    slices = torch.randint(0, 256, (2, 1, 50, 41), dtype=torch.uint8)
    with torch.inference_mode():
        answer = load_frozen((served / "1" / "model.pt").read_bytes())(slices)
        assert (answer.int() - expected(slices).int()).abs().max() <= 1


def test_figures_of_other_thresholds_do_not_come_into_the_card(tmp_path: Path) -> None:
    recipe = small_recipe("liver")
    folder = write_model(recipe, recipe.build_network(), tmp_path)
    labels = [label | {"thresholds": [0.1, 0.2, 0.3]} for label in recipe.contract["labels"]]
    other = recipe.model_copy(update={"contract": recipe.contract | {"labels": labels}})
    with pytest.raises(ExportFailed, match="measured with other thresholds"):
        write_model(other, recipe.build_network(), tmp_path, options=ExportOptions(reports=(folder,)))


@pytest.mark.parametrize("name", ["liver-short-unet", "liver-short-attention-unet", "liver-short-dynunet"])
def test_monais_networks_are_exported_too(name: str, tmp_path: Path) -> None:
    recipe = read_recipe(Path(name)).model_copy(update={"size": 32, "cached_size": 32})
    folder = write_model(recipe, recipe.build_network(), tmp_path)
    assert (folder / "1" / "model.pt").exists()


def test_what_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    (tmp_path / "best.pt").write_bytes(b"nothing")
    with pytest.raises(ExportFailed, match=r"best\.pt"):
        export_checkpoint(tmp_path / "best.pt", tmp_path)


@pytest.mark.parametrize("content", [b"", b"PK", None])
def test_an_empty_or_broken_file_is_refused(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "best.pt").write_bytes(content)
    with pytest.raises(ExportFailed, match=r"best\.pt cannot be read as a checkpoint"):
        export_checkpoint(tmp_path / "best.pt", tmp_path)


def test_a_checkpoint_of_another_network_is_refused(tmp_path: Path) -> None:
    recipe = small_recipe("liver")
    state = {"recipe": recipe.model_dump(mode="json"), "network": {}, "epoch": 1}
    torch.save(state, tmp_path / "best.pt")
    with pytest.raises(ExportFailed, match=r"best\.pt cannot be read as a checkpoint"):
        export_checkpoint(tmp_path / "best.pt", tmp_path)


def _with_other_bias(served: ServedModel) -> ServedModel:
    with torch.no_grad():
        served.network.head.bias.add_(3.0)
    return served


def test_another_networks_file_is_not_agreed_to() -> None:
    other = freeze(_with_other_bias(_served("liver")))
    with pytest.raises(ExportFailed, match="differs from the trained one at 97 x 122"):
        check_agreement(_served("liver"), other, probes(3, None))


class Fails(torch.nn.Module):
    """Right on noise, wrong where a slice is empty, as no noise is."""

    def __init__(self, wrong: int) -> None:
        super().__init__()
        self.wrong = wrong

    def forward(self, SLICES: torch.Tensor) -> torch.Tensor:  # noqa: N803 - the contract's name
        answer = SLICES[:, :1].clone()
        answer[SLICES[:, :1].amax(dim=(1, 2, 3)) == 0] = self.wrong
        return answer


def test_real_slices_are_compared_beside_noise() -> None:
    real = torch.zeros(2, 1, 40, 40, dtype=torch.uint8)
    trained, exported = Fails(0), freeze(Fails(9))
    check_agreement(trained, exported, probes(1, None))
    with pytest.raises(ExportFailed, match="differs from the trained one at 40 x 40"):
        check_agreement(trained, exported, probes(1, real))


class LooksBesideIt(torch.nn.Module):
    """A slice's answer depends on its batch."""

    def forward(self, SLICES: torch.Tensor) -> torch.Tensor:  # noqa: N803 - the contract's name
        return SLICES.roll(1, dims=[0])


def test_a_model_whose_answers_depend_on_the_batch_is_refused() -> None:
    with pytest.raises(ExportFailed, match="depend on the batch"):
        check_agreement(LooksBesideIt(), freeze(LooksBesideIt()), probes(1, None))


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_file_names_no_place_of_this_machine(variant: str) -> None:
    task, changes = VARIANTS[variant]
    model = freeze(_served(task, **changes))
    with zipfile.ZipFile(io.BytesIO(model)) as archive:
        content = b"".join(archive.read(name) for name in archive.namelist())
    for place in (Path(torch.__file__).parent, Path(sigap_training.__file__).parent, Path.home(), Path.cwd()):
        assert str(place).encode() not in content


@pytest.mark.parametrize("device", DEVICES)
def test_the_file_runs_on_every_device_there_is(pair: tuple[ServedModel, torch.jit.ScriptModule], device: str) -> None:
    served, exported = pair
    slices = _slices(served, 4, 57, 80)
    with torch.inference_mode():
        expected, answer = served(slices), exported.to(device)(slices.to(device)).cpu()
    exported.to("cpu")
    assert (answer.int() - expected.int()).abs().max() <= 2
