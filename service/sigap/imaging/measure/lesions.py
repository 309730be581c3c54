"""Each lesion by itself."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from sigap.core.contract import Contract
from sigap.core.grid import Grid
from sigap.core.levels import Box
from sigap.core.measurement import Lesion
from sigap.core.study import Volume
from sigap.imaging.measure.abc2 import abc2
from sigap.imaging.measure.amount import area_mm2, area_px, volume_ml
from sigap.imaging.measure.diameters import Plane, longest_diameter, perpendicular_diameter
from sigap.imaging.measure.hounsfield import hounsfield
from sigap.imaging.postprocess.pieces import Pieces
from sigap.imaging.postprocess.region import Region

_EQUAL = 1e-12


def measure_lesions(region: Region, label: str, volume: Volume, contract: Contract) -> list[Lesion]:
    """The 26-connected pieces of a label, in no order and with an id of 0."""
    if region.is_empty:
        return []
    pieces = Pieces(region.voxels)
    lesions = []
    for number, bounds in enumerate(pieces.boxes().tolist()[1:], 1):
        slices, rows, columns = (slice(first, last) for first, last in bounds)
        piece = Region((slices, rows, columns), pieces.piece(number, (slices, rows, columns))).moved(region.first)
        lesions.append(_measure(piece, label, volume, contract))
    return lesions


def number_lesions(lesions: list[Lesion]) -> tuple[Lesion, ...]:
    """Largest volume first, numbered from 1; of equals the one whose box comes first, then whose label does.

    By the very numbers of the report, to their last bit: two lesions of as many voxels on slices whose shares differ by
    a rounding stand in the order that their millilitres say.
    """
    ordered = sorted(lesions, key=lambda lesion: (-_size(lesion), lesion.bounding_box))
    return tuple(replace(lesion, id=number) for number, lesion in enumerate(ordered, 1))


def _size(lesion: Lesion) -> float:
    """In mL; without them in voxels, for all lesions of a volume alike."""
    return lesion.voxels if lesion.volume_ml is None else lesion.volume_ml


def _measure(piece: Region, label: str, volume: Volume, contract: Contract) -> Lesion:
    grid, mask, first = volume.grid, piece.voxels, piece.first[0]
    slice_voxels = np.count_nonzero(mask, axis=(1, 2))
    voxels = int(slice_voxels.sum())
    amount_ml = volume_ml(slice_voxels, grid, first)
    plane = Plane.of(grid)
    key, longest = key_slice(mask, plane or Plane.of_pixels())
    estimate = abc2(mask, grid, first, amount_ml) if "abc2" in contract.measures else None
    return Lesion(
        id=0,
        label=label,
        voxels=voxels,
        volume_ml=amount_ml,
        area_mm2=area_mm2(voxels, grid),
        area_px=area_px(voxels, grid),
        centroid_lps_mm=centroid_lps_mm(piece, grid),
        bounding_box=_bounds(piece.box),
        longest_diameter_mm=None if plane is None else longest,
        perpendicular_diameter_mm=None if plane is None else perpendicular_diameter(mask[key], plane),
        key_slice=key + first,
        hu=hounsfield(volume, piece),
        abc2_ml=None if estimate is None else estimate.volume_ml,
        abc2_weighted_ml=None if estimate is None else estimate.weighted_ml,
        abc2_disagrees=None if estimate is None else estimate.disagrees,
    )


def key_slice(mask: NDArray[np.bool_], plane: Plane) -> tuple[int, float]:
    """The slice whose longest diameter is largest, the lowest of equals, and that diameter."""
    lengths = [longest_diameter(section, plane) if section.any() else 0.0 for section in mask]
    longest = max(lengths)
    return next(place for place, length in enumerate(lengths) if length >= longest * (1 - _EQUAL)), longest


def centroid_lps_mm(piece: Region, grid: Grid) -> tuple[float, float, float] | None:
    """Mean position of the voxels' centres, each slice weighted by its share of the axis; None without orientation."""
    points, weights = [], []
    for place, section in enumerate(piece.voxels, piece.first[0]):
        count = np.count_nonzero(section)
        if count:
            row = float(np.dot(section.sum(axis=1), np.arange(section.shape[0]))) / count + piece.first[1]
            column = float(np.dot(section.sum(axis=0), np.arange(section.shape[1]))) / count + piece.first[2]
            point = grid.world_lps_mm((place, row, column))
            if point is None:
                return None
            points.append(point)
            weights.append(count * (1.0 if grid.shares_mm is None else grid.shares_mm[place]))
    total = math.fsum(weights)
    left, posterior, superior = (
        math.fsum(weight * float(point[axis]) for weight, point in zip(weights, points, strict=True)) / total
        for axis in range(3)
    )
    return left, posterior, superior


def _bounds(box: Box) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int]]:
    slices, rows, columns = ((axis.start, axis.stop) for axis in box)
    return slices, rows, columns
