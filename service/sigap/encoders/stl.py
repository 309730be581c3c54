"""The surface of one label as binary STL, in LPS mm."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from skimage.measure import marching_cubes

from sigap import __version__
from sigap.core.errors import BadParameter, FormatNotForInput
from sigap.core.grid import Grid
from sigap.core.result import Result
from sigap.core.segmentation import mask_of
from sigap.core.study import Study
from sigap.encoders.labels import labelmap_of

SIGNATURE = b"Sigap"
"""How our own files begin; a binary STL must not begin with `solid`."""
_HEADER_BYTES = 80
_SLAB_SLICES = 4
_TRIANGLES_AT_ONCE = 1 << 14
_TRIANGLE = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attributes", "<u2")])


def check_spacing(study: Study) -> None:
    """See to it that a surface has a size.

    Raises:
        FormatNotForInput: a distance of rows, columns or slices is not known.
    """
    if None in study.volume.grid.spacing_mm:
        raise FormatNotForInput(
            "A surface needs the distances of rows, columns and slices, and this input does not tell them all. "
            "Of a PNG or JPEG give pixel_spacing_mm and slice_thickness_mm, or ask for json, nifti, png or coco."
        )


def surface_files(result: Result) -> Mapping[str, Callable[[Result, Path], None]]:
    """What writes each label's surface, by file name.

    Raises:
        FormatNotForInput: see `check_spacing`.
    """
    check_spacing(result.study)
    names = [label.name for label in result.model.contract.labels]
    return {filename(name): partial(write_stl, label=name) for name in names}


def filename(label: str) -> str:
    """A label's file; its name comes from the model's configuration and is no way out of a folder."""
    return f"{re.sub(r'[^A-Za-z0-9_-]', '_', label)}.stl"


def write_stl(result: Result, path: Path, *, label: str | None = None) -> None:
    """Write one label's surface, what it contains included; of a label that was not detected a mesh without a triangle.

    Marching cubes halfway between voxels inside and outside, a few slices at a time, on the slices' true positions:
    tilt and uneven spacing are in it, a gap is bridged in straight lines. Normals point outwards.

    Args:
        result: the answer.
        path: of the file.
        label: which; None: the only one.

    Raises:
        FormatNotForInput: see `check_spacing`.
        BadParameter: there is no such label, or none was named where there are several.
        ValueError: the labelmap does not fit the volume.
    """
    check_spacing(result.study)
    contract = result.model.contract
    names = [one.name for one in contract.labels]
    label = names[0] if label is None and len(names) == 1 else label
    if label not in names:
        raise BadParameter(f"Format stl needs a label of this task: one of {', '.join(names)}, with label=.")
    labelmap, values, grid = labelmap_of(result), contract.family(label), result.study.volume.grid
    head = SIGNATURE + f" {__version__} {label}, LPS mm, research use only".encode("ascii", "replace")
    count = 0
    with path.open("wb") as file:
        file.write(head[:_HEADER_BYTES].ljust(_HEADER_BYTES) + struct.pack("<I", 0))
        for triangles in _surface(labelmap, values, grid):
            count += len(triangles)
            file.write(triangles.tobytes())
        file.seek(_HEADER_BYTES)
        file.write(struct.pack("<I", count))


def _surface(labelmap: NDArray[np.uint8], values: tuple[int, ...], grid: Grid) -> Iterator[NDArray[np.void]]:
    """Slab by slab; neighbouring slabs share a slice, so that their surfaces meet."""
    places = _first_voxels(grid)
    last = len(labelmap)
    for first in range(-1, last, _SLAB_SLICES):
        slices = range(first, min(first + _SLAB_SLICES, last) + 1)
        inside = np.zeros((len(slices), *(length + 2 for length in labelmap.shape[1:])), bool)
        for number, index in enumerate(slices):
            if 0 <= index < last:
                inside[number, 1:-1, 1:-1] = mask_of(labelmap[index], values)
        rows, columns = (np.flatnonzero(inside.any(axis=axes)) for axes in ((0, 2), (0, 1)))
        if rows.size:
            box = (slice(rows[0] - 1, rows[-1] + 2), slice(columns[0] - 1, columns[-1] + 2))
            yield from _triangles(inside[:, *box], (first, box[0].start - 1, box[1].start - 1), places, grid)


def _triangles(
    inside: NDArray[np.bool_], origin: tuple[int, int, int], places: NDArray[np.float64], grid: Grid
) -> Iterator[NDArray[np.void]]:
    corners, faces, _, _ = marching_cubes(inside.astype(np.float32), 0.5)  # type: ignore[no-untyped-call]  # no annotations
    row_step, column_step = _steps(grid)
    indices = corners.astype(np.float64) + origin
    # `places` begins with the slice before the first one.
    along = np.stack(
        [np.interp(indices[:, 0], np.arange(-1, len(places) - 1), places[:, axis]) for axis in range(3)], 1
    )
    points = along + indices[:, 1:2] * row_step + indices[:, 2:3] * column_step
    if np.linalg.det([places[1] - places[0], row_step, column_step]) > 0:
        faces = faces[:, ::-1]
    for first in range(0, len(faces), _TRIANGLES_AT_ONCE):
        yield _with_normals(points[faces[first : first + _TRIANGLES_AT_ONCE]])


def _with_normals(corners: NDArray[np.float64]) -> NDArray[np.void]:
    """(triangles, 3 corners, 3) as the file has them."""
    triangles = np.zeros(len(corners), _TRIANGLE)
    triangles["corners"] = corners
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    lengths = np.linalg.norm(normals, axis=1, keepdims=True)
    triangles["normal"] = np.divide(normals, lengths, out=np.zeros_like(normals), where=lengths > 0)
    return triangles


def _steps(grid: Grid) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """From one row and from one column to the next; of a picture that nothing places, down and to the right."""
    if grid.row_step_lps_mm is not None and grid.column_step_lps_mm is not None:
        return grid.row_step_lps_mm, grid.column_step_lps_mm
    _, rows, columns = grid.spacing_mm
    return np.array([0.0, rows or 1.0, 0.0]), np.array([columns or 1.0, 0.0, 0.0])


def _first_voxels(grid: Grid) -> NDArray[np.float64]:
    """(slices + 2, 3): where each slice's voxel [0, 0] lies, with one slice more at each end, a step further on."""
    between = grid.spacing_mm[0] or 1.0
    known = grid.first_voxels_lps_mm
    if known is None:
        known = np.arange(grid.shape[0])[:, np.newaxis] * np.array([0.0, 0.0, between])
    if len(known) == 1:
        normal = np.cross(*_steps(grid)[::-1])
        step = normal / np.linalg.norm(normal) * between
        return np.concatenate([known - step, known, known + step])
    return np.concatenate([2 * known[:1] - known[1:2], known, 2 * known[-1:] - known[-2:-1]])
