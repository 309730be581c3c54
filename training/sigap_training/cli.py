"""`sigap-train` and `sigap-export`."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Annotated, NoReturn

import numpy as np
import torch
import typer
import yaml
from lightning_fabric import Fabric
from rich.console import Console
from rich.progress import Progress
from torch import Tensor

from sigap_training.balance import BadShares, Balance
from sigap_training.class_distribution import draw_class_distribution
from sigap_training.coco_export import ANNOTATIONS
from sigap_training.curves import draw_curves
from sigap_training.datasets import check_data, data_fingerprint, load_split
from sigap_training.export import ExportFailed, ExportOptions, check_start, export_checkpoint, read_checkpoint
from sigap_training.lits import divide_cases
from sigap_training.model_card import BadReport
from sigap_training.recipe import RECIPES, BadRecipe, Recipe, read_recipe
from sigap_training.run_record import BadRecord, Start, device_name, write_record
from sigap_training.slices import BadData
from sigap_training.teacher import BadTeacher, load_teacher
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
    again), `history.json` and `curves.png`, `split.yaml` (who trained and validated), `run.json` (recipe, commit,
    fingerprints, versions) and events for TensorBoard.

    One GPU, several or a CPU: the same command. Next: `sigap-export OUT/best.pt`, then `sigap-evaluate`.
    """
    try:
        settings = read_recipe(recipe, changes or ())
        fabric = _open_fabric(accelerator, devices, settings)
        if fabric.is_global_zero:  # before it starts the other processes: they would wait for one that has failed
            _prepare(settings, out, data, cache, fabric)
        fabric.launch()
        _run(settings, out, data, cache, fabric)
    except (BadRecipe, BadData, BadRecord, BadShares, BadTeacher, ExportFailed, OSError, TrainingFailed) as error:
        _fail(error)


def _fail(error: Exception) -> NoReturn:
    _console.print(str(error), style="red", markup=False, soft_wrap=True)
    raise typer.Exit(1) from error


def _open_fabric(accelerator: str, devices: int, settings: Recipe) -> Fabric:
    logging.getLogger("lightning.fabric").setLevel(logging.WARNING)
    try:
        return Fabric(accelerator=accelerator, devices=devices, precision=settings.precision)
    except (RuntimeError, ValueError) as error:
        raise TrainingFailed(f"--accelerator {accelerator} --devices {devices}: {error}") from error


def _prepare(settings: Recipe, out: Path, data: Path | None, cache: Path, fabric: Fabric) -> None:
    """All that one process does for all: check, put on record, fill the cache."""
    check_start(settings)
    teacher = load_teacher(settings)
    check_data(settings, data=data)
    fingerprints = {split: data_fingerprint(settings, split, data=data) for split in ("train", "valid")}
    if teacher is not None:
        fingerprints["taught_by"] = teacher.sha256
    write_record(out, Start(settings, fingerprints, device_name(fabric.device), fabric.world_size))
    train, _ = (load_split(settings, split, data=data, cache=cache) for split in ("train", "valid"))
    for name in Balance(train, settings.shares).left_out:
        _console.log(f"shares: these data have no slice of group {name!r}; the others are drawn in their proportion")
    root = data or settings.data
    if settings.dataset == "coco":
        _draw_classes(root, out / "classes.png")
    else:
        parts = divide_cases(root, settings.split)
        names = {split: [case.name for case in cases] for split, cases in parts.items()}
        (out / "split.yaml").write_text(yaml.safe_dump(names))


def _run(settings: Recipe, out: Path, data: Path | None, cache: Path, fabric: Fabric) -> None:
    console = Console(stderr=True, quiet=not fabric.is_global_zero)
    slices = [load_split(settings, split, data=data, cache=cache) for split in ("train", "valid")]
    console.log(f"{settings.task}: {len(slices[0])} slices to train on, {len(slices[1])} to validate on")
    trainer = Trainer(settings, slices[0], slices[1], out, fabric)
    with Progress(console=console, disable=not fabric.is_global_zero) as progress:
        scores = trainer.run(progress)
    best = trainer.best
    if best is not None and fabric.is_global_zero:
        console.log(f"best: epoch {best.epoch}, {trainer.describe(best)}")
        labels = [label.name for label in settings.read_contract().labels]
        history = [score.as_row() for score in scores]
        draw_curves(history, out / "curves.png", labels=labels, best_epoch=best.epoch)


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
    beside: Annotated[
        list[Path] | None,
        typer.Option(
            help="A task's folder of another model repository: the file answers with the mean; may be given again."
        ),
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
        repository.mkdir(parents=True, exist_ok=True)
        options = ExportOptions(
            served_as=read_recipe(recipe) if recipe else None,
            reports=tuple(report or ()),
            beside=tuple(beside or ()),
            slices=_real_slices(checkpoint, data, cache),
        )
        folder = export_checkpoint(checkpoint, repository, options)
    except (BadRecipe, BadData, BadReport, ExportFailed, OSError) as error:
        _fail(error)
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
