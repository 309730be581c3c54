"""`sigap-train` and `sigap-export`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from lightning_fabric import Fabric
from rich.console import Console
from rich.progress import Progress
from torch import Tensor

from sigap_training.balance import BadShares
from sigap_training.class_distribution import draw_class_distribution
from sigap_training.coco_export import ANNOTATIONS
from sigap_training.curves import draw_curves
from sigap_training.datasets import check_data, data_fingerprint, load_split
from sigap_training.export import ExportFailed, ExportOptions, export_checkpoint, read_checkpoint
from sigap_training.model_card import BadReport
from sigap_training.recipe import RECIPES, BadRecipe, Recipe, read_recipe
from sigap_training.run_record import write_record
from sigap_training.slices import BadData
from sigap_training.trainer import Trainer, TrainingFailed

_console = Console(stderr=True)
_OWN = ", ".join(sorted(path.stem for path in RECIPES.glob("*.yaml")))


def _train(
    recipe: Annotated[Path, typer.Argument(help=f"A recipe file, or one of the package's own: {_OWN}.")],
    out: Annotated[Path, typer.Option(help="The run's folder. A run found there is resumed.")],
    data: Annotated[Path | None, typer.Option(help="The data folder, instead of the recipe's.")] = None,
    cache: Annotated[Path, typer.Option(help="Where decoded slices are kept.")] = Path("runs/cache"),
    accelerator: Annotated[str, typer.Option(help="`auto`, `cpu` or `cuda`.")] = "auto",
    devices: Annotated[int, typer.Option(help="How many: GPUs, or processes on a CPU.", min=1)] = 1,
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="Change an entry of the recipe, e.g. epochs=8, network.options.width=8, split.leave_out=L3."
        ),
    ] = None,
) -> None:
    """Train a recipe.

    All data are checked first. OUT then holds `best.pt` (to export), `last.pt` (to resume from: call the same command
    again), `history.json` and `curves.png`, `run.json` (recipe, commit, fingerprints, versions) and events for
    TensorBoard.

    One GPU, several or a CPU: the same command. Next: `sigap-export OUT/best.pt`, then `sigap-evaluate`.
    """
    try:
        settings = read_recipe(recipe, changes or ())
        fabric = Fabric(accelerator=accelerator, devices=devices, precision=settings.precision)
        if fabric.is_global_zero:  # before it starts the other processes: they would wait for one that has failed
            _prepare(settings, out, data, cache)
        fabric.launch()
        _run(settings, out, data, cache, fabric)
    except (BadRecipe, BadData, BadShares, TrainingFailed) as error:
        _console.print(f"[red]{error}[/red]")
        raise typer.Exit(1) from error


def _prepare(settings: Recipe, out: Path, data: Path | None, cache: Path) -> None:
    """All that one process does for all: check, fill the cache, put on record."""
    check_data(settings, data=data)
    for split in ("train", "valid"):
        load_split(settings, split, data=data, cache=cache)
    write_record(out, settings, {split: data_fingerprint(settings, split, data=data) for split in ("train", "valid")})
    if settings.dataset == "coco":
        _draw_classes(data or settings.data, out / "classes.png")


def _run(settings: Recipe, out: Path, data: Path | None, cache: Path, fabric: Fabric) -> None:
    console = Console(stderr=True, quiet=not fabric.is_global_zero)
    slices = [load_split(settings, split, data=data, cache=cache) for split in ("train", "valid")]
    console.log(f"{settings.task}: {len(slices[0])} slices to train on, {len(slices[1])} to validate on")
    trainer = Trainer(settings, slices[0], slices[1], out, fabric)
    with Progress(console=console, disable=not fabric.is_global_zero) as progress:
        scores = trainer.run(progress)
    if trainer.best is not None:
        dice = " ".join(f"{value:.3f}" for value in trainer.best.dice)
        console.log(f"best: epoch {trainer.best.epoch}, valid Dice {dice}")
    if fabric.is_global_zero:
        labels = [label.name for label in settings.read_contract().labels]
        draw_curves([score.as_row() for score in scores], out / "curves.png", labels=labels)


def _draw_classes(root: Path, path: Path) -> None:
    """How often each category stands in each split."""
    files = {split: root / split / ANNOTATIONS for split in ("train", "valid", "test")}
    documents = {split: json.loads(file.read_text()) for split, file in files.items() if file.exists()}
    draw_class_distribution(documents, path)


def _export(
    checkpoint: Annotated[Path, typer.Argument(help="`best.pt` of a run (or `last.pt`).")],
    repository: Annotated[Path, typer.Option(help="The model repository.")] = Path("model_repository"),
    recipe: Annotated[
        Path | None,
        typer.Option(help="Take contract, card and `mirrored` from this recipe: they are chosen after training."),
    ] = None,
    data: Annotated[Path | None, typer.Option(help="The data folder, instead of the recipe's.")] = None,
    cache: Annotated[Path, typer.Option(help="Where decoded slices are kept.")] = Path("runs/cache"),
    report: Annotated[
        list[Path] | None, typer.Option(help="A folder of `sigap-evaluate`, for the card; may be given again.")
    ] = None,
) -> None:
    r"""Write a trained model into a model repository: `REPOSITORY/<task>/config.pbtxt`, `1/model.pt`, a model card.

    The file is compared with the trained network before it is written, on real slices where the data are there. Gateway
    and Triton serve it as it is. Figures come into the card with a second export, once the first has been measured:

    \b
    sigap-export RUN/best.pt --repository models
    sigap-evaluate models/liver --data ../shared/data/liver --out report
    sigap-export RUN/best.pt --repository models --report report
    """
    try:
        options = ExportOptions(
            served_as=read_recipe(recipe) if recipe else None,
            reports=tuple(report or ()),
            slices=_real_slices(checkpoint, data, cache),
        )
        folder = export_checkpoint(checkpoint, repository, options)
    except (BadRecipe, BadData, BadReport, ExportFailed) as error:
        _console.print(f"[red]{error}[/red]")
        raise typer.Exit(1) from error
    _console.log(f"wrote {folder}")


def _real_slices(checkpoint: Path, data: Path | None, cache: Path) -> Tensor | None:
    """A few slices of the validation data, or none where there are no data."""
    recipe = read_checkpoint(checkpoint)[0]
    root = data or recipe.data
    if not root.exists():
        _console.log(
            f"{root} is not here: trained and exported model are compared on noise only (--data names a folder)"
        )
        return None
    valid = load_split(recipe, "valid", data=root, cache=cache)
    indices = np.linspace(0, len(valid) - 1, min(8, len(valid))).astype(np.int64)
    return torch.from_numpy(valid.neighbours(indices, recipe.read_contract().context_slices))


def train() -> None:
    """Entry point of `sigap-train`."""
    typer.run(_train)


def export() -> None:
    """Entry point of `sigap-export`."""
    typer.run(_export)
