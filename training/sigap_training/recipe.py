"""A recipe: everything that makes a model, in one YAML file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from torch import nn

from sigap.core.contract import Contract
from sigap.core.errors import ModelError
from sigap.imaging.postprocess import check_steps
from sigap_training.augmentation import Augmentation
from sigap_training.losses import Loss
from sigap_training.model_card import CardWords
from sigap_training.named_networks import build_network
from sigap_training.painting import Painting
from sigap_training.reasons import reasons
from sigap_training.slice_labels import TAUGHT
from sigap_training.splits import SplitOptions

RECIPES = Path(__file__).parent / "recipes"


class BadRecipe(Exception):
    """A recipe that cannot be used; the message names the file and the entry."""


class NetworkChoice(BaseModel):
    """Which network, and its options: see `named_networks.build_network`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    options: dict[str, Any] = {}


class Recipe(BaseModel):
    """How one task's model is made.

    Attributes:
        name: the recipe's own, and `changes` what the command line changed in it: `read_recipe` notes both.
        task: the model's name.
        dataset: which reader: `lits` or `coco`.
        data: its folder, unless the command line names another.
        split: how a folder without stated splits is divided.
        multiclass: of COCO exports: one channel a category instead of their union.
        subtypes: what is known of whole slices beside the labels, by name; they teach a second head.
        network: which, and its options.
        pretrained: begin with an encoder trained on photographs; `efficient_unet` only.
        start_from: a checkpoint of an earlier run whose weights this one begins with.
        taught_by: a task's folder of a model repository: its model draws the masks of slices of which only a yes is
            known; see `teacher`.
        size: the side of the network's square input, in pixels.
        cached_size: the side at which slices are kept; the network's input is sampled from it.
        framed: find the body and sample from its frame, instead of the whole picture.
        mirrored: ask the exported network a second time with left and right exchanged.
        shares: for each group of slices its share of an epoch; without any, an epoch is every slice once.
        epochs: how often.
        epoch_slices: how many slices an epoch has; None: as many as there are.
        batch_size: how many at a time, over all devices.
        optimiser: `adamw` or `adam`.
        schedule: `cosine` rises over the first epoch and falls to nothing along a cosine; `constant` stays.
        learning_rate: its highest.
        weight_decay: AdamW's.
        averaging: decay of the moving average of weights that is validated and exported; 0 switches it off.
        patience: stop after so many epochs without a better validation Dice; None: never.
        best_by: labels whose mean validation Dice picks the best checkpoint; none named: all.
        neighbour_strides: distances of neighbouring slices to draw from: other slice spacings.
        precision: Lightning Fabric's, e.g. `bf16-mixed` or `32-true`.
        seed: of weights, batches and augmentation.
        augmentation, painting, loss: see there.
        contract: what `model_repository/<task>/config.pbtxt` will say.
        card: what the model card says in words.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = ""
    changes: tuple[str, ...] = ()
    task: str
    dataset: Literal["lits", "coco"]
    data: Path
    split: SplitOptions = SplitOptions()
    multiclass: bool = False
    subtypes: tuple[str, ...] = ()
    network: NetworkChoice
    pretrained: bool = False
    start_from: Path | None = None
    taught_by: Path | None = None
    size: int = Field(ge=1)
    cached_size: int = Field(ge=1)
    framed: bool = True
    mirrored: bool = False
    shares: dict[str, float] = {}
    epochs: int = Field(ge=1)
    epoch_slices: int | None = Field(default=None, ge=1)
    batch_size: int = Field(ge=1)
    optimiser: Literal["adamw", "adam"] = "adamw"
    schedule: Literal["cosine", "constant"] = "cosine"
    learning_rate: float = Field(gt=0)
    weight_decay: float = Field(default=0.01, ge=0)
    averaging: float = Field(default=0.99, ge=0, lt=1)
    patience: int | None = Field(default=None, ge=1)
    best_by: tuple[str, ...] = ()
    neighbour_strides: tuple[int, ...] = (1,)
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "bf16-mixed"
    seed: int
    augmentation: Augmentation = Augmentation()
    painting: Painting = Painting()
    loss: Loss
    contract: dict[str, Any]
    card: CardWords = CardWords()

    def read_contract(self) -> Contract:
        """The contract, checked as the gateway checks it."""
        return Contract.from_json(json.dumps(self.contract))

    def as_trained(self) -> dict[str, Any]:
        """What weights depend on: all but the card, and of the contract its labels' names, window and context."""
        contract = self.read_contract()
        trained = self.model_dump(mode="json", exclude={"name", "changes", "data", "card", "mirrored", "contract"})
        seen = {"level_hu": contract.level_hu, "width_hu": contract.width_hu, "slices": contract.context_slices}
        return {**trained, **seen, "labels": [label.name for label in contract.labels]}

    def build_network(self) -> nn.Module:
        """The network with fresh weights."""
        contract = self.read_contract()
        return build_network(
            self.network.name,
            self.network.options,
            in_channels=contract.context_slices,
            out_channels=len(contract.labels),
            findings=len(contract.labels) + len(self.subtypes) if self.loss.finding_weight > 0 else 0,
        )

    @model_validator(mode="after")
    def _fits_together(self) -> Recipe:
        """Whatever would stop a run later stops it here."""
        try:
            contract = self.read_contract()
            check_steps(contract)
        except ModelError as error:
            raise ValueError(str(error)) from error
        labels = [label.name for label in contract.labels]
        if len(self.loss.kinds) != len(labels):
            raise ValueError(f"loss: {len(self.loss.kinds)} kinds for {len(labels)} labels")
        if self.pretrained and self.network.name != "efficient_unet":
            raise ValueError(f"pretrained: there are no weights for {self.network.name}, only for efficient_unet")
        if self.pretrained and self.start_from is not None:
            raise ValueError("pretrained: the weights of start_from would replace it; choose one of the two")
        if self.taught_by is not None:
            self._check_teaching()
        self._try_network(contract)
        if any(share < 0 for share in self.shares.values()):
            raise ValueError("shares: none may be below 0")
        if not self.neighbour_strides or min(self.neighbour_strides) < 1:
            raise ValueError("neighbour_strides: at least one, each 1 or more")
        strange = set(self.best_by) - set(labels)
        if strange:
            raise ValueError(f"best_by: no label is called {', '.join(sorted(strange))}")
        if self.painting.share > 0 and (contract.context_slices, len(labels)) != (1, 1):
            raise ValueError("painting: blood is painted into single slices with one label; context_slices must be 1")
        return self

    def _check_teaching(self) -> None:
        if self.dataset != "coco":
            raise ValueError("taught_by: only a COCO export has slices of which a yes is all that is known")
        if self.shares and TAUGHT not in self.shares:
            raise ValueError(f"taught_by: shares needs an entry {TAUGHT}, how often what it drew is shown")

    def _try_network(self, contract: Contract) -> None:
        """Shapes alone: the meta device computes nothing."""
        pixels = torch.empty(2, contract.context_slices, self.size, self.size, device="meta")
        expected = (2, len(contract.labels), self.size, self.size)
        try:
            answer = self.build_network().to("meta")(pixels)
        except (ValueError, RuntimeError) as error:
            raise ValueError(f"network: at size {self.size}: {error}") from error
        logits = answer[0] if isinstance(answer, tuple) else answer
        found = tuple(logits.shape) if isinstance(logits, torch.Tensor) else "several pictures"
        if found != expected:
            raise ValueError(f"network: at size {self.size} it answers {found}, not {expected}")


