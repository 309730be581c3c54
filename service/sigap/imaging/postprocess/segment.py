"""From thresholded probabilities to the labelmap."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from sigap.core.contract import Contract
from sigap.core.levels import Box, ThresholdLevels
from sigap.core.segmentation import Dropped, Notice, Segmentation
from sigap.core.study import Volume
from sigap.imaging.postprocess.pieces import Pieces
from sigap.imaging.postprocess.region import Region, union_box
from sigap.imaging.postprocess.skull import Skull
from sigap.imaging.postprocess.steps import Scene, run_step

_MASK, _OTHERS = 1, (0, 2)


def segment(
    levels: ThresholdLevels, volume: Volume, contract: Contract, *, check: Callable[[], None] = lambda: None
) -> Segmentation:
    """Post-process a volume's labels as the contract says, at each of its three thresholds.

    Args:
        levels: which thresholds each voxel passes.
        volume: what was segmented.
        contract: names the steps, already checked by `check_steps`.
        check: called between the expensive steps; what it raises ends the work.

    Returns:
        The labelmap of the middle threshold, what was dropped from it, and the voxels a slice at all three.

    Memory: beyond the labelmap one or two bytes a voxel of the labels' bounding boxes, one threshold at a time.
    """
    skull = Skull(volume, contract, check)
    boxes = {label.name: levels.bounding_box(label.name) for label in contract.labels}
    voxels = {label.name: np.zeros((3, volume.grid.shape[0]), np.int64) for label in contract.labels}

    def run_steps(threshold: int, labelmap: NDArray[np.uint8] | None = None) -> _Regions:
        """Run all steps, write the labelmap if there is one, and count."""
        regions = _Regions(levels, threshold, boxes)
        for step in contract.postprocess:
            check()
            regions[step.label] = run_step(step, Scene(volume.grid, skull, regions))
        check()
        box = _whole(regions, contract)
        values = np.zeros(_extent(box), np.uint8) if labelmap is None else labelmap[box]
        _compose(regions, contract, box, values)
        for name, counts in _count(values, contract).items():
            voxels[name][threshold, box[0]] = counts
        return regions

    # The mask's threshold comes last: until then no labelmap takes memory, and nothing of the others is left.
    for threshold in _OTHERS:
        run_steps(threshold)
    labelmap = np.zeros(volume.grid.shape, np.uint8)
    regions = run_steps(_MASK, labelmap)
    dropped = {
        name: _dropped(read_region(levels, name, _MASK, box), _family(name, regions, contract), volume)
        for name, box in boxes.items()
    }
    return Segmentation(labelmap, dropped, voxels, _skull_warnings(contract, skull, voxels))


class _Regions(dict[str, Region]):
    """Every label at one threshold, read when first asked for: before its steps a label may lie all over the volume."""

    def __init__(self, levels: ThresholdLevels, threshold: int, boxes: Mapping[str, Box | None]) -> None:
        super().__init__()
        self._levels, self._threshold, self._boxes = levels, threshold, boxes

    def __missing__(self, name: str) -> Region:
        self[name] = read_region(self._levels, name, self._threshold, self._boxes[name])
        return self[name]


def read_region(levels: ThresholdLevels, name: str, threshold: int, box: Box | None) -> Region:
    """A label's voxels at a threshold, read slice by slice: all levels at once, unpacked, take more bytes than it."""
    if box is None:
        return Region.empty()
    slices, rows, columns = box
    mask = np.empty(_extent(box), bool)
    for place, plane in enumerate(mask, slices.start):
        plane[:] = levels.mask(name, threshold, (slice(place, place + 1), rows, columns))[0]
    return Region.of(mask, (slices.start, rows.start, columns.start))


def _whole(regions: Mapping[str, Region], contract: Contract) -> Box:
    """The smallest box that holds all labels."""
    found = [regions[label.name].box for label in contract.labels if not regions[label.name].is_empty]
    return union_box(found) if found else Region.empty().box


def _compose(regions: Mapping[str, Region], contract: Contract, box: Box, values: NDArray[np.uint8]) -> None:
    """Write the labelmap over a box; a contained label comes after its parent, and overwrites it."""
    for value, label in enumerate(contract.labels, 1):
        region = regions[label.name]
        if not region.is_empty:
            np.copyto(values[_relative(region.box, box)], value, where=region.voxels)


def _extent(box: Box) -> tuple[int, int, int]:
    slices, rows, columns = (axis.stop - axis.start for axis in box)
    return slices, rows, columns


def _relative(box: Box, to: Box) -> Box:
    slices, rows, columns = (
        slice(mine.start - whole.start, mine.stop - whole.start) for mine, whole in zip(box, to, strict=True)
    )
    return slices, rows, columns


def _count(values: NDArray[np.uint8], contract: Contract) -> dict[str, NDArray[np.int64]]:
    """For each label its voxels a slice, what it contains counted too."""
    own = np.zeros((len(contract.labels) + 1, len(values)), np.int64)
    for value in range(1, len(own)):
        own[value] = [np.count_nonzero(plane == value) for plane in values]
    return {label.name: own[list(contract.family(label.name))].sum(axis=0) for label in contract.labels}


def _family(name: str, regions: Mapping[str, Region], contract: Contract) -> list[Region]:
    """What is left of a label and of all that it contains."""
    return [regions[contract.labels[value - 1].name] for value in contract.family(name)]


def _dropped(raw: Region, left: list[Region], volume: Volume) -> Dropped:
    """Count what the steps took from a label; what it contains is still part of it."""
    for region in left:
        raw.remove(region)
    voxels = np.zeros(volume.grid.shape[0], np.int64)
    voxels[raw.box[0]] = [np.count_nonzero(plane) for plane in raw.voxels]
    return Dropped(Pieces(raw.voxels).count, voxels)


def _skull_warnings(contract: Contract, skull: Skull, voxels: Mapping[str, NDArray[np.int64]]) -> tuple[Notice, ...]:
    """One notice for all slices of the mask that `inside_skull` had to leave as they were."""
    names = {step.label for step in contract.postprocess if step.name == "inside_skull"}
    places = [place for place in skull.open_slices() if any(voxels[name][_MASK, place] for name in names)]
    if not places:
        return ()
    slices = "slice" if len(places) == 1 else "slices"
    message = (
        f"No closed skull was found in {slices} {_ranges(places)} (counted from 0): nothing was removed there, so "
        "blood outside the skull may be counted. This is usual at the skull's base and vertex and after a craniectomy."
    )
    return (Notice("skull_not_found", message),)


def _ranges(places: list[int]) -> str:
    """Ascending whole numbers in words.

    >>> _ranges([3, 5, 6, 7])
    '3, 5-7'
    """
    runs: list[list[int]] = []
    for place in places:
        if runs and place == runs[-1][-1] + 1:
            runs[-1].append(place)
        else:
            runs.append([place])
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)
