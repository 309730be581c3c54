"""CT numbers: every transfer syntax, odd bit layouts, rescale, padding; and pixels that are not all there."""

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.uid import UID

from phantoms import dicom as phantom
from phantoms.dicom import REMOVE
from sigap.core.errors import InputError, TooLarge, UnreadableInput
from sigap.core.study import InputFile, Limits, Study
from sigap.imaging import dicom

VOXELS = phantom.body((4, 24, 28))
EVERY_LOSSLESS = (*phantom.NATIVE, *phantom.LOSSLESS)


def read(paths: list[Path], limits: Limits = Limits()) -> Study:
    return dicom.read([InputFile(path, path.name) for path in paths], sha256="0" * 64, limits=limits)


def voxels_of(paths: list[Path]) -> NDArray[Any]:
    return read(paths).volume.voxels


@pytest.mark.parametrize("maker", ["Siemens", "Toshiba"])
@pytest.mark.parametrize("syntax", EVERY_LOSSLESS, ids=lambda syntax: syntax.name)
def test_lossless_syntaxes_keep_every_number(tmp_path: Path, syntax: UID, maker: str) -> None:
    paths = phantom.write_series(tmp_path, VOXELS, syntax=syntax, maker=phantom.MAKERS[maker])
    voxels = voxels_of(paths)
    assert voxels.dtype == np.int16
    np.testing.assert_array_equal(voxels, VOXELS)


@pytest.mark.parametrize(
    ("syntax", "error_hu"),
    [(phantom.JPEG_LS_NEAR, 2), (phantom.HTJ2K_LOSSY, 2), (phantom.JPEG_EXTENDED, 40)],
    ids=lambda value: getattr(value, "name", str(value)),
)
def test_lossy_syntaxes_are_close(tmp_path: Path, syntax: UID, error_hu: int) -> None:
    study = read(phantom.write_series(tmp_path, VOXELS, syntax=syntax, maker=phantom.SIEMENS))
    assert np.abs(study.volume.voxels.astype(int) - VOXELS).max() <= error_hu
    assert [reason.code for reason in study.geometry.reasons] == ["lossy"]


def test_eight_bit_jpeg(tmp_path: Path) -> None:
    eight = phantom.Maker(signed=False, bits_stored=8, intercept=-100, tags={"BitsAllocated": 8})
    voxels = np.clip(phantom.body((2, 24, 28)), -100, 100)
    study = read(phantom.write_series(tmp_path, voxels, syntax=phantom.JPEG_BASELINE, maker=eight))
    assert np.abs(study.volume.voxels.astype(int) - voxels).max() <= 40


@pytest.mark.parametrize("syntax", EVERY_LOSSLESS, ids=lambda syntax: syntax.name)
def test_enhanced_objects_in_every_syntax(tmp_path: Path, syntax: UID) -> None:
    path = phantom.write_enhanced(tmp_path / "all.dcm", VOXELS, syntax=syntax)
    np.testing.assert_array_equal(voxels_of([path]), VOXELS)


@pytest.mark.parametrize("syntax", [phantom.IMPLICIT, phantom.EXPLICIT], ids=["implicit", "explicit"])
def test_files_without_preamble(tmp_path: Path, syntax: UID) -> None:
    paths = phantom.write_series(tmp_path, VOXELS, syntax=syntax, preamble=False)
    assert all(dicom.is_dicom(path) for path in paths)
    np.testing.assert_array_equal(voxels_of(paths), VOXELS)


def test_each_slice_is_rescaled_with_its_own_numbers(tmp_path: Path) -> None:
    paths = phantom.write_series(
        tmp_path, VOXELS, maker=phantom.SIEMENS, per_slice=lambda index: {"RescaleIntercept": str(-1024 - index)}
    )
    np.testing.assert_array_equal(voxels_of(paths), VOXELS)


def test_fractional_slopes_give_floats(tmp_path: Path) -> None:
    voxels = voxels_of(phantom.write_series(tmp_path, VOXELS, slope=0.7))
    assert voxels.dtype == np.float32
    assert np.abs(voxels - VOXELS).max() <= 0.36


def test_fractional_slopes_of_whole_results_give_whole_numbers(tmp_path: Path) -> None:
    voxels = voxels_of(phantom.write_series(tmp_path, VOXELS, slope=0.5))
    assert voxels.dtype == np.int16
    np.testing.assert_array_equal(voxels, VOXELS)


def test_numbers_beyond_int16_are_kept(tmp_path: Path) -> None:
    metal = VOXELS.astype(np.int32)
    metal[1, 3, 3] = 60_000
    voxels = voxels_of(phantom.write_series(tmp_path, metal, maker=WIDE))
    assert voxels.dtype == np.float32
    np.testing.assert_array_equal(voxels, metal)


