"""`sigap-train` and `sigap-export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from sigap_training.balance import BadShares
from sigap_training.datasets import load_split
from sigap_training.export import ExportFailed, export_checkpoint
from sigap_training.recipe import BadRecipe, read_recipe
from sigap_training.slices import BadData
from sigap_training.trainer import Trainer, TrainingFailed

_console = Console(stderr=True)


def _train(
    recipe: Annotated[Path, typer.Argument(help="A recipe file, or `liver` or `hemorrhage`.")],
    out: Annotated[Path, typer.Option(help="The run's folder; a run found there is resumed.")],
    data: Annotated[Path | None, typer.Option(help="The data folder, instead of the recipe's.")] = None,
    cache: Annotated[Path, typer.Option(help="Where decoded slices are kept.")] = Path("runs/cache"),
) -> None:
    """Train a recipe; `OUT/best.pt` is the checkpoint to export."""
    try:
        settings = read_recipe(recipe)
        train_slices = load_split(settings, "train", data=data, cache=cache)
        valid_slices = load_split(settings, "valid", data=data, cache=cache)
        _console.log(f"{settings.task}: {len(train_slices)} slices to train on, {len(valid_slices)} to validate on")
        with Progress(console=_console) as progress:
            scores = Trainer(settings, train_slices, valid_slices, out).run(progress)
    except (BadRecipe, BadData, BadShares, TrainingFailed) as error:
        _console.print(f"[red]{error}[/red]")
        raise typer.Exit(1) from error
    best = max(scores, key=lambda score: score.mean_dice)
    _console.log(f"best: epoch {best.epoch}, valid Dice {best.mean_dice:.3f}")


def _export(
    checkpoint: Annotated[Path, typer.Argument(help="`best.pt` of a run.")],
    repository: Annotated[Path, typer.Option(help="The model repository.")] = Path("model_repository"),
    recipe: Annotated[
        Path | None,
        typer.Option(help="Take the contract from this recipe instead: thresholds are chosen after training."),
    ] = None,
) -> None:
    """Write a trained model into a model repository, as its newest version's only folder."""
    try:
        contract = read_recipe(recipe).contract if recipe else None
        folder = export_checkpoint(checkpoint, repository, contract=contract)
    except (BadRecipe, ExportFailed) as error:
        _console.print(f"[red]{error}[/red]")
        raise typer.Exit(1) from error
    _console.log(f"wrote {folder}")


def train() -> None:
    """Entry point of `sigap-train`."""
    typer.run(_train)


def export() -> None:
    """Entry point of `sigap-export`."""
    typer.run(_export)
