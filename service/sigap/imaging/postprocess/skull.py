"""The skull, slice by slice: what lies inside it, and whether it is closed.

In a slice the bone is widened by a few millimetres, so that sutures and thin bone leave no gap. What the widened bone
encloses, and is filled and lined with soft tissue and large enough, is the cavity; a slice without one shows no closed
skull. The cavity grows back to the bone, and takes in the bone around it but its outer rim: on images clipped at 80 HU
dense blood at the inner table looks like bone, and no blood is lost to that.

Head holders enclose air, sinuses hold air, orbits hold fat: the soft-tissue rule leaves all three out.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.morphology import convex_hull_image

from sigap.core.contract import Contract
from sigap.core.study import Volume

# Bone in HU. Acute clotted blood stays under 100 HU.
_BONE_HU = 120.0
# A brighter maximum than this means that the values are not clipped below bone, and are no shades of grey.
_UNCLIPPED_HU = 300.0
# Of clipped images the brightest part of the range is bone: resampling and JPEG take a little off the top.
_TOP, _LEAST_TOP_HU = 0.97, 70.0
# Air and fat lie below, brain, blood and most of the CSF above; clipped at 0 HU, soft is what is off the floor.
_SOFT_HU, _OFF_FLOOR_HU = -15.0, 2.0
# Gaps up to twice this are closed: sutures, foramina, thin temporal bone; at a second try an orbit's thin wall. A
# craniectomy is wider than either.
_REACHES_MM = (4.0, 6.0)
# Bone, and blood that looks like bone and dents the cavity, counts as inside up to here from the cavity's convex hull …
_WALL_MM = 12.0
# … but for the outer table, which scalp haematomas touch.
_RIM_MM = 2.0
# Brighter specks of noise are no bone.
_SPECK_MM2 = 25.0
# A closed cavity that is a smaller part of the head is no cranium: the spinal canal, a fluid-filled sinus.
_LEAST_PART = 0.12
_LINING_MM = 2.0
# The search runs on cells of about this size: a quarter of the usual pixels.
_CELL_MM = 1.0
# Field of view of a head CT; only to size gaps in pictures without spacing.
_USUAL_WIDTH_MM = 230.0


class Skull:
    """The inside of a head's skull, slice by slice as asked for; each is worked out once, in canonical orientation.

    `check` is called before each: some hundredths of a second a slice add up in a thin-slice study.
    """

    def __init__(self, volume: Volume, contract: Contract, check: Callable[[], None] = lambda: None) -> None:
        self._volume = volume
        self._contract = contract
        self._check = check
        self._cavities: dict[int, NDArray[np.uint8] | None] = {}

    def cavity(self, place: int) -> NDArray[np.bool_] | None:
        """(rows, columns) as stored: what a slice's skull encloses, most bone included; None: no closed skull."""
        if place not in self._cavities:
            self._check()
            found = self._find(place)
            self._cavities[place] = None if found is None else np.packbits(found)
        packed = self._cavities[place]
        if packed is None:
            return None
        _, rows, columns = self._volume.grid.shape
        return np.unpackbits(packed, count=rows * columns).reshape(rows, columns).astype(bool)

    def open_slices(self) -> list[int]:
        """Slices that were asked for and show no closed skull, ascending."""
        return sorted(place for place, cavity in self._cavities.items() if cavity is None)

    def _find(self, place: int) -> NDArray[np.bool_] | None:
        orientation = self._volume.grid.orientation
        plane = orientation.to_canonical(self._volume.voxels[place : place + 1])[0]
        hounsfield = self._hounsfield(plane)
        bone_hu, soft_hu = self._limits
        _, row_mm, column_mm = self._volume.grid.spacing_mm
        rough_mm = _USUAL_WIDTH_MM / max(plane.shape)
        pixel_mm = (row_mm or rough_mm, column_mm or rough_mm)
        if orientation.transpose:
            pixel_mm = pixel_mm[::-1]
        cavity = enclosed(hounsfield >= bone_hu, hounsfield > soft_hu, pixel_mm)
        return None if cavity is None else orientation.to_stored(cavity[None])[0]

    @cached_property
    def _limits(self) -> tuple[float, float]:
        """The CT numbers from which a voxel of this volume is bone, and above which it is soft tissue."""
        ends = np.array([self._volume.voxels.min(), self._volume.voxels.max()])
        low, high = (float(end) for end in self._hounsfield(ends))
        return (
            _BONE_HU if high > _UNCLIPPED_HU else max(_LEAST_TOP_HU, _TOP * high),
            max(_SOFT_HU, low + _OFF_FLOOR_HU),
        )

    def _hounsfield(self, values: NDArray[np.number]) -> NDArray[np.number]:
        """CT numbers; those of a picture by the window that it is taken to show."""
        if self._volume.is_hounsfield:
            return values
        level_hu, width_hu = self._contract.level_hu, self._contract.width_hu
        return values.astype(np.float32) * np.float32(width_hu / 255) + np.float32(level_hu - width_hu / 2)


