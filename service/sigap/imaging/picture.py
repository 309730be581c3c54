"""PNG and JPEG: one already windowed slice, taken as drawn."""

from __future__ import annotations

import math
import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, JpegImagePlugin, PngImagePlugin

from sigap.core.errors import BadParameter, UnreadableInput
from sigap.core.grid import Grid
from sigap.core.study import LARGEST_MM, DecodeOptions, Ignored, Kind, Limits, Origin, Study, Volume
from sigap.core.verdict import GeometryVerdict, Reason, Severity
from sigap.imaging.parts import PartsReader
from sigap.imaging.png import check_png, check_size

_FOREIGN = (OSError, SyntaxError, ValueError, EOFError, IndexError, struct.error, zlib.error)
"""What Pillow raises of damaged files."""


def read(
    path: Path, kind: Kind, *, sha256: str, ignored: tuple[Ignored, ...], options: DecodeOptions, limits: Limits
) -> Study:
    """Read a picture as one slice, uint8, `[1, row, column]`.

    Colour becomes luminance (ITU-R 601-2; equal channels stay as they are), transparency is laid on black, of
    16 bits the upper 8 are taken. The EXIF orientation is not applied: rows and columns are those stored.

    Raises:
        UnreadableInput: cut off, damaged, or animated.
        TooLarge: more pixels than `limits` allow, known from its header; or parts beyond number.
    """
    try:
        if kind == "png":
            check_png(path, limits)
        pixels = _pixels(path, kind, limits)
    except _FOREIGN as error:
        raise UnreadableInput(
            f"The {kind.upper()} picture is cut off or damaged. Export it anew and send it again.", slug="truncated"
        ) from error
    return Study(
        volume=Volume(pixels[np.newaxis], is_hounsfield=False, grid=_grid(pixels, options)),
        origin=Origin(kind=kind, sha256=sha256, ignored=ignored),
        geometry=GeometryVerdict(() if options.pixel_spacing_mm else (_NO_SPACING,)),
    )


_NO_SPACING = Reason(
    "no_spacing",
    Severity.WARNING,
    "A picture does not say how large its pixels are: sizes are given in pixels. Give pixel_spacing_mm for mm² and mL.",
)


def check_options(options: DecodeOptions) -> None:
    """See that the sizes a client gives are sizes.

    Raises:
        BadParameter: one is not a positive number of millimetres.
    """
    sizes = {"pixel_spacing_mm": options.pixel_spacing_mm or (), "slice_thickness_mm": (options.slice_thickness_mm,)}
    for name, values in sizes.items():
        for value in values:
            if value is not None and not (math.isfinite(value) and 0 < value <= LARGEST_MM):
                raise BadParameter(f"{name} must be above 0 and at most {LARGEST_MM:g} mm.")


def _pixels(path: Path, kind: Kind, limits: Limits) -> NDArray[np.uint8]:
    # By their own names: Image.open would warn or fail at a number of pixels that is Pillow's, not ours.
    plugin = PngImagePlugin.PngImageFile if kind == "png" else JpegImagePlugin.JpegImageFile
    with PartsReader.open(path) as file, plugin(file) as picture:
        check_size(picture.width, picture.height, limits)
        if picture.mode.startswith("I"):
            return _of_16_bits(picture)
        if picture.has_transparency_data:
            return _on_black(picture.convert("RGBA"))
        # By way of RGB, which knows palettes and CMYK.
        return np.array(picture.convert("L") if picture.mode in ("1", "L") else picture.convert("RGB").convert("L"))


def _of_16_bits(picture: Image.Image) -> NDArray[np.uint8]:
    values = np.asarray(picture).astype(np.uint16)
    # The one shade that is transparent, if any: laid on black, like the others' transparency.
    values[values == picture.info.get("transparency", -1)] = 0
    return (values >> 8).astype(np.uint8)


def _on_black(picture: Image.Image) -> NDArray[np.uint8]:
    black = Image.new("RGBA", picture.size, (0, 0, 0, 255))
    return np.array(Image.alpha_composite(black, picture).convert("RGB").convert("L"))


def _grid(pixels: NDArray[np.uint8], options: DecodeOptions) -> Grid:
    rows, columns = pixels.shape
    row_mm, column_mm = options.pixel_spacing_mm or (None, None)
    thickness_mm = options.slice_thickness_mm
    return Grid(
        shape=(1, rows, columns),
        spacing_mm=(thickness_mm, row_mm, column_mm),
        shares_mm=None if thickness_mm is None else (thickness_mm,),
        first_voxels_lps_mm=None,
        row_step_lps_mm=None,
        column_step_lps_mm=None,
        is_oriented=False,
    )
