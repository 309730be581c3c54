"""Training: seeded, resumable, the best average of weights kept by validation Dice."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import Progress
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from sigap_training.balance import Balance
from sigap_training.recipe import Recipe
from sigap_training.served import normalise
from sigap_training.slices import SliceSet, fit


class TrainingFailed(Exception):
    """Training cannot go on; the message says why and what to try."""


@dataclass
class Score:
    """Validation after an epoch: Dice of each channel over all known pixels, and their mean."""

    epoch: int
    loss: float
    dice: list[float] = field(default_factory=list)

    @property
    def mean_dice(self) -> float:
        return sum(self.dice) / len(self.dice)


class Trainer:
    """One run of a recipe in one folder: `last.pt` to resume from, `best.pt` to export."""

    def __init__(self, recipe: Recipe, train: SliceSet, valid: SliceSet, folder: Path) -> None:
        torch.manual_seed(recipe.seed)
        self.recipe, self.train, self.valid, self.folder = recipe, train, valid, folder
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.context = recipe.read_contract().context_slices
        self.network = recipe.build_network().to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = AveragedModel(
            self.network, multi_avg_fn=get_ema_multi_avg_fn(recipe.averaging), use_buffers=True
        )
        self.optimiser = torch.optim.AdamW(
            self.network.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay
        )
        self.draw = np.random.default_rng(recipe.seed)
        self.random = torch.Generator().manual_seed(recipe.seed)
        self.epoch = 0
        self.scores: list[Score] = []
        self.balance = Balance(train, recipe.shares)

    @property
    def best(self) -> float:
        return max((score.mean_dice for score in self.scores), default=-1.0)

    def run(self, progress: Progress) -> list[Score]:
        """Train to the recipe's last epoch, from `last.pt` if there is one.

        Raises:
            TrainingFailed: the loss is not a number any more.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        if (self.folder / "last.pt").exists():
            self._resume()
        bar = progress.add_task(self.recipe.task, total=self.recipe.epochs, completed=self.epoch)
        while self.epoch < self.recipe.epochs:
            loss = self._train_epoch()
            self.epoch += 1
            score = Score(self.epoch, loss, self._validate())
            is_best = score.mean_dice > self.best
            self.scores.append(score)
            self._save("last.pt", self._state())
            if is_best:
                self._save("best.pt", {"recipe": self.recipe.model_dump(mode="json"), "network": self._averaged()})
            dice = " ".join(f"{value:.3f}" for value in score.dice)
            progress.console.log(f"{self.recipe.task} epoch {self.epoch}: loss {loss:.4f}, valid Dice {dice}")
            progress.advance(bar)
        return self.scores

    def _train_epoch(self) -> float:
        self.network.train()
        steps = self.recipe.epoch_slices // self.recipe.batch_size
        total = 0.0
        for step in range(steps):
            for group in self.optimiser.param_groups:
                group["lr"] = self._learning_rate(self.epoch + step / steps)
            indices = self.balance.draw(self.draw, self.recipe.batch_size)
            loss = self._loss(indices)
            value = float(loss.detach())
            if not math.isfinite(value):
                raise TrainingFailed(
                    f"the loss is {value} in epoch {self.epoch + 1}, step {step + 1}: lower learning_rate "
                    f"(now {self.recipe.learning_rate}) or look for broken slices; last.pt holds the epoch before"
                )
            self.optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.network.parameters(), 5.0)
            self.optimiser.step()
            self.average.update_parameters(self.network)
            total += value
        return total / max(steps, 1)

    def _loss(self, indices: NDArray[np.int64]) -> Tensor:
        stride = int(self.draw.choice(self.recipe.neighbour_strides))
        images = _as_shares(self.train.neighbours(indices, self.context, stride))
        masks = _as_shares(self.train.masks[indices])
        images, masks = self.recipe.augmentation(images, masks, self.recipe.size, self.random)
        pixels = normalise(images).to(self.device, memory_format=torch.channels_last)
        with torch.autocast(self.device.type, torch.bfloat16):
            logits = self.network(pixels)
        known = torch.from_numpy(self.train.known[indices]).to(self.device)
        positive = torch.from_numpy(self.train.positive[indices]).to(self.device)
        return self.recipe.loss(logits.float(), masks.to(self.device), known, positive)

    def _learning_rate(self, epochs_done: float) -> float:
        warm = min(1.0, epochs_done + 0.02)
        return self.recipe.learning_rate * warm * 0.5 * (1 + math.cos(math.pi * epochs_done / self.recipe.epochs))

    @torch.inference_mode()
    def _validate(self) -> list[float]:
        """Dice of each channel, over all pixels of slices with a known mask, at the network's size."""
        self.average.eval()
        both = np.zeros(self.valid.masks.shape[1])
        either = np.zeros_like(both)
        for start in range(0, len(self.valid), 16):
            indices = np.arange(start, min(start + 16, len(self.valid)))
            pixels = fit(_as_shares(self.valid.neighbours(indices, self.context)), self.recipe.size)
            with torch.autocast(self.device.type, torch.bfloat16):
                logits = self.average(normalise(pixels).to(self.device, memory_format=torch.channels_last))
            called = (logits > 0).cpu().numpy()
            truth = fit(_as_shares(self.valid.masks[indices]), self.recipe.size).numpy() > 0.5
            known = self.valid.known[indices][:, :, None, None]
            both += (called & truth & known).sum(axis=(0, 2, 3))
            either += ((called & known).sum(axis=(0, 2, 3)) + (truth & known).sum(axis=(0, 2, 3))) / 2
        return [float(value) for value in both / np.maximum(either, 1)]

    def _averaged(self) -> dict[str, Any]:
        return copy.deepcopy(self.average.module.state_dict())

    def _state(self) -> dict[str, Any]:
        return {
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "draw": self.draw.bit_generator.state,
            "random": self.random.get_state(),
            "epoch": self.epoch,
            "scores": [(score.epoch, score.loss, score.dice) for score in self.scores],
        }

    def _resume(self) -> None:
        state = torch.load(self.folder / "last.pt", map_location=self.device, weights_only=True)
        self.network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.draw.bit_generator.state = state["draw"]
        self.random.set_state(state["random"].cpu())
        self.epoch = state["epoch"]
        self.scores = [Score(*entry) for entry in state["scores"]]

    def _save(self, name: str, state: dict[str, Any]) -> None:
        part = self.folder / f"{name}.part"
        torch.save(state, part)
        part.replace(self.folder / name)


def _as_shares(stack: NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(stack).float() / 255
