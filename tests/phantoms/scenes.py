"""Grids, contracts and thresholded probabilities of phantoms whose numbers are known by hand."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from sigap.core.contract import Code, Contract, Label, Step
from sigap.core.grid import Grid, Orientation
from sigap.core.levels import ThresholdLevels
from sigap.core.study import Volume

ORGAN = Label("organ", "organ", None, Code("1", "2"), (0, 0, 255), (0.3, 0.5, 0.7))
LESION = Label("lesion", "lesion", "organ", Code("1", "3"), (255, 0, 0), (0.3, 0.5, 0.7))
BLEED = Label("bleed", "lesion", None, Code("1", "4"), (255, 0, 0), (0.3, 0.5, 0.7))
# Probabilities that pass none, one, two and three of the thresholds above.
PROBABILITIES = np.array([0, 100, 150, 200], np.uint8)


def contract(labels: Sequence[Label], *steps: Step, measures: tuple[str, ...] = ()) -> Contract:
    """A contract with the brain's window."""
    return Contract(
        labels=tuple(labels),
        level_hu=40,
        width_hu=80,
        context_slices=1,
        postprocess=steps,
        measures=measures,
        priority="routine",
        body_parts=("HEAD", "BRAIN"),
        contrast=False,
        model_card="README.md",
        sensitivity="none",
    )


def organ_and_lesion(*, least_ml: float) -> Contract:
    """ORGAN and LESION with the liver task's steps and every measure."""
    return contract(
        (ORGAN, LESION),
        Step("largest_component", "organ"),
        Step("fill_holes", "organ"),
        Step("inside", "lesion", {"of": "organ"}),
        Step("min_volume", "lesion", {"ml": least_ml}),
        measures=("burden", "abc2"),
    )


def grid(
    shape: tuple[int, int, int],
    spacing_mm: tuple[float, float, float] = (2.0, 1.0, 1.0),
    *,
    shares_mm: Sequence[float] | None = None,
    orientation: Orientation = Orientation(),
) -> Grid:
    """An axial grid: columns run to the left, rows to the back, slices up, each of its share."""
    shares = [spacing_mm[0]] * shape[0] if shares_mm is None else list(shares_mm)
    heights = np.cumsum([0.0, *((one + other) / 2 for one, other in itertools.pairwise(shares))])
    return Grid(
        shape=shape,
        spacing_mm=spacing_mm,
        shares_mm=tuple(shares),
        first_voxels_lps_mm=np.stack([np.zeros(len(shares)), np.zeros(len(shares)), heights], axis=1),
        row_step_lps_mm=np.array([0.0, spacing_mm[1], 0.0]),
        column_step_lps_mm=np.array([spacing_mm[2], 0.0, 0.0]),
        orientation=orientation,
    )


def unknown_grid(shape: tuple[int, int, int]) -> Grid:
    """The grid of a picture that says nothing about millimetres."""
    return Grid(shape, (None, None, None), None, None, None, None, is_oriented=False)


def volume(grid: Grid, fill: int = 40) -> Volume:
    """CT numbers that are all the same."""
    return Volume(np.full(grid.shape, fill, np.int16), is_hounsfield=True, grid=grid)


def levels(labels: Sequence[Label], passed: Mapping[str, NDArray[np.integer]]) -> ThresholdLevels:
    """How many thresholds each voxel passes, 0 to 3, for each label."""
    shape = next(iter(passed.values())).shape
    made = ThresholdLevels(labels, shape)
    stacked = np.stack([PROBABILITIES[np.asarray(passed[label.name], int)] for label in labels], axis=1)
    made.packed()[:] = made.pack(stacked)
    return made


def box(shape: tuple[int, int, int], *ranges: tuple[int, int], value: int = 2) -> NDArray[np.int64]:
    """Thresholds passed in a box of voxels, none outside."""
    passed = np.zeros(shape, np.int64)
    passed[tuple(slice(*bounds) for bounds in ranges)] = value
    return passed