def read_recipe(path: Path, changes: Sequence[str] = ()) -> Recipe:
    """Read a recipe file, or one of the package's own by its bare name, e.g. `liver`.

    A file may say `extends: NAME`, another recipe's name; its own entries replace that one's, except that those of
    `contract` replace single entries of the other's contract, and that a card is not taken over.

    Args:
        path: file or name.
        changes: `entry=value`, an entry of an entry behind a dot: `network.options.width=8`. Values are YAML.

    Raises:
        BadRecipe: it is missing, no YAML, or an entry is unknown, missing or of the wrong type.
    """
    document = {**_read_document(path), "name": path.stem, "changes": list(changes)}
    for change in changes:
        _apply(document, change)
    try:
        return Recipe.model_validate(document)
    except ValidationError as error:
        raise BadRecipe(f"{path}: {reasons(error)}") from error


def _read_document(path: Path, extended: tuple[Path, ...] = ()) -> dict[str, Any]:
    if not path.is_file() and (RECIPES / f"{path}.yaml").exists():
        path = RECIPES / f"{path}.yaml"
    try:
        document: Any = yaml.safe_load(path.read_text())
    except FileNotFoundError as error:
        own = ", ".join(sorted(known.stem for known in RECIPES.glob("*.yaml")))
        raise BadRecipe(f"{path} is missing, and no recipe of the package is called so: {own}") from error
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise BadRecipe(f"{path}: {error}") from error
    if not isinstance(document, dict):
        raise BadRecipe(f"{path}: no mapping of entries")
    base = document.pop("extends", None)
    if base is None:
        return document
    beside = path.parent / f"{base}.yaml"
    if path in extended:
        raise BadRecipe(f"{path}: extends itself, by way of {base}")
    below = _read_document(beside if beside.exists() else Path(f"{base}"), (*extended, path))
    contracts = [each.get("contract") or {} for each in (below, document)]
    if not all(isinstance(contract, dict) for contract in contracts):
        raise BadRecipe(f"{path}: contract is no mapping of entries")
    below.pop("card", None)  # what is said of one model's weights is not true of another's
    return {**below, **document, "contract": {**contracts[0], **contracts[1]}}


def _apply(document: dict[str, Any], change: str) -> None:
    name, equals, value = change.partition("=")
    *outer, last = name.split(".")
    place: Any = document
    for part in outer:
        place = place.setdefault(part, {}) if isinstance(place, dict) else None
    if not equals or not isinstance(place, dict):
        raise BadRecipe(f"{change!r} is no change: entry=value, e.g. epochs=8 or network.options.width=8")
    try:
        place[last] = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise BadRecipe(f"{change!r}: {error}") from error
