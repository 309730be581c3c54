"""Training: seeded, resumable, on any devices; the best average of weights is kept by validation Dice."""

from __future__ import annotations

import json
import math
import pickle
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from rich.progress import Progress
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.tensorboard import SummaryWriter

from sigap_training.balance import Balance
from sigap_training.batches import Batch, BatchMaker
from sigap_training.efficient_unet import load_imagenet
from sigap_training.framing import crop
from sigap_training.losses import finding_loss, presence_loss, pseudo_loss
from sigap_training.recipe import Recipe
from sigap_training.served import normalise
from sigap_training.slices import SliceSet

LAST, BEST, HISTORY = "last.pt", "best.pt", "history.json"
_GRADIENT_NORM = 5.0
_VALID_BATCH = 16


class TrainingFailed(Exception):
    """Training cannot go on; the message says why and what to try."""


@dataclass
class Score:
    """Validation after an epoch: Dice and accuracy of each channel over all known pixels, at the network's size.

    None for a channel that no validation slice tells.
    """

    epoch: int
    train_loss: float
    valid_loss: float = 0.0
    dice: list[float | None] = field(default_factory=list)
    accuracy: list[float | None] = field(default_factory=list)

    def as_row(self) -> dict[str, Any]:
        """As `history.json` keeps it."""
        return asdict(self)


