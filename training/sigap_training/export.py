"""Export: a checkpoint becomes a folder of the model repository."""

from __future__ import annotations

import hashlib
import pickle
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sigap.core.contract import Contract
from sigap_training.frozen import freeze, load_frozen
from sigap_training.model_card import ModelFacts, card_text, read_report
from sigap_training.model_folder import BadModel, ModelFolder
from sigap_training.recipe import Recipe
from sigap_training.second_head import WithFindings
from sigap_training.served import MaskOnly, ServedModel
from sigap_training.together import Together
from sigap_training.triton_config import config_text

LARGEST_BYTES = 40_000_000
VERSION = "1"


NOT_MEASURED = "How often these weights miss something has not been measured; a negative answer rules nothing out."


class ExportFailed(Exception):
    """The checkpoint cannot be exported; the message says why."""


@dataclass(frozen=True)
class ExportOptions:
    """What may be told beside the checkpoint.

    Attributes:
        served_as: whose contract, `mirrored` and card to take instead of the checkpoint's own.
        reports: of `sigap-evaluate`, for the model card. The file that they measured stays, as only the card is new.
        beside: tasks' folders of model repositories, whose models answer together with this one.
        slices: real ones, uint8 [N, K, H, W], to compare the trained and the exported model on, beside noise.
    """

    served_as: Recipe | None = None
    reports: tuple[Path, ...] = ()
    beside: tuple[Path, ...] = ()
    slices: Tensor | None = None


PLAIN = ExportOptions()


def export_checkpoint(checkpoint: Path, repository: Path, options: ExportOptions = PLAIN) -> Path:
    """Write `<task>/config.pbtxt`, `<task>/1/model.pt` and the model card.

    Args:
        checkpoint: `best.pt` or `last.pt` of a run.
        repository: the model repository.
        options: see there.

    Returns:
        The task's folder.

    Raises:
        ExportFailed: it is no checkpoint, or the exported model does not answer as the trained one does.
        BadReport: a report is about another model.
    """
    recipe, network, epoch = read_checkpoint(checkpoint)
    if options.served_as is not None:
        _refuse_another_model(checkpoint, recipe, options.served_as)
        chosen = {name: getattr(options.served_as, name) for name in ("contract", "mirrored", "card")}
        recipe = recipe.model_copy(update=chosen)
    made_by = f"`{_train_command(recipe)}`, epoch {epoch} of {recipe.epochs}."
    return write_model(recipe, network, repository, made_by=made_by, options=options)


def check_start(recipe: Recipe) -> None:
    """Refuse a checkpoint to begin with that is another network's, or that has seen the patient who is left out.

    Raises:
        ExportFailed: see there.
    """
    if recipe.start_from is None:
        return
    before, network, _ = read_checkpoint(recipe.start_from)
    try:
        recipe.build_network().load_state_dict(network.state_dict())
    except RuntimeError as error:
        raise ExportFailed(f"start_from: {recipe.start_from} has another network's weights") from error
    if before.split.leave_out != recipe.split.leave_out:
        raise ExportFailed(
            f"start_from: {recipe.start_from} left out patient {before.split.leave_out}, this run leaves out "
            f"{recipe.split.leave_out}: it would be tested on a patient that it was trained on"
        )


def _refuse_another_model(checkpoint: Path, trained: Recipe, served: Recipe) -> None:
    """Another window or other labels are another task: they cannot be chosen after training."""
    for what in ("task", "labels", "level_hu", "width_hu", "slices"):
        before, after = ({"task": recipe.task, **recipe.as_trained()}[what] for recipe in (trained, served))
        if before != after:
            raise ExportFailed(f"{checkpoint} was trained with {what} {before}, the recipe to serve it says {after}")


def _train_command(recipe: Recipe) -> str:
    changes = "".join(f" --set {shlex.quote(change)}" for change in recipe.changes)
    return f"sigap-train {recipe.name or recipe.task}{changes} --out RUN"


