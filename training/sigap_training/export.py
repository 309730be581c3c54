"""Export: a checkpoint becomes a folder of the model repository."""

from __future__ import annotations

import hashlib
import io
import pickle
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sigap_training.networks import WithFindings
from sigap_training.recipe import Recipe
from sigap_training.served import MaskOnly, ServedModel
from sigap_training.triton_config import config_text

LARGEST_BYTES = 40_000_000
VERSION = "1"


class ExportFailed(Exception):
    """The checkpoint cannot be exported; the message says why."""


def export_checkpoint(checkpoint: Path, repository: Path, *, served_as: Recipe | None = None) -> Path:
    """Write `<task>/config.pbtxt` and `<task>/1/model.pt`, and a first model card where there is none.

    Args:
        checkpoint: `best.pt` or `last.pt` of a run.
        repository: the model repository.
        served_as: whose contract, `mirrored` and `doubt` to take instead of the checkpoint's own.

    Returns:
        The task's folder.
    """
    try:
        state = torch.load(checkpoint, map_location="cpu", weights_only=True)
        recipe = Recipe.model_validate(state["recipe"])
        network = recipe.build_network()
        network.load_state_dict(state["network"])
    except (OSError, KeyError, ValueError, RuntimeError, pickle.UnpicklingError) as error:
        raise ExportFailed(f"{checkpoint} is no checkpoint of sigap-train: {error}") from error
    if served_as is not None:
        chosen = {name: getattr(served_as, name) for name in ("contract", "mirrored", "doubt")}
        recipe = recipe.model_copy(update=chosen)
    return write_model(recipe, network, repository)


def write_model(recipe: Recipe, network: nn.Module, repository: Path) -> Path:
    """Write a network as a task's folder.

    `config.pbtxt` comes last, so that it never names a model that is not there yet.
    """
    parts = recipe.read_contract()
    served = ServedModel(
        MaskOnly(network, recipe.doubt) if isinstance(network, WithFindings) else network,
        size=recipe.size,
        working_size=recipe.cached_size,
        framed=recipe.framed,
        mirrored=recipe.mirrored,
    ).eval()
    model = freeze(served)
    check_agreement(served, model, parts.context_slices)
    if len(model) > LARGEST_BYTES:
        raise ExportFailed(f"model.pt would have {len(model)} bytes; at most {LARGEST_BYTES} are allowed")
    folder = repository / recipe.task
    (folder / VERSION).mkdir(parents=True, exist_ok=True)
    _replace(folder / VERSION / "model.pt", model)
    sha256 = hashlib.sha256(model).hexdigest()
    text = config_text(recipe.task, contract=recipe.contract, parts=parts, sha256={VERSION: sha256})
    _replace(folder / "config.pbtxt", text.encode())
    card = folder / parts.model_card
    if not card.exists():
        card.write_text(f"# {recipe.task}\n\n**Provisional weights**, not evaluated: for integration only.\n")
    return folder


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


def check_agreement(served: ServedModel, model: bytes, context_slices: int) -> None:
    """Compare the file with the eager module on odd sizes and batches.

    Raises:
        ExportFailed: a value differs by more than 1/255 (folding rounds), or a slice's answer depends on its batch.
    """
    loaded = load_frozen(model)
    random = torch.Generator().manual_seed(0)
    for height, width in ((97, 122), (160, 131), (256, 256)):
        slices = torch.randint(0, 256, (3, context_slices, height, width), generator=random, dtype=torch.uint8)
        with torch.inference_mode():
            eager, exported = served(slices), loaded(slices)
            alone = torch.cat([loaded(slices[index : index + 1]) for index in range(len(slices))])
        if _largest_difference(eager, exported) > 1:
            raise ExportFailed(f"the exported model differs from the trained one at {height} x {width}")
        if not torch.equal(exported, alone):
            raise ExportFailed(f"the exported model's answers depend on the batch at {height} x {width}")


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