class Trainer:
    """One run of a recipe in one folder: `last.pt` to resume from, `best.pt` to export.

    Every epoch draws from a random generator of its own, made of seed, epoch and device: a resumed run goes on as an
    unbroken one would have.
    """

    def __init__(self, recipe: Recipe, train: SliceSet, valid: SliceSet, folder: Path, fabric: Fabric) -> None:
        torch.manual_seed(recipe.seed)
        self.recipe, self.train, self.valid, self.folder, self.fabric = recipe, train, valid, folder, fabric
        contract = recipe.read_contract()
        self.context = contract.context_slices
        names = [label.name for label in contract.labels]
        self._names = names
        told: list[bool] = np.any(valid.known, axis=0).tolist()
        self._deciding = [names.index(name) for name in recipe.best_by or names if told[names.index(name)]]
        if not self._deciding:
            raise TrainingFailed("the validation data tell none of the labels that pick the best checkpoint")
        network: Any = recipe.build_network()
        if recipe.start_from is not None:
            _start(network, recipe.start_from)
        elif recipe.pretrained:
            load_imagenet(network)
        network = network.to(memory_format=torch.channels_last)
        optimiser = {"adamw": _adamw, "adam": _adam}[recipe.optimiser](network, recipe)
        self.average = AveragedModel(
            network, multi_avg_fn=get_ema_multi_avg_fn(recipe.averaging), use_buffers=True, device=fabric.device
        )
        self.network, self.optimiser = fabric.setup(network, optimiser)
        self.epoch = 0
        self.scores: list[Score] = []
        self.balance = Balance(train, recipe.shares)
        self.batches = BatchMaker(recipe, train, fabric.device)

    @property
    def best(self) -> Score | None:
        return max(self.scores, key=self.merit, default=None)

    def merit(self, score: Score) -> float:
        """What picks the best checkpoint: the mean Dice of the labels that the recipe names."""
        return sum(score.dice[place] or 0.0 for place in self._deciding) / len(self._deciding)

    def describe(self, score: Score) -> str:
        """Its loss and Dice, label by label, for people."""
        pairs = zip(self._names, score.dice, strict=True)
        dice = ", ".join(f"{name} {'-' if value is None else f'{value:.3f}'}" for name, value in pairs)
        return f"valid {score.valid_loss:.4f}, Dice {dice}"

    def run(self, progress: Progress) -> list[Score]:
        """Train to the recipe's last epoch, from `last.pt` if there is one.

        Raises:
            TrainingFailed: the loss is not a number any more, or `last.pt` is another recipe's.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        if (self.folder / LAST).exists():
            self._resume()
        board = SummaryWriter(str(self.folder), purge_step=self.epoch + 1) if self.fabric.is_global_zero else None
        bar = progress.add_task(self.recipe.task, total=self.recipe.epochs, completed=self.epoch)
        while self.epoch < self.recipe.epochs and not self._is_overfitting():
            loss = self._train_epoch(progress)
            self.epoch += 1
            # One answer for all: what stops one process must stop the others.
            score = self.fabric.broadcast(self._validate(loss))
            is_best = self.best is None or self.merit(score) > self.merit(self.best)
            self.scores.append(score)
            if self.fabric.is_global_zero:
                self._keep(is_best=is_best)
                _log(board, score)
            self.fabric.barrier()
            progress.console.log(f"epoch {self.epoch}: loss {loss:.4f}, {self.describe(score)}")
            progress.advance(bar)
        if board is not None:
            board.close()
        return self.scores

    def _is_overfitting(self) -> bool:
        patience = self.recipe.patience
        return patience is not None and self.best is not None and self.epoch - self.best.epoch >= patience

    def _train_epoch(self, progress: Progress) -> float:
        self.network.train()
        recipe = self.recipe
        rank, world = self.fabric.global_rank, self.fabric.world_size
        random = np.random.default_rng([recipe.seed, self.epoch, 0])
        torch.manual_seed(int(random.integers(2**31)) + rank)
        size = max(1, recipe.batch_size // world)
        steps = max(1, (recipe.epoch_slices or len(self.train)) // (size * world))
        indices = self.balance.epoch(random, steps * size * world)[rank::world]
        random = random if world == 1 else random.spawn(world)[rank]
        bar = progress.add_task(f"epoch {self.epoch + 1}", total=steps)
        total = 0.0
        for step in range(steps):
            for group in self.optimiser.param_groups:
                group["lr"] = self._learning_rate(self.epoch + step / steps)
            loss = self._loss(self.batches.make(indices[step * size : (step + 1) * size], random))
            self.optimiser.zero_grad()
            self.fabric.backward(loss)
            norm = self.fabric.clip_gradients(
                self.network, self.optimiser, max_norm=_GRADIENT_NORM, error_if_nonfinite=False
            )
            total += self._finite(loss, norm, step)
            self.optimiser.step()
            self.average.update_parameters(self.network.module)
            progress.advance(bar)
        progress.remove_task(bar)
        return total / steps

    def _finite(self, loss: Tensor, norm: Tensor | None, step: int) -> float:
        """The loss, once the gradient is shared: what is no number in one process stops all of them together."""
        numbers = {"loss": float(loss.detach())}
        if norm is not None and self.recipe.precision != "16-mixed":  # its scaler leaves such steps out
            numbers["gradient"] = float(norm)
        for what, value in numbers.items():
            if not math.isfinite(value):
                raise TrainingFailed(
                    f"the {what} is {value} in epoch {self.epoch + 1}, step {step + 1}: lower learning_rate "
                    f"(now {self.recipe.learning_rate}) or look for broken slices; {LAST} holds the epoch before"
                )
        return numbers["loss"]

    def _loss(self, batch: Batch) -> Tensor:
        weights = self.recipe.loss
        logits, findings = _both(self.network(batch.pixels))
        loss = weights(logits.float(), batch.masks, batch.known)
        if findings is not None:
            loss = loss + weights.finding_weight * finding_loss(findings.float(), batch.findings)
        if self.epoch >= weights.pseudo_from * self.recipe.epochs:
            loss = loss + self._loss_of_slices(batch, logits.float())
        return loss

    def _loss_of_slices(self, batch: Batch, logits: Tensor) -> Tensor:
        """What the mask learns from slices of which only a yes or no is known, and from those without anything."""
        weights, total = self.recipe.loss, logits.sum() * 0
        is_pseudo = (batch.findings[:, 0] == 1) & ~batch.known[:, 0]
        told = is_pseudo | (batch.findings[:, 0] == 0)
        if weights.presence_weight > 0 and bool(told.any()):
            total = total + weights.presence_weight * presence_loss(logits[told], is_pseudo[told])
        if weights.pseudo_weight > 0 and bool(is_pseudo.any()):
            teacher = self._teach(batch.pixels[is_pseudo])
            total = total + weights.pseudo_weight * pseudo_loss(logits[is_pseudo], teacher)
        return total

    @torch.no_grad()
    def _teach(self, pixels: Tensor) -> Tensor:
        """Logits of the moving average of weights, which is steadier than the weights of the moment."""
        self.average.eval()
        with self.fabric.autocast():
            return _both(self.average(pixels))[0].float()

    def _learning_rate(self, epochs_done: float) -> float:
        """A linear rise over the first epoch, then a cosine to zero; or the same all the time."""
        if self.recipe.schedule == "constant":
            return self.recipe.learning_rate
        rise = min(1.0, (epochs_done + 0.02) / 1.0)
        return self.recipe.learning_rate * rise * 0.5 * (1 + math.cos(math.pi * epochs_done / self.recipe.epochs))

    @torch.inference_mode()
    def _validate(self, train_loss: float) -> Score:
        self.average.eval()
        channels = self.valid.masks.shape[1]
        both, either, right, total = (np.zeros(channels) for _ in range(4))
        losses = []
        for start in range(0, len(self.valid), _VALID_BATCH):
            indices = np.arange(start, min(start + _VALID_BATCH, len(self.valid)))
            images, frames = self.batches.images(self.valid, indices)
            pixels = normalise(crop(images, frames, self.recipe.size)).to(memory_format=torch.channels_last)
            with self.fabric.autocast():
                logits = _both(self.average(pixels))[0].float()
            masks = self.batches.on_device(self.valid.masks[indices]).float() / 255
            truth = crop(masks, frames, self.recipe.size)
            known = self.batches.on_device(self.valid.known[indices])
            losses.append(float(self.recipe.loss(logits, truth, known)))
            called, real, told = (value.cpu().numpy() for value in (logits > 0, truth > 0.5, known[:, :, None, None]))
            both += (called & real & told).sum(axis=(0, 2, 3))
            either += ((called & told).sum(axis=(0, 2, 3)) + (real & told).sum(axis=(0, 2, 3))) / 2
            right += ((called == real) & told).sum(axis=(0, 2, 3))
            total += (told & np.ones_like(called)).sum(axis=(0, 2, 3))
        dice = [float(2 * hit / size) if size else None for hit, size in zip(both, 2 * either, strict=True)]
        accuracy = [float(hit / size) if size else None for hit, size in zip(right, total, strict=True)]
        return Score(self.epoch, train_loss, float(np.mean(losses)), dice, accuracy)

    def _keep(self, *, is_best: bool) -> None:
        """Write the files of an epoch, `last.pt` last: a run killed in between repeats the epoch and its files."""
        recipe = self.recipe.model_dump(mode="json")
        average = self.average.module.state_dict()
        if is_best:
            _save(self.folder / BEST, {"recipe": recipe, "network": average, "epoch": self.epoch})
        (self.folder / HISTORY).write_text(json.dumps([score.as_row() for score in self.scores], indent=1))
        state = {
            "recipe": recipe,
            "network": average,
            "trained": self.network.module.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "precision": self.fabric.strategy.precision.state_dict(),
            "epoch": self.epoch,
            "scores": [score.as_row() for score in self.scores],
        }
        _save(self.folder / LAST, state)

    def _resume(self) -> None:
        try:
            state = torch.load(self.folder / LAST, map_location=self.fabric.device, weights_only=True)
        except (OSError, EOFError, RuntimeError, pickle.UnpicklingError) as error:
            raise TrainingFailed(f"{self.folder / LAST} cannot be read: {error}") from error
        if Recipe.model_validate(state["recipe"]).as_trained() != self.recipe.as_trained():
            raise TrainingFailed(
                f"{self.folder / LAST} is of another recipe: name another folder, or use the recipe it was begun with"
            )
        self.network.module.load_state_dict(state["trained"])
        self.average.load_state_dict(state["average"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.fabric.strategy.precision.load_state_dict(state["precision"])
        self.epoch = state["epoch"]
        self.scores = [Score(**entry) for entry in state["scores"]]


def _start(network: nn.Module, checkpoint: Path) -> None:
    """Weights of an earlier run."""
    try:
        network.load_state_dict(torch.load(checkpoint, map_location="cpu", weights_only=True)["network"])
    except (OSError, EOFError, KeyError, TypeError, RuntimeError, pickle.UnpicklingError) as error:
        raise TrainingFailed(f"start_from: {checkpoint} has no weights of this network: {error}") from error


def _adamw(network: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    return torch.optim.AdamW(network.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay)


def _adam(network: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    return torch.optim.Adam(network.parameters(), lr=recipe.learning_rate)


def _both(answer: Any) -> tuple[Tensor, Tensor | None]:
    """Logits and, of a network with a second head, findings."""
    return answer if isinstance(answer, tuple) else (answer, None)


def _save(path: Path, state: dict[str, Any]) -> None:
    part = path.with_name(f"{path.name}.part")
    torch.save(state, part)
    part.replace(path)


def _log(board: SummaryWriter | None, score: Score) -> None:
    if board is None:
        return
    board.add_scalar("loss/train", score.train_loss, score.epoch)
    board.add_scalar("loss/valid", score.valid_loss, score.epoch)
    for name, values in (("dice", score.dice), ("accuracy", score.accuracy)):
        for channel, value in enumerate(values):
            if value is not None:
                board.add_scalar(f"{name}/{channel}", value, score.epoch)
    board.flush()
