"""Measure a model folder: `python -m sigap_training.report_card model_repository/liver ../shared/data/liver`.

What model cards quote. Nothing here is used for training, except that thresholds are chosen on the split `valid`.
"""

from __future__ import annotations

import time
from collections import defaultdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import nibabel as nib
import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console

from sigap.core.study import DecodeOptions, InputFile, Limits, Volume
from sigap.imaging.decode import decode
from sigap_training import coco, lits
from sigap_training.model_folder import ModelFolder
from sigap_training.scores import bootstrap_interval, dice, dice_by_threshold, histogram, wilson_interval

CALLED_PIXELS = 99
"""A slice is called from this area on: 0.1 mL at 0.45 x 0.45 x 5 mm, the smallest lesion that the gateway reports."""

_THRESHOLDS = np.round(np.arange(0.1, 0.95, 0.1), 1)
_console = Console(highlight=False, soft_wrap=True)


def read_volume(path: Path) -> Volume:
    """A study as the gateway decodes it: NIfTI, or DICOM in a zip."""
    with TemporaryDirectory() as workspace:
        files = [InputFile(path, path.name)]
        return decode(files, workspace=Path(workspace), options=DecodeOptions(), limits=Limits()).volume


def score_study(model: ModelFolder, volume: Volume, truth: NDArray[np.uint8], labels: list[str]) -> dict[str, float]:
    """Dice of each label over a whole study, as served.

    Args:
        model: what to measure.
        volume: the study.
        truth: [D, H, W] in canonical orientation, in the order of the contract's labels from 1.
        labels: those that the truth tells apart.
    """
    segmentation = model.segment(volume, model.probabilities(volume))
    found = volume.grid.orientation.to_canonical(segmentation.labelmap)
    voxel_ml = _voxel_ml(volume)
    scores = {}
    for name in labels:
        family = model.contract.family(name)
        mine, true = np.isin(found, family), np.isin(truth, family)
        scores[name] = dice(mine, true)
        has = true.any(axis=(1, 2))
        hit = (mine & true).any(axis=(1, 2))
        false = mine.any(axis=(1, 2)) & ~has
        _console.print(
            f"  {name}: Dice {scores[name]:.3f}, {mine.sum() * voxel_ml:.1f} mL, truth {true.sum() * voxel_ml:.1f} mL; "
            f"hit in {hit.sum()} of {has.sum()} slices that have it, called in {false.sum()} of {(~has).sum()} others"
        )
    return scores


def score_cases(model: ModelFolder, root: Path, split: str) -> None:
    """Dice of each case of a LiTS split, and of the thresholds over all its voxels (before post-processing)."""
    counts: dict[str, NDArray[np.int64]] = defaultdict(lambda: np.zeros((2, 256), np.int64))
    for entry in lits.case_entries(root, split):
        case = lits.read_case(root, entry)
        volume = read_volume(root / split / f"volume-{case.name}.nii.gz")
        _console.print(f"case {case.name} (patient {case.patient}, {len(case.labels)} slices)")
        labels = [label.name for label in model.contract.labels if case.has_tumour_labels or label.name != "tumour"]
        score_study(model, volume, case.labels, labels)
        probabilities = model.probabilities(volume)
        for channel, label in enumerate(model.contract.labels):
            if label.name in labels:
                truth = np.isin(case.labels, model.contract.family(label.name))
                counts[label.name] += histogram(probabilities[:, channel], truth)
    for name, pixels in counts.items():
        curve = dice_by_threshold(pixels)
        shown = " ".join(f"{threshold:.2f}:{curve[_lowest(threshold)]:.3f}" for threshold in _THRESHOLDS)
        _console.print(f"{name}, Dice over all voxels by threshold: {shown}")


def score_pictures(model: ModelFolder, root: Path, split: str) -> None:
    """Dice of slices with blood, and how many of each source are called, for a COCO split; no post-processing."""
    by_source: dict[tuple[str, bool], list[tuple[NDArray[np.uint8], NDArray[np.bool_]]]] = defaultdict(list)
    for entry, pixels, truth in coco.read_export(root / split):
        answer = model.infer(pixels[None, None])[0, 0]
        by_source[entry["source"], bool(truth.any())].append((answer, truth > 0))
    chosen = model.contract.labels[0].thresholds[1]
    for threshold in (chosen, *_THRESHOLDS):
        _console.print(f"threshold {threshold:.2f}{' (the contract)' if threshold == chosen else ''}")
        for (source, has_blood), slices in sorted(by_source.items(), key=lambda item: item[0]):
            masks = [(answer >= _lowest(threshold), truth) for answer, truth in slices]
            called = sum(int(mask.sum()) >= CALLED_PIXELS for mask, _ in masks)
            low, high = wilson_interval(called, len(masks))
            line = (
                f"  {source}, {'blood' if has_blood else 'none'}: called {called}/{len(masks)} ({low:.2f}-{high:.2f})"
            )
            if has_blood:
                hit = sum(int(mask.sum()) >= CALLED_PIXELS and bool((mask & truth).any()) for mask, truth in masks)
                low, high = wilson_interval(hit, len(masks))
                line += f", at the right place {hit} ({low:.2f}-{high:.2f})"
                scores = [dice(mask, truth) for mask, truth in masks]
                low, high = bootstrap_interval(scores)
                line += f", mean Dice {np.mean(scores):.3f} ({low:.3f}-{high:.3f})"
            _console.print(line)


def time_slices(model: ModelFolder, count: int = 8) -> float:
    """Seconds that a slice of 512 x 512 takes in a batch of eight, after warming up."""
    batch = np.random.default_rng(0).integers(0, 256, (8, model.contract.context_slices, 512, 512), np.uint8)
    for _ in range(2):
        model.infer(batch)
    started = time.perf_counter()
    for _ in range(count):
        model.infer(batch)
    return (time.perf_counter() - started) / (8 * count)


def _lowest(threshold: float) -> int:
    """The smallest byte that passes a threshold."""
    return int(np.ceil(round(255 * threshold, 9)))


def _voxel_ml(volume: Volume) -> float:
    depth = volume.grid.spacing_mm[0]
    area = volume.grid.pixel_area_mm2
    return float("nan") if depth is None or area is None else depth * area / 1000


def main(
    folder: Annotated[Path, typer.Argument(help="A task's folder of the model repository.")],
    data: Annotated[Path | None, typer.Argument(help="A LiTS or COCO folder.")] = None,
    split: Annotated[str, typer.Option(help="Which part of it.")] = "test",
    study: Annotated[Path | None, typer.Option(help="A whole study besides: NIfTI or zipped DICOM.")] = None,
    truth: Annotated[Path | None, typer.Option(help="Its mask, NIfTI, of the first label.")] = None,
) -> None:
    """Print a model's figures."""
    model = ModelFolder.load(folder)
    if data is not None and (data / "cases.json").exists():
        score_cases(model, data, split)
    elif data is not None:
        score_pictures(model, data, split)
    if study is not None and truth is not None:
        _console.print(study.name)
        mask = (lits.canonical(nib.load(truth)) > 0).astype(np.uint8)
        score_study(model, read_volume(study), mask, [model.contract.labels[0].name])
    _console.print(f"{1000 * time_slices(model):.0f} ms a slice of 512 x 512")


if __name__ == "__main__":
    typer.run(main)