def read_checkpoint(path: Path) -> tuple[Recipe, nn.Module, int]:
    """A checkpoint's recipe, its network with the trained weights, and its epoch.

    Raises:
        ExportFailed: it is no checkpoint of `sigap-train`.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        recipe = Recipe.model_validate(state["recipe"])
        network = recipe.build_network()
        network.load_state_dict(state["network"])
        return recipe, network, int(state["epoch"])
    except (OSError, EOFError, KeyError, TypeError, ValueError, RuntimeError, pickle.UnpicklingError) as error:
        raise ExportFailed(f"{path} cannot be read as a checkpoint of this version of sigap-train: {error}") from error


def write_model(
    recipe: Recipe, network: nn.Module, repository: Path, *, made_by: str = "", options: ExportOptions = PLAIN
) -> Path:
    """Write a network as a task's folder.

    `config.pbtxt` comes last, so that it never names a model that is not there yet.
    """
    contract = recipe.read_contract()
    beside = [_beside(folder, contract) for folder in options.beside]
    served: nn.Module = serve(recipe, network)
    if beside:
        served = Together(served, *(other.module for other in beside))
    folder = repository / recipe.task
    model = _measured(folder, contract) if options.reports else freeze(served)
    check_agreement(served, model, probes(contract.context_slices, options.slices))
    if len(model) > LARGEST_BYTES:
        raise ExportFailed(f"model.pt would have {len(model)} bytes; at most {LARGEST_BYTES} are allowed")
    sha256 = hashlib.sha256(model).hexdigest()
    facts = ModelFacts(
        task=recipe.task,
        network=_network_text(recipe, beside),
        parameters=sum(weights.numel() for weights in network.parameters())
        + sum(other.parameter_count for other in beside),
        size=recipe.size,
        sha256=sha256,
        made_by=made_by,
    )
    document = recipe.contract if options.reports else _not_measured(recipe.contract)
    card = card_text(facts, recipe.card, contract, [read_report(path, sha256) for path in options.reports])
    text = config_text(recipe.task, contract=document, parts=contract, sha256={VERSION: sha256})
    (folder / VERSION).mkdir(parents=True, exist_ok=True)
    _replace(folder / VERSION / "model.pt", model)
    _replace(folder / contract.model_card, card.encode())
    _replace(folder / "config.pbtxt", text.encode())
    return folder


def _beside(folder: Path, contract: Contract) -> ModelFolder:
    try:
        return ModelFolder.load_like(folder, contract)
    except BadModel as error:
        raise ExportFailed(f"--beside: {error}") from error


def _network_text(recipe: Recipe, beside: Sequence[ModelFolder]) -> str:
    text = " ".join([recipe.network.name, *(f"{key} {value}" for key, value in recipe.network.options.items())])
    return ", together with ".join([text, *(f"the model of SHA-256 {other.sha256}" for other in beside)])


def _not_measured(contract: Mapping[str, Any]) -> dict[str, Any]:
    """What a negative is worth is only said of weights that were measured."""
    return {**contract, "model_card": {**contract["model_card"], "sensitivity": NOT_MEASURED}}


def serve(recipe: Recipe, network: nn.Module) -> ServedModel:
    """The module that is exported, not frozen yet."""
    return ServedModel(
        MaskOnly(network) if isinstance(network, WithFindings) else network,
        size=recipe.size,
        working_size=recipe.cached_size,
        framed=recipe.framed,
        mirrored=recipe.mirrored,
    ).eval()


def _measured(folder: Path, contract: Contract) -> bytes:
    """The file that a folder already serves; its labels, thresholds and steps must be the contract's.

    Freezing again would give another file: TorchScript numbers its types as they come.
    """
    try:
        served = ModelFolder.load(folder)
    except BadModel as error:
        raise ExportFailed(f"--report is about a model that was exported before: {error}") from error
    if (served.contract.labels, served.contract.postprocess) != (contract.labels, contract.postprocess):
        raise ExportFailed(
            f"{folder} was measured with other thresholds or steps: export it without --report, measure again"
        )
    return (folder / VERSION / "model.pt").read_bytes()


def probes(context_slices: int, real: Tensor | None) -> list[Tensor]:
    """What the two models are compared on: noise of odd sizes, and real slices if there are any."""
    random = torch.Generator().manual_seed(0)
    noise = [
        torch.randint(0, 256, (3, context_slices, height, width), generator=random, dtype=torch.uint8)
        for height, width in ((97, 122), (160, 131), (256, 256))
    ]
    return noise if real is None else [*noise, real]


def check_agreement(served: nn.Module, model: bytes, batches: Sequence[Tensor]) -> None:
    """Compare the file with the eager module.

    Raises:
        ExportFailed: a value differs by more than 1/255 (folding rounds), or a slice's answer depends on its batch.
    """
    loaded = load_frozen(model)
    for slices in batches:
        size = f"{slices.shape[-2]} x {slices.shape[-1]}"
        with torch.inference_mode():
            eager, exported = served(slices), loaded(slices)
            alone = torch.cat([loaded(slices[index : index + 1]) for index in range(len(slices))])
        if _largest_difference(eager, exported) > 1:
            raise ExportFailed(f"the exported model differs from the trained one at {size}")
        if not torch.equal(exported, alone):
            raise ExportFailed(f"the exported model's answers depend on the batch at {size}")


def _largest_difference(first: Tensor, second: Tensor) -> int:
    return int((first.to(torch.int16) - second.to(torch.int16)).abs().max())


def _replace(path: Path, content: bytes) -> None:
    part = path.with_name(path.name + ".part")
    part.write_bytes(content)
    part.replace(path)
