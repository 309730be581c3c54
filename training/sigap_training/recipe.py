"""A recipe: everything that makes a model, in one YAML file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from sigap.core.contract import Contract
from sigap_training.augmentation import Augmentation
from sigap_training.losses import Loss
from sigap_training.networks import (
    AttentionResUNet,
    AttentionResUNetConfig,
    AttentionUNet,
    AttentionUNetConfig,
    Network,
)

RECIPES = Path(__file__).parent / "recipes"


class BadRecipe(Exception):
    """A recipe that cannot be used; the message names the file and the entry."""


class Recipe(BaseModel):
    """How one task's model is made.

    Attributes:
        task: the model's name.
        dataset: which reader: `lits` or `coco`.
        data: its folder, unless the command line names another.
        network, width, attention: which of `networks`, how wide; without attention it is the baseline.
        size: the side of the network's square input, in pixels; a multiple of its stride.
        cached_size: the side at which slices are kept; augmentation samples from it down to `size`.
        shares: for each group of slices its share of a batch.
        epochs, epoch_slices, batch_size: an epoch is `epoch_slices` slices drawn by `shares`.
        learning_rate: AdamW's highest; it rises over the first epoch and falls to nothing along a cosine.
        weight_decay: AdamW's.
        averaging: decay of the moving average of weights that is validated and exported; 0 switches it off.
        neighbour_strides: distances of neighbouring slices to draw from: other slice spacings.
        seed: of weights, batches and augmentation.
        augmentation, loss: see there.
        contract: what `model_repository/<task>/config.pbtxt` will say.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    task: str
    dataset: Literal["lits", "coco"]
    data: Path
    network: Literal["attention_res_unet", "attention_unet"]
    width: int
    attention: bool = True
    size: int
    cached_size: int
    shares: dict[str, float]
    epochs: int
    epoch_slices: int
    batch_size: int
    learning_rate: float
    weight_decay: float = 0.01
    averaging: float = 0.99
    neighbour_strides: tuple[int, ...] = (1,)
    seed: int
    augmentation: Augmentation
    loss: Loss
    contract: dict[str, Any]

    def read_contract(self) -> Contract:
        """The contract, checked as the gateway checks it."""
        return Contract.from_json(json.dumps(self.contract))

    def build_network(self) -> Network:
        """The network with fresh weights."""
        contract = self.read_contract()
        channels, labels = contract.context_slices, len(contract.labels)
        if self.network == "attention_res_unet":
            return AttentionResUNet(AttentionResUNetConfig(channels, labels, self.width, self.attention))
        return AttentionUNet(AttentionUNetConfig(channels, labels, self.width))


def read_recipe(path: Path) -> Recipe:
    """Read a recipe file, or one of the package's own by its bare name, e.g. `liver`.

    Raises:
        BadRecipe: it is missing, no YAML, or an entry is unknown, missing or of the wrong type.
    """
    if not path.exists() and (RECIPES / f"{path}.yaml").exists():
        path = RECIPES / f"{path}.yaml"
    try:
        return Recipe.model_validate(yaml.safe_load(path.read_text()))
    except FileNotFoundError as error:
        raise BadRecipe(f"{path} is missing") from error
    except (yaml.YAMLError, ValidationError) as error:
        raise BadRecipe(f"{path}: {error}") from error
