"""Each lesion's number beside its outline, so that the picture and the report's table can be read together."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy import ndimage

from sigap.core.grid import Grid
from sigap.core.measurement import Lesion
from sigap.core.segmentation import mask_of
from sigap.encoders.overlay.contour import Place
from sigap.encoders.overlay.text import draw_text, halo_of, text_width

Edges = tuple[int, int]

# A lesion whose box is larger fills the tile: it needs no number, and finding it again would cost too much memory.
_MOST_VOXELS = 8 << 20
_TOUCHING_IN_3D = np.ones((3, 3, 3), bool)
_TOUCHING_IN_2D = np.ones((3, 3), bool)
_GAP_PX = 4


def draw_number(
    canvas: Image.Image, lesion: Lesion, box: tuple[Edges, Edges], *, grid: Grid, at: Place, size: Place, unit: int
) -> None:
    """Write a lesion's id beside a box's upper right corner, or its upper left one at the picture's edge.

    Args:
        canvas: RGB; drawn upon.
        lesion: whose id.
        box: stored rows and columns, each (first, one past the last).
        grid: says how stored pixels lie on the picture.
        at: x, y of the picture's top left corner on the canvas.
        size: the picture's width and height.
        unit: size of the text in pixels.
    """
    left, right, top = _on_picture(box, grid, size)
    text = str(lesion.id)
    width = text_width(text, unit)
    x = right + _GAP_PX if right + _GAP_PX + width <= size[0] else left - _GAP_PX - width
    y = min(max(0.0, top - unit), float(size[1] - unit))
    draw_text(ImageDraw.Draw(canvas), (at[0] + round(max(0.0, x)), at[1] + round(y)), text, unit, halo=halo_of(unit))


def box_on_key_slice(
    labelmap: NDArray[np.uint8], lesion: Lesion, values: tuple[int, ...]
) -> tuple[Edges, Edges] | None:
    """Stored rows and columns of the largest part that a lesion shows on its key slice.

    A lesion's bounding box may hold parts of other lesions: it is told from them by connecting the box's voxels again.

    Args:
        labelmap: (slices, rows, columns) as stored.
        lesion: one 26-connected piece of it.
        values: of the lesion's label and what it contains.

    Returns:
        (first, one past the last) of rows and of columns; None where the lesion is too large or cannot be told.
    """
    box = tuple(slice(first, last) for first, last in lesion.bounding_box)
    inside = labelmap[box]
    if inside.size > _MOST_VOXELS:
        return None
    pieces, _ = ndimage.label(mask_of(inside, values), _TOUCHING_IN_3D)
    plane = pieces[lesion.key_slice - lesion.bounding_box[0][0]]
    found = [piece for piece in np.unique(plane) if piece and np.count_nonzero(pieces == piece) == lesion.voxels]
    if len(found) != 1:
        return None
    parts, _ = ndimage.label(plane == found[0], _TOUCHING_IN_2D)
    rows, columns = ndimage.find_objects(parts)[int(np.argmax(np.bincount(parts.ravel())[1:]))]
    (first_row, _), (first_column, _) = lesion.bounding_box[1:]
    return (first_row + rows.start, first_row + rows.stop), (first_column + columns.start, first_column + columns.stop)


def _on_picture(box: tuple[Edges, Edges], grid: Grid, size: Place) -> tuple[float, float, float]:
    """Left, right and top edge of a stored box on its picture."""
    orientation = grid.orientation
    sides: list[Any] = [(*box[0], grid.shape[1]), (*box[1], grid.shape[2])]
    if orientation.transpose:
        sides.reverse()
    edges = []
    for (first, last, length), flip in zip(sides, (orientation.flip_rows, orientation.flip_columns), strict=True):
        edges.append((1 - last / length, 1 - first / length) if flip else (first / length, last / length))
    (top, _), (left, right) = edges
    return left * size[0], right * size[0], top * size[1]
