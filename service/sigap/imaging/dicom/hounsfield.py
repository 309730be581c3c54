"""Stored values to CT numbers, slice by slice into one array."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from sigap.core.errors import TooLarge
from sigap.core.study import Limits
from sigap.imaging.dicom.frames import Frame, Image
from sigap.imaging.dicom.stored import check_layout, stored_planes

AIR_HU = -1024
_LOWEST, _HIGHEST = np.iinfo(np.int16).min, np.iinfo(np.int16).max
# A padding value within these may be tissue: then only a large patch at the edge of the image is taken for padding.
_TISSUE_HU = (-900, 3071)
_PATCH_PIXELS = 100


def read_volume(frames: Sequence[Frame], limits: Limits, check: Callable[[], None] = lambda: None) -> NDArray[Any]:
    """Decode a series.

    Args:
        frames: from feet to head, all of one size.
        limits: caps on the size.
        check: called before each slice; what it raises ends the reading.

    Returns:
        (slices, rows, columns) in HU: int16 where every value is a whole number that fits, else float32.

    Raises:
        TooLarge: over the limits, before anything is allocated.
        UnreadableInput: see `stored_planes`.
    """
    layout = frames[0].image.layout
    for frame in frames:
        check_layout(frame.image.layout)
    check_limits(len(frames), layout.rows, layout.columns, limits)
    is_whole = all(_is_whole(frame.slope) and _is_whole(frame.intercept) for frame in frames)
    voxels = np.empty((len(frames), layout.rows, layout.columns), np.int16 if is_whole else np.float32)
    for place, plane in read_planes(frames, limits, check):
        if voxels.dtype == np.int16 and not _fits(plane):
            voxels = voxels.astype(np.float32)
        voxels[place] = plane
    if voxels.dtype == np.float32 and all(_fits(plane) and np.array_equal(plane, np.rint(plane)) for plane in voxels):
        return voxels.astype(np.int16)
    return voxels


def read_planes(
    frames: Sequence[Frame], limits: Limits, check: Callable[[], None]
) -> Iterator[tuple[int, NDArray[Any]]]:
    """Decode slices to CT numbers, each file in one pass.

    Yields:
        A slice's index in `frames`, and its (rows, columns).
    """
    for image, places in _by_image(frames).items():
        check()
        for index, stored in stored_planes(image, sorted(places), limits):
            check()
            yield places[index], to_hounsfield(stored, frames[places[index]])


def to_hounsfield(stored: NDArray[Any], frame: Frame) -> NDArray[Any]:
    """Rescale one slice, and turn its padding into air (PS3.3 C.11.1.1.2 and C.7.5.1.1.2).

    Returns:
        Same shape; int32 or int64 where slope and intercept are whole, else float64.
    """
    slope, intercept = frame.slope or 1.0, frame.intercept or 0.0
    if _is_whole(slope) and _is_whole(intercept):
        wide = stored.astype(np.int64 if stored.dtype.itemsize > 2 else np.int32)
        plane: NDArray[Any] = wide * int(slope) if slope != 1 else wide
        np.add(plane, int(intercept), out=plane)
    else:
        plane = stored * slope + intercept
    if frame.image.layout.padding is not None:
        _fill_padding(plane, stored, frame.image.layout.padding, slope, intercept)
    return plane


def _fill_padding(
    plane: NDArray[Any], stored: NDArray[Any], padding: tuple[int, int], slope: float, intercept: float
) -> None:
    """Make air of padding, unless what it is rescaled to already is air."""
    low, high = (value * slope + intercept for value in padding)
    if low >= _LOWEST and high <= _TISSUE_HU[0]:
        return
    is_padding = (stored >= padding[0]) & (stored <= padding[1])
    if high > _TISSUE_HU[0] and low < _TISSUE_HU[1]:
        is_padding = _edge_patches(is_padding)
    plane[is_padding & ((plane > _TISSUE_HU[0]) | (plane < _LOWEST))] = AIR_HU


def _edge_patches(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The large pieces of a mask that touch the image's edge."""
    if not mask.any():
        return mask
    pieces, _ = ndimage.label(mask)
    edge = np.unique(np.concatenate([pieces[0], pieces[-1], pieces[:, 0], pieces[:, -1]]))
    sizes = np.bincount(pieces.ravel())
    return np.isin(pieces, [piece for piece in edge if piece > 0 and sizes[piece] >= _PATCH_PIXELS])


def _by_image(frames: Sequence[Frame]) -> dict[Image, dict[int, int]]:
    """For each file: its frame's index to the slice that it becomes."""
    found: dict[Image, dict[int, int]] = {}
    for place, frame in enumerate(frames):
        found.setdefault(frame.image, {})[frame.index] = place
    return found


def check_limits(slices: int, rows: int, columns: int, limits: Limits) -> None:
    """Raise `TooLarge` for a volume that is over the limits."""
    if rows * columns > limits.plane_pixels:
        raise TooLarge(f"Slices of {rows} x {columns} pixels are larger than this service takes.")
    if 2 * slices * rows * columns > limits.volume_bytes:
        raise TooLarge(f"{slices} slices of {rows} x {columns} pixels are more than this service takes.")


def _is_whole(number: float | None) -> bool:
    return number is None or number == int(number)


def _fits(plane: NDArray[Any]) -> bool:
    return bool(plane.min() >= _LOWEST and plane.max() <= _HIGHEST)
