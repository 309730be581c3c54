"""Learning curves as a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from sigap_training import figure


def draw_curves(history: Sequence[Mapping[str, Any]], path: Path, *, labels: Sequence[str], best_epoch: int) -> None:
    """Two panels: losses; Dice and accuracy of each label on the validation data; the kept epoch is marked.

    Args:
        history: one mapping an epoch: `epoch`, `train_loss`, `valid_loss`, `dice` and `accuracy` (one number a label,
            None where the data do not tell it). `valid_loss` and `accuracy` may be missing or None.
        path: of the PNG file.
        labels: their names, in the order of `dice` and `accuracy`.
        best_epoch: the one whose checkpoint is kept.

    Raises:
        ValueError: no epoch, or another number of figures than of labels.
    """
    if not history:
        raise ValueError("no epoch to draw")
    for entry in history:
        if len(entry["dice"]) != len(labels) or len(entry.get("accuracy") or labels) != len(labels):
            raise ValueError(f"epoch {entry['epoch']}: not one figure a label")
    best = next(entry for entry in history if entry["epoch"] == best_epoch)
    canvas = figure.new_figure(10, 4)
    left, right = canvas.subplots(1, 2)
    _draw_losses(left, history)
    _draw_scores(right, history, labels)
    for axes in (left, right):
        axes.axvline(best["epoch"], color="grey", linestyle=":", linewidth=1)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.set_xlim(history[0]["epoch"] - 0.5, history[-1]["epoch"] + 0.5)
    told = [value for value in best["dice"] if value is not None]
    mean = sum(told) / max(len(told), 1)
    figure.tidy(left, title="Loss", x="epoch", y="loss")
    figure.tidy(right, title=f"Validation; best epoch {best['epoch']}, mean Dice {mean:.3f}", x="epoch", y="")
    for axes in (left, right):
        axes.legend(frameon=False, fontsize=8)
    figure.save(canvas, path)


def _draw_losses(axes: Axes, history: Sequence[Mapping[str, Any]]) -> None:
    for place, (name, shown) in enumerate((("train_loss", "training"), ("valid_loss", "validation"))):
        points = [(entry["epoch"], entry[name]) for entry in history if entry.get(name) is not None]
        if points:
            axes.plot(*zip(*points, strict=True), color=figure.colour(place), marker=_marker(points), label=shown)


def _draw_scores(axes: Axes, history: Sequence[Mapping[str, Any]], labels: Sequence[str]) -> None:
    for place, label in enumerate(labels):
        for name, style in (("dice", "-"), ("accuracy", "--")):
            points = [(entry["epoch"], entry[name][place]) for entry in history if entry.get(name)]
            points = [(epoch, value) for epoch, value in points if value is not None]
            if points:
                epochs, values = zip(*points, strict=True)
                shown = f"{label}: {'Dice' if name == 'dice' else name}"
                axes.plot(epochs, values, style, color=figure.colour(place), marker=_marker(points), label=shown)
    axes.set_ylim(-0.02, 1.02)


def _marker(points: Sequence[Any]) -> str:
    """Single epochs would be invisible as a line."""
    return "o" if len(points) < 15 else ""