def enclosed(
    bone: NDArray[np.bool_], soft: NDArray[np.bool_], pixel_mm: tuple[float, float]
) -> NDArray[np.bool_] | None:
    """What the skull of one slice encloses.

    Args:
        bone: (rows, columns), where it is as bright as bone.
        soft: where it is brighter than air and fat.
        pixel_mm: distance of rows and of columns.

    Returns:
        (rows, columns): the cavity and the bone around it but its outer rim; None where there is no closed skull.
    """
    factors = (max(1, int(_CELL_MM / pixel_mm[0])), max(1, int(_CELL_MM / pixel_mm[1])))
    cell_mm = (factors[0] * pixel_mm[0], factors[1] * pixel_mm[1])
    # Any bone makes a cell bone, lest thin bone open; the margin joins whatever lies outside into one piece.
    bone_cells = np.pad(_without_specks(_pool(bone, factors) > 0, cell_mm), 1)
    soft_cells = np.pad(_pool(soft, factors) >= 0.5, 1)
    to_bone = _distance_mm(bone_cells, cell_mm)
    head = ndimage.binary_fill_holes(_largest(soft_cells | bone_cells))
    least = _LEAST_PART * np.count_nonzero(head)
    for reach_mm in _REACHES_MM:
        cells = _enclosed_cells(to_bone, soft_cells, reach_mm, cell_mm, least=least)
        if cells is not None:
            rows, columns = bone.shape
            inside = cells[1:-1, 1:-1].repeat(factors[0], axis=0).repeat(factors[1], axis=1)
            return inside[:rows, :columns]
    return None


def _enclosed_cells(
    to_bone: NDArray[np.float64],
    soft: NDArray[np.bool_],
    reach_mm: float,
    cell_mm: tuple[float, float],
    *,
    least: float,
) -> NDArray[np.bool_] | None:
    """The cavity, if it has at least so many cells, and the wall around it, with the bone widened by `reach_mm`."""
    free = to_bone > reach_mm
    free[[0, -1], :] = free[:, [0, -1]] = True
    cranium = _cranium(free, soft, cell_mm)
    if cranium is None:
        return None
    cavity: NDArray[np.bool_] = _distance_mm(cranium, cell_mm) <= reach_mm
    if np.count_nonzero(cavity) < least:
        return None
    to_others = _distance_mm(free & ~cranium, cell_mm)
    to_hull = _distance_mm(_convex_hull(cranium), cell_mm)
    return cavity | ((to_hull <= _WALL_MM) & (to_others > reach_mm + _RIM_MM))


def _cranium(
    free: NDArray[np.bool_], soft: NDArray[np.bool_], cell_mm: tuple[float, float]
) -> NDArray[np.bool_] | None:
    """The pieces between widened bone that soft tissue fills and lines on their outside."""
    pieces, _ = ndimage.label(free)
    cranium = np.zeros(free.shape, bool)
    lining = max(1, round(_LINING_MM / min(cell_mm)))
    for number, box in enumerate(ndimage.find_objects(pieces), 1):
        piece = np.pad(pieces[box] == number, 1)
        tissue = np.pad(soft[box], 1)
        if number == pieces[0, 0] or tissue[piece].mean() < 0.5:
            continue
        filled = ndimage.binary_fill_holes(piece)
        rim = piece & ~ndimage.binary_erosion(filled, iterations=lining)
        if tissue[rim].mean() >= 0.5:
            cranium[box] |= piece[1:-1, 1:-1]
    return cranium if cranium.any() else None


def _pool(mask: NDArray[np.bool_], factors: tuple[int, int]) -> NDArray[np.float32]:
    """The part of each cell that a mask covers; cells over the edge are filled up with nothing."""
    rows, columns = (-(-length // factor) for length, factor in zip(mask.shape, factors, strict=True))
    padded = np.zeros((rows * factors[0], columns * factors[1]), np.float32)
    padded[: mask.shape[0], : mask.shape[1]] = mask
    parts: NDArray[np.float32] = padded.reshape(rows, factors[0], columns, factors[1]).mean(axis=(1, 3))
    return parts


def _without_specks(bone: NDArray[np.bool_], cell_mm: tuple[float, float]) -> NDArray[np.bool_]:
    pieces, _ = ndimage.label(bone, np.ones((3, 3)))
    keep = np.bincount(pieces.ravel()) * (cell_mm[0] * cell_mm[1]) >= _SPECK_MM2
    keep[0] = False
    kept: NDArray[np.bool_] = keep[pieces]
    return kept


def _convex_hull(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    hull: NDArray[np.bool_] = convex_hull_image(mask)  # type: ignore[no-untyped-call]  # scikit-image types it in part
    return hull


def _largest(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    pieces, _ = ndimage.label(mask)
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    largest: NDArray[np.bool_] = pieces == int(np.argmax(sizes))
    return largest


def _distance_mm(mask: NDArray[np.bool_], cell_mm: tuple[float, float]) -> NDArray[np.float64]:
    """From each cell's centre to the nearest centre of a cell in the mask; infinite without one."""
    if not mask.any():
        return np.full(mask.shape, np.inf)
    distances: NDArray[np.float64] = ndimage.distance_transform_edt(~mask, sampling=cell_mm)
    return distances
