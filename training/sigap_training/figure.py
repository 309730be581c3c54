"""Figures as PNG files, drawn without a display and without pyplot's global state."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

_DOTS_PER_INCH = 130

CYCLE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
"""Colours that colour-blind readers tell apart (Okabe and Ito, 2008)."""


def colour(index: int) -> str:
    """The colour of the n-th series; they repeat."""
    return CYCLE[index % len(CYCLE)]


def new_figure(width: float, height: float) -> Figure:
    """An empty figure, sizes in inches; its parts make room for one another."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def tidy(axes: Axes, *, title: str, x: str, y: str) -> None:
    """Title and axis names, a light grid, no frame on the top and right."""
    axes.set_title(title, fontsize=10)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(visible=True, alpha=0.3)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def name_ticks(axes: Axes, names: Sequence[str]) -> None:
    """One name a place on the x axis, slanted where they are long."""
    slanted = sum(len(name) for name in names) > 50
    axes.set_xticks(range(len(names)), names, rotation=30 if slanted else 0, ha="right" if slanted else "center")


def save(figure: Figure, path: Path) -> None:
    """Write a PNG file, its folder included; it names no program, so that the same figure has the same bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=_DOTS_PER_INCH, metadata={"Software": None})