WIDE = phantom.Maker(signed=False, bits_stored=16, intercept=-1024, tags=phantom.SIEMENS.tags)


@pytest.mark.parametrize("junk", [0x0000, 0xA000])
@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("syntax", [phantom.EXPLICIT, *phantom.LOSSLESS], ids=lambda syntax: syntax.name)
def test_what_lies_above_bits_stored_is_cut_off(tmp_path: Path, syntax: UID, signed: bool, junk: int) -> None:
    """Old files keep overlays in the high bits, and nobody need extend a sign into them (PS3.5 8.1.1)."""
    paths = phantom.write_series(tmp_path, VOXELS, maker=TWELVE_BITS[signed])
    for path in paths:
        dataset = pydicom.dcmread(path)
        stored = dataset.pixel_array.view(np.uint16) & 0x0FFF | junk
        phantom.set_pixels(dataset, stored.view(np.int16 if signed else np.uint16)[np.newaxis], syntax)
        phantom.save(dataset, path, syntax)
    np.testing.assert_array_equal(voxels_of(paths), VOXELS)


TWELVE_BITS = {
    signed: phantom.Maker(signed=signed, bits_stored=12, intercept=0 if signed else -1024, tags={})
    for signed in (True, False)
}


def test_pixels_at_the_upper_end_of_their_word(tmp_path: Path) -> None:
    paths = phantom.write_series(tmp_path, VOXELS, maker=phantom.SIEMENS, tags={"HighBit": 15})
    for path in paths:
        dataset = pydicom.dcmread(path)
        dataset.PixelData = (np.frombuffer(dataset.PixelData, np.uint16) << 4).tobytes()
        dataset.save_as(path)
    np.testing.assert_array_equal(voxels_of(paths), VOXELS)


@pytest.mark.parametrize(
    ("maker", "stored", "padding", "expected"),
    [
        (phantom.GE, -2000, -2000, -3024),  # already less than air
        (phantom.TOSHIBA, -2000, -2000, -2000),
        (phantom.TOSHIBA, -32768, -32768, -32768),
        (phantom.GE, -32768, -32768, -1024),  # -33792 would fit no int16
        (phantom.GE, -2000, 63536, -3024),  # the same value in an element of unsigned type
        (phantom.SIEMENS, 0, 0, -1024),
        (phantom.PHILIPS, 0, 0, -1000),  # air as well, and some of it may be real
        (phantom.TOSHIBA, 32767, 32767, -1024),
    ],
)
def test_padding_becomes_air(tmp_path: Path, maker: phantom.Maker, stored: int, padding: int, expected: int) -> None:
    voxels = VOXELS.astype(np.int32)
    voxels[:, :3] = stored + int(maker.intercept)
    paths = phantom.write_series(tmp_path, voxels, maker=maker)
    for path in paths:
        _set_padding(path, padding)
    result = voxels_of(paths)
    assert result.dtype == np.int16
    np.testing.assert_array_equal(result[:, :3], expected)
    np.testing.assert_array_equal(result[:, 3:], VOXELS[:, 3:])


def test_a_padding_range(tmp_path: Path) -> None:
    voxels = VOXELS.astype(np.int32)
    voxels[:, 0], voxels[:, 1] = 32_000, 32_700
    paths = phantom.write_series(tmp_path, voxels, tags={"PixelPaddingValue": 31_000, "PixelPaddingRangeLimit": 32_767})
    result = voxels_of(paths)
    np.testing.assert_array_equal(result[:, :2], -1024)
    np.testing.assert_array_equal(result[:, 2:], VOXELS[:, 2:])


def test_a_padding_value_that_is_tissue_harms_no_tissue(tmp_path: Path) -> None:
    """A padding value of 0 HU is water too: only the large patch at the edge is padding."""
    voxels = phantom.body((2, 40, 60))
    voxels[:, :4] = 0
    voxels[:, 18:24, 20:40] = 0
    result = voxels_of(phantom.write_series(tmp_path, voxels, tags={"PixelPaddingValue": 0}))
    np.testing.assert_array_equal(result[:, :4], -1024)
    np.testing.assert_array_equal(result[:, 4:], voxels[:, 4:])


def test_monochrome_1_changes_no_number(tmp_path: Path) -> None:
    paths = phantom.write_series(tmp_path, VOXELS, tags={"PhotometricInterpretation": "MONOCHROME1"})
    np.testing.assert_array_equal(voxels_of(paths), VOXELS)


@pytest.mark.parametrize("kept", [0.5, 0.9, 0.99])
@pytest.mark.parametrize("syntax", EVERY_LOSSLESS, ids=lambda syntax: syntax.name)
def test_a_broken_off_file_is_refused_and_never_filled(tmp_path: Path, syntax: UID, kept: float) -> None:
    paths = phantom.write_series(tmp_path, VOXELS, syntax=syntax)
    content = paths[2].read_bytes()
    paths[2].write_bytes(content[: int(kept * len(content))])
    with pytest.raises(UnreadableInput) as error:
        read(paths)
    assert error.value.slug in {"truncated", "no-pixels"}


