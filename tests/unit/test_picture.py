"""PNG and JPEG as one slice, drawn as given."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from phantoms.pictures import SIGNATURE, chunk, encoded, png_that_claims, shades
from sigap.core.errors import BadParameter, InputError, TooLarge, UnreadableInput
from sigap.core.grid import Orientation
from sigap.core.study import DecodeOptions, Limits, Study
from sigap.core.verdict import Severity
from sigap.imaging import picture

Read = Callable[..., Study]
SHADES = shades()


@pytest.fixture
def read(tmp_path: Path) -> Read:
    def read_bytes(content: bytes, **options: Any) -> Study:
        path = tmp_path / "0"
        path.write_bytes(content)
        kind = "png" if content.startswith(SIGNATURE) else "jpeg"
        asked = DecodeOptions(**options)
        return picture.read(path, kind, sha256="0" * 64, ignored=(), options=asked, limits=Limits())

    return read_bytes


def _with_alpha(alpha: int) -> Image.Image:
    return Image.merge("LA", [Image.fromarray(SHADES), Image.new("L", SHADES.shape[::-1], alpha)])


GREY = Image.fromarray(SHADES)
SAME: dict[str, bytes] = {
    "grey": encoded(GREY, "PNG"),
    "colour": encoded(GREY.convert("RGB"), "PNG"),
    "palette": encoded(GREY.convert("P"), "PNG"),
    "opaque": encoded(GREY.convert("RGBA"), "PNG"),
    "opaque grey": encoded(_with_alpha(255), "PNG"),
    "16 bits, low byte zero": encoded(SHADES.astype(np.uint16) * 256, "PNG"),
    "16 bits, full range": encoded(SHADES.astype(np.uint16) * 257, "PNG"),
    "16 bits, low byte full": encoded(SHADES.astype(np.uint16) * 256 + 255, "PNG"),
}


@pytest.mark.parametrize("case", SAME)
def test_one_picture_however_it_is_stored(read: Read, case: str) -> None:
    volume = read(SAME[case]).volume

    assert volume.voxels.dtype == np.uint8
    np.testing.assert_array_equal(volume.voxels, SHADES[np.newaxis])
    assert not volume.is_hounsfield


def test_interlaced_png(read: Read) -> None:
    # Adam7: column and row where each pass begins, and its steps (PNG, third edition, 8.2).
    passes = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
    lines = [
        b"\x00" + line.tobytes()
        for column, row, right, down in passes
        for line in SHADES[row::down, column::right]
        if line.size
    ]
    header = chunk(b"IHDR", bytes([0, 0, 0, SHADES.shape[1], 0, 0, 0, SHADES.shape[0], 8, 0, 0, 0, 1]))
    pixels = chunk(b"IDAT", zlib.compress(b"".join(lines)))
    study = read(SIGNATURE + header + pixels + chunk(b"IEND", b""))

    np.testing.assert_array_equal(study.volume.voxels[0], SHADES)


def test_two_shades_and_four(read: Read) -> None:
    black_and_white = SHADES > 100
    assert read(encoded(black_and_white, "PNG")).volume.voxels[0].tolist() == (black_and_white * 255).tolist()
    four = Image.fromarray(SHADES // 64)
    four.putpalette([0, 0, 0, 85, 85, 85, 170, 170, 170, 255, 255, 255])
    assert read(encoded(four, "PNG", bits=2)).volume.voxels[0].tolist() == (SHADES // 64 * 85).tolist()


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_jpeg(read: Read, mode: str) -> None:
    smooth = np.add.outer(np.arange(64), np.arange(48)).astype(np.uint8)
    study = read(encoded(Image.fromarray(smooth).convert(mode), "JPEG", quality=95))

    assert study.origin.kind == "jpeg"
    assert np.abs(study.volume.voxels[0].astype(int) - smooth).max() <= 1


def test_colour_becomes_luminance_and_transparency_lies_on_black(read: Read) -> None:
    red = Image.new("RGB", (2, 1), (255, 0, 0))
    assert read(encoded(red, "PNG")).volume.voxels.tolist() == [[[76, 76]]]
    assert not read(encoded(_with_alpha(0), "PNG")).volume.voxels.any()


@pytest.mark.parametrize("mode", [np.uint8, np.uint16])
def test_a_shade_that_is_transparent_lies_on_black(read: Read, mode: type[np.unsignedinteger[Any]]) -> None:
    shade, factor = int(SHADES[3, 4]), 257 if mode is np.uint16 else 1
    content = encoded(SHADES.astype(mode) * factor, "PNG", transparency=shade * factor)
    np.testing.assert_array_equal(read(content).volume.voxels[0], np.where(shade == SHADES, 0, SHADES))


def test_a_camera_turned_on_its_side_turns_nothing(read: Read) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    assert read(encoded(GREY, "JPEG", exif=exif)).volume.voxels.shape == (1, *SHADES.shape)


def test_sizes_are_the_clients(read: Read) -> None:
    unknown = read(SAME["grey"])
    assert unknown.volume.grid.spacing_mm == (None, None, None)
    assert unknown.volume.grid.shares_mm is None
    assert unknown.volume.grid.pixel_area_mm2 is None
    assert [reason.code for reason in unknown.geometry.reasons] == ["no_spacing"]
    assert unknown.geometry.severity is Severity.WARNING

    flat = read(SAME["grey"], pixel_spacing_mm=(0.5, 0.25))
    assert flat.volume.grid.spacing_mm == (None, 0.5, 0.25)
    assert flat.volume.grid.pixel_area_mm2 == 0.125
    assert flat.geometry.reasons == ()

    thick = read(SAME["grey"], pixel_spacing_mm=(0.5, 0.25), slice_thickness_mm=5.0)
    assert thick.volume.grid.spacing_mm == (5.0, 0.5, 0.25)
    assert thick.volume.grid.shares_mm == (5.0,)
    assert not thick.volume.grid.is_oriented
    assert thick.volume.grid.orientation == Orientation()


@pytest.mark.parametrize("value", [0.0, -1.0, np.nan, np.inf, 1001.0])
def test_sizes_that_are_no_sizes(value: float) -> None:
    for options in (
        DecodeOptions(pixel_spacing_mm=(value, 1.0)),
        DecodeOptions(pixel_spacing_mm=(1.0, value)),
        DecodeOptions(slice_thickness_mm=value),
    ):
        with pytest.raises(BadParameter):
            picture.check_options(options)


ANIMATED = encoded(GREY, "PNG", save_all=True, append_images=[Image.fromarray(255 - SHADES)])
BAD: dict[str, tuple[bytes, type[InputError], str]] = {
    "30,000 x 30,000": (png_that_claims(30_000, 30_000), TooLarge, "too-many-pixels"),
    "30,000 x 30,000, and nothing else": (png_that_claims(30_000, 30_000)[:40], TooLarge, "too-many-pixels"),
    "a JPEG of 30,000 x 30,000": (
        encoded(GREY, "JPEG").replace(bytes([8, 0, 24, 0, 36]), bytes([8, 0x75, 0x30, 0x75, 0x30])),
        TooLarge,
        "too-many-pixels",
    ),
    "no pixels": (png_that_claims(0, 5), UnreadableInput, "truncated"),
    "fewer pixels than promised": (png_that_claims(200, 200), UnreadableInput, "truncated"),
    "four whole rows of nine": (png_that_claims(24, 9), UnreadableInput, "truncated"),
    "signature only": (SIGNATURE, UnreadableInput, "truncated"),
    "no pixel chunk": (SIGNATURE + chunk(b"IEND", b""), UnreadableInput, "truncated"),
    "a wrong checksum": (SAME["grey"].replace(b"IDAT", b"IDAS"), UnreadableInput, "damaged"),
    "animated": (ANIMATED, UnreadableInput, "several-images"),
    "a PNG of empty chunks": (
        SAME["grey"][:33] + chunk(b"teSt", b"") * 600_000 + SAME["grey"][33:],
        TooLarge,
        "too-many-parts",
    ),
    "a JPEG of empty segments": (
        encoded(GREY, "JPEG")[:2] + b"\xff\xfe\x00\x02" * 600_000 + encoded(GREY, "JPEG")[2:],
        TooLarge,
        "too-many-parts",
    ),
    "a JPEG of filling": (
        encoded(GREY, "JPEG")[:2] + b"\xff" * 2_000_000 + encoded(GREY, "JPEG")[2:],
        TooLarge,
        "too-many-parts",
    ),
    "a JPEG's signature only": (b"\xff\xd8\xff\xe0", UnreadableInput, "truncated"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_read_is_refused(read: Read, case: str) -> None:
    content, error, slug = BAD[case]
    with pytest.raises(error) as refusal:
        read(content)

    assert refusal.value.slug == slug


def test_every_cut_of_a_png_is_told(read: Read) -> None:
    for length in range(len(SIGNATURE), len(SAME["grey"])):
        with pytest.raises(UnreadableInput) as refusal:
            read(SAME["grey"][:length])
        assert refusal.value.slug == "truncated"


def test_every_deep_cut_of_a_jpeg_is_told(read: Read) -> None:
    content = encoded(Image.effect_noise((64, 64), 50), "JPEG")
    for length in range(3, len(content) - 16, 11):
        with pytest.raises(UnreadableInput) as refusal:
            read(content[:length])
        assert refusal.value.slug == "truncated"
