"""The post-processing steps that a contract may name: one function each, and what its options may be."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sigap.core.contract import Contract, Step
from sigap.core.errors import ModelError
from sigap.core.grid import Grid
from sigap.imaging.postprocess.pieces import Pieces
from sigap.imaging.postprocess.region import Region
from sigap.imaging.postprocess.skull import Skull

_NM_PER_MM = 1_000_000


@dataclass(frozen=True)
class Scene:
    """What a step may look at.

    Attributes:
        grid: where the voxels stand.
        skull: the bone around the brain, found slice by slice when asked for.
        regions: every label at this threshold, as the steps before left it.
    """

    grid: Grid
    skull: Skull
    regions: Mapping[str, Region]


@dataclass(frozen=True)
class Option:
    """One option of a step: whether a value makes sense, and in words what would."""

    makes_sense: Callable[[Any], bool]
    meaning: str
    is_required: bool = True


@dataclass(frozen=True)
class StepKind:
    """A step by its name in contracts: what it does to a region, and its options."""

    run: Callable[..., Region]
    options: Mapping[str, Option] = field(default_factory=dict)


def check_steps(contract: Contract) -> None:
    """Refuse a contract whose post-processing cannot be run.

    Raises:
        ModelError: a step is unknown, lacks an option, or has one that is unknown or makes no sense.
    """
    for step in contract.postprocess:
        kind = STEPS.get(step.name)
        if kind is None:
            raise ModelError(f"post-processing step {step.name!r} is unknown; there are: {', '.join(sorted(STEPS))}")
        for name, option in kind.options.items():
            if name not in step.options and option.is_required:
                raise ModelError(f"post-processing step {step.name!r} lacks its option {name!r}: {option.meaning}")
        for name, value in step.options.items():
            if name not in kind.options:
                raise ModelError(f"post-processing step {step.name!r} has no option {name!r}")
            if not kind.options[name].makes_sense(value):
                raise ModelError(f"post-processing step {step.name!r}: {name!r} must be {kind.options[name].meaning}")
        others = {label.name for label in contract.labels} - {step.label}
        if "of" in step.options and step.options["of"] not in others:
            raise ModelError(f"post-processing step {step.name!r} of {step.label!r}: 'of' must be another label's name")


def run_step(step: Step, scene: Scene) -> Region:
    """What a step leaves of its label."""
    region = scene.regions[step.label]
    return region if region.is_empty else STEPS[step.name].run(region, scene, **step.options)


def slice_weights(grid: Grid) -> NDArray[np.int64]:
    """(slices,) each slice's share of the axis in nanometres, or 1 where the shares are unknown.

    Whole numbers: sums of them are exact, so that mirrored volumes rank their pieces alike to the last bit.
    """
    if grid.shares_mm is None:
        return np.ones(grid.shape[0], np.int64)
    return np.array([round(share * _NM_PER_MM) for share in grid.shares_mm], np.int64)


def largest_component(region: Region, scene: Scene) -> Region:
    """Keep the largest 26-connected piece by true volume."""
    return keep_components(region, scene, count=1)


def keep_components(region: Region, scene: Scene, *, count: int) -> Region:
    """Keep some 26-connected pieces, the largest by true volume (by voxels where the slices' shares are unknown).

    Of equals the first in canonical order: mirroring or permuting the stored axes changes nothing.
    """
    pieces = Pieces(region.voxels)
    if pieces.count <= count:
        return region
    volumes = pieces.weights(slice_weights(scene.grid)[region.box[0]])
    volumes[0] = -1
    chosen = np.zeros(pieces.count + 1, bool)
    for _ in range(count):
        largest = volumes == volumes.max()
        piece = int(np.argmax(largest)) if largest.sum() == 1 else _first_piece(pieces, largest, scene.grid)
        chosen[piece], volumes[piece] = True, -1
    return pieces.select(chosen).moved(region.first)


def fill_holes(region: Region, scene: Scene) -> Region:
    """Fill what the region encloses: background that is not 6-connected to the outside.

    In a single slice that is 4-connected. A cavity that the image's edge or the first or last slice cuts open is no
    hole: what lies beyond is unknown. 6-connected background is the counterpart of 26-connected pieces (Kong and
    Rosenfeld, Digital topology, CVGIP 48:357, 1989): a wall that is one piece encloses.
    """
    background = Pieces(~region.voxels, connectivity=6)
    boxes = background.boxes()
    # The only slice of a 2-D input is first and last, and cuts nothing open.
    axes = [1, 2] if scene.grid.shape[0] == 1 else [0, 1, 2]
    is_open = (boxes[:, axes, 0] == 0) | (boxes[:, axes, 1] == np.array(region.voxels.shape)[axes])
    holes = ~is_open.any(axis=1)
    holes[0] = False
    if not holes.any():
        return region
    filled = background.select(holes)
    voxels = region.voxels.copy()
    voxels[filled.box] |= filled.voxels
    return Region(region.box, voxels)


def inside(region: Region, scene: Scene, *, of: str) -> Region:
    """Keep what lies in another label's region, as the steps before left it."""
    return region.common(scene.regions[of])


def inside_skull(region: Region, scene: Scene) -> Region:
    """Keep what the skull encloses; a slice that shows no closed skull is left as it is (see `skull`)."""
    mask = region.voxels.copy()
    for place, plane in enumerate(mask, region.box[0].start):
        cavity = scene.skull.cavity(place) if plane.any() else None
        if cavity is not None:
            np.logical_and(plane, cavity[region.box[1:]], out=plane)
    return Region.of(mask, region.first)


def min_volume(region: Region, scene: Scene, *, ml: float, voxels: int = 1) -> Region:
    """Drop 26-connected pieces under a volume; without millilitres those of fewer than `voxels` voxels."""
    pieces = Pieces(region.voxels)
    area = scene.grid.pixel_area_mm2
    if scene.grid.shares_mm is None or area is None:
        chosen = pieces.weights(np.ones(len(region.voxels), np.int64)) >= voxels
    else:
        # A volume that equals the minimum up to the nanometres' rounding passes.
        volumes_ml = pieces.weights(slice_weights(scene.grid)[region.box[0]]) * (area / _NM_PER_MM / 1000)
        chosen = volumes_ml >= ml * (1 - 1e-6)
    chosen[0] = False
    if chosen[1:].all():
        return region
    return pieces.select(chosen).moved(region.first) if chosen.any() else Region.empty()


def _first_piece(pieces: Pieces, candidates: NDArray[np.bool_], grid: Grid) -> int:
    """Of some pieces the one whose first voxel in canonical order comes first."""
    region = pieces.select(candidates)
    canonical = grid.orientation.to_canonical(region.voxels)
    first = np.unravel_index(int(np.argmax(canonical)), canonical.shape)
    # Everything but that voxel is cleared through the view, so that the stored index can be read off.
    region.voxels[:] = False
    canonical[first] = True
    slice_, row, column = (int(place[0]) for place in np.nonzero(region.voxels))
    return pieces.at((slice_ + region.first[0], row + region.first[1], column + region.first[2]))


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _is_positive(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < float("inf")


STEPS: Mapping[str, StepKind] = {
    "largest_component": StepKind(largest_component),
    "keep_components": StepKind(keep_components, {"count": Option(_is_count, "a whole number from 1")}),
    "fill_holes": StepKind(fill_holes),
    "inside": StepKind(inside, {"of": Option(lambda value: isinstance(value, str), "another label's name")}),
    "inside_skull": StepKind(inside_skull),
    "min_volume": StepKind(
        min_volume,
        {
            "ml": Option(_is_positive, "a volume in millilitres above 0"),
            "voxels": Option(_is_count, "a whole number from 1", is_required=False),
        },
    ),
}
