"""Export: a checkpoint becomes a folder of the model repository."""

from __future__ import annotations

import hashlib
import io
import pickle
import warnings
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sigap_training.model_card import ModelFacts, card_text, read_report
from sigap_training.networks import WithFindings
from sigap_training.recipe import Recipe
from sigap_training.served import MaskOnly, ServedModel
from sigap_training.triton_config import config_text

LARGEST_BYTES = 40_000_000
VERSION = "1"


class ExportFailed(Exception):
    """The checkpoint cannot be exported; the message says why."""


@dataclass(frozen=True)
class ExportOptions:
    """What may be told beside the checkpoint.

    Attributes:
        served_as: whose contract, `mirrored`, `doubt` and card to take instead of the checkpoint's own.
        reports: of `sigap-evaluate`, for the model card; they must be about this very file.
        slices: real ones, uint8 [N, K, H, W], to compare the trained and the exported model on, beside noise.
    """

    served_as: Recipe | None = None
    reports: tuple[Path, ...] = ()
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
        chosen = {name: getattr(options.served_as, name) for name in ("contract", "mirrored", "doubt", "card")}
        recipe = recipe.model_copy(update=chosen)
    made_by = f"`sigap-train {recipe.task} --out RUN`, epoch {epoch} of {recipe.epochs}."
    return write_model(recipe, network, repository, made_by=made_by, options=options)


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
        raise ExportFailed(f"{path} is no checkpoint of sigap-train: {error}") from error


def write_model(
    recipe: Recipe, network: nn.Module, repository: Path, *, made_by: str = "", options: ExportOptions = PLAIN
) -> Path:
    """Write a network as a task's folder.

    `config.pbtxt` comes last, so that it never names a model that is not there yet.
    """
    contract = recipe.read_contract()
    served = serve(recipe, network)
    model = freeze(served)
    check_agreement(served, model, probes(contract.context_slices, options.slices))
    if len(model) > LARGEST_BYTES:
        raise ExportFailed(f"model.pt would have {len(model)} bytes; at most {LARGEST_BYTES} are allowed")
    sha256 = hashlib.sha256(model).hexdigest()
    facts = ModelFacts(
        task=recipe.task,
        network=" ".join([recipe.network.name, *(f"{key} {value}" for key, value in recipe.network.options.items())]),
        parameters=sum(weights.numel() for weights in network.parameters()),
        size=recipe.size,
        sha256=sha256,
        made_by=made_by,
    )
    card = card_text(facts, recipe.card, contract, [read_report(path, sha256) for path in options.reports])
    text = config_text(recipe.task, contract=recipe.contract, parts=contract, sha256={VERSION: sha256})
    folder = repository / recipe.task
    (folder / VERSION).mkdir(parents=True, exist_ok=True)
    _replace(folder / VERSION / "model.pt", model)
    _replace(folder / contract.model_card, card.encode())
    _replace(folder / "config.pbtxt", text.encode())
    return folder


def serve(recipe: Recipe, network: nn.Module) -> ServedModel:
    """The module that is exported, not frozen yet."""
    return ServedModel(
        MaskOnly(network, recipe.doubt) if isinstance(network, WithFindings) else network,
        size=recipe.size,
        working_size=recipe.cached_size,
        framed=recipe.framed,
        mirrored=recipe.mirrored,
    ).eval()


def freeze(served: ServedModel) -> bytes:
    """The TorchScript file: scripted, channels last, batch norms folded into convolutions. Nobody freezes it again."""
    with torchscript_is_deprecated():
        module: Any = served
        frozen = torch.jit.freeze(torch.jit.script(module.to(memory_format=torch.channels_last).eval()))
        buffer = io.BytesIO()
        torch.jit.save(frozen, buffer)
    return _without_source_places(buffer)


def _without_source_places(archive: io.BytesIO) -> bytes:
    """The archive without its `.debug_pkl` entries: they name files and folders of the machine that exported it."""
    kept = io.BytesIO()
    with zipfile.ZipFile(archive) as full, zipfile.ZipFile(kept, "w", zipfile.ZIP_STORED) as lean:
        for entry in full.infolist():
            if not entry.filename.endswith(".debug_pkl"):
                # A fresh entry: the padding that torch writes into the old one's extra field would be stale.
                lean.writestr(zipfile.ZipInfo(entry.filename), full.read(entry))
    return kept.getvalue()


def load_frozen(model: bytes) -> torch.jit.ScriptModule:
    """A TorchScript module from its file's bytes, on the CPU."""
    with torchscript_is_deprecated():
        loaded: torch.jit.ScriptModule = torch.jit.load(io.BytesIO(model), map_location="cpu")
    return loaded


def probes(context_slices: int, real: Tensor | None) -> list[Tensor]:
    """What the two models are compared on: noise of odd sizes, and real slices if there are any."""
    random = torch.Generator().manual_seed(0)
    noise = [
        torch.randint(0, 256, (3, context_slices, height, width), generator=random, dtype=torch.uint8)
        for height, width in ((97, 122), (160, 131), (256, 256))
    ]
    return noise if real is None else [*noise, real]


def check_agreement(served: ServedModel, model: bytes, batches: Sequence[Tensor]) -> None:
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


@contextmanager
def torchscript_is_deprecated() -> Iterator[None]:
    """Silence the one warning that torch 2.13 gives for what Triton still serves."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r".*torch\.jit.*", category=DeprecationWarning)
        yield


def _largest_difference(first: Tensor, second: Tensor) -> int:
    return int((first.to(torch.int16) - second.to(torch.int16)).abs().max())


def _replace(path: Path, content: bytes) -> None:
    part = path.with_name(path.name + ".part")
    part.write_bytes(content)
    part.replace(path)