@pytest.mark.parametrize("syntax", phantom.LOSSLESS, ids=lambda syntax: syntax.name)
def test_a_broken_off_codestream_is_refused_and_never_filled(tmp_path: Path, syntax: UID) -> None:
    paths = phantom.write_series(tmp_path, VOXELS, syntax=syntax)
    dataset = pydicom.dcmread(paths[1])
    frame = next(pydicom.encaps.generate_frames(dataset.PixelData, number_of_frames=1))
    dataset.PixelData = pydicom.encaps.encapsulate([frame[: len(frame) // 2]])
    dataset.save_as(paths[1])
    with pytest.raises(UnreadableInput) as error:
        read(paths)
    assert error.value.slug in {"truncated", "undecodable"}


@pytest.mark.parametrize(
    ("tags", "slug"),
    [
        ({"PixelData": REMOVE}, "no-pixels"),
        ({"Rows": 0}, "absurd-dimensions"),
        ({"Columns": 0}, "absurd-dimensions"),
        ({"Rows": 60_000, "Columns": 60_000}, "truncated"),
        ({"Rows": 25}, "truncated"),
        ({"BitsAllocated": 12}, "undecodable"),
        ({"BitsStored": 17}, "undecodable"),
        ({"BitsAllocated": 32, "BitsStored": 32, "HighBit": 31}, "truncated"),
    ],
)
def test_pixels_that_make_no_sense(tmp_path: Path, tags: dict[str, Any], slug: str) -> None:
    paths = phantom.write_series(tmp_path, VOXELS)
    for path in paths:
        dataset = pydicom.dcmread(path)
        phantom.apply(dataset, tags)
        dataset.save_as(path)
    with pytest.raises(InputError) as error:
        read(paths)
    assert error.value.slug == slug


@pytest.mark.parametrize(
    ("written", "named"),
    [
        (phantom.JPEG_2000, "1.2.840.10008.1.2.4.98"),
        (phantom.JPEG_LS, "1.2.840.10008.1.2.4.94"),
        (phantom.EXPLICIT, "1.2.840.10008.9.9.9"),
        (phantom.EXPLICIT, "1.2.3.4.5.6.7.8.9.0"),
    ],
)
def test_unknown_transfer_syntaxes(tmp_path: Path, written: UID, named: str) -> None:
    paths = phantom.write_series(tmp_path, VOXELS, syntax=written)
    for path in paths:
        path.write_bytes(path.read_bytes().replace(written.encode(), named.encode(), 1))
    with pytest.raises(UnreadableInput) as error:
        read(paths)
    assert error.value.slug == "unknown-transfer-syntax"


def test_a_codestream_of_another_size_is_refused(tmp_path: Path) -> None:
    """Its own header could ask the decoder for any amount of memory."""
    paths = phantom.write_series(tmp_path, VOXELS, syntax=phantom.JPEG_2000)
    larger = phantom.write_series(tmp_path / "larger", phantom.body((1, 48, 56)), syntax=phantom.JPEG_2000)
    dataset = pydicom.dcmread(paths[0])
    dataset.PixelData = pydicom.dcmread(larger[0]).PixelData
    dataset.save_as(paths[0])
    with pytest.raises(UnreadableInput) as error:
        read(paths)
    assert error.value.slug == "undecodable"


def test_limits_hold_before_anything_is_decoded(tmp_path: Path) -> None:
    paths = phantom.write_series(tmp_path, VOXELS)
    with pytest.raises(TooLarge):
        read(paths, Limits(plane_pixels=24 * 28 - 1))
    with pytest.raises(TooLarge):
        read(paths, Limits(volume_bytes=VOXELS.size * 2 - 1))
    assert read(paths, Limits(plane_pixels=24 * 28, volume_bytes=VOXELS.size * 2)).volume.voxels.size == VOXELS.size


def test_a_deflated_bomb_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sigap.imaging.dicom.source.HEADER_ROOM_BYTES", 1000)
    paths = phantom.write_series(tmp_path, np.zeros((1, 512, 512)), syntax=phantom.DEFLATED)
    with pytest.raises(TooLarge):
        read(paths, Limits(volume_bytes=10_000))


def _set_padding(path: Path, padding: int) -> None:
    dataset = pydicom.dcmread(path)
    phantom.apply(dataset, {"PixelPaddingValue": REMOVE})
    dataset.add_new(0x00280120, "US" if padding > 0 else "SS", padding)
    dataset.save_as(path)
