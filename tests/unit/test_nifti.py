"""NIfTI files as volumes: values, places, and what is refused."""

from __future__ import annotations

import dataclasses
import weakref
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nibabel
import numpy as np
import pytest

from phantoms.nifti import AXIAL_RAS, gzipped, nifti_bytes
from sigap.core.errors import GeometryRefused, InputError, TooLarge, UnreadableInput
from sigap.core.grid import Orientation
from sigap.core.study import Limits, Study
from sigap.core.verdict import Severity
from sigap.imaging import nifti
from sigap.imaging.nifti import voxels

Read = Callable[..., Study]
RAMP = np.arange(5 * 4 * 3, dtype=np.int16).reshape(5, 4, 3) * 30 - 1000


@pytest.fixture
def read(tmp_path: Path) -> Read:
    def read_bytes(content: bytes, *, is_gzip: bool = False, limits: Limits = Limits()) -> Study:
        path = tmp_path / "0"
        path.write_bytes(content)
        return nifti.read(path, is_gzip=is_gzip, sha256="0" * 64, ignored=(), limits=limits)

    return read_bytes


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("byte_order", ["<", ">"])
@pytest.mark.parametrize("is_gzip", [False, True])
def test_both_versions_byte_orders_and_packings_give_one_volume(
    read: Read, version: int, byte_order: str, is_gzip: bool
) -> None:
    content = nifti_bytes(RAMP, version=version, byte_order=byte_order)
    study = read(gzipped(content) if is_gzip else content, is_gzip=is_gzip)

    np.testing.assert_array_equal(study.volume.voxels, RAMP.transpose(2, 1, 0))
    assert study.volume.voxels.dtype == np.int16
    assert study.volume.voxels.flags.c_contiguous
    assert study.volume.grid.spacing_mm == (2.0, 0.75, 0.5)
    assert study.volume.grid.shares_mm == (2.0, 2.0, 2.0)
    assert study.volume.grid.orientation == Orientation()
    assert study.origin.nifti is not None
    assert study.origin.nifti.header == content[: 348 if version == 1 else 540]
    assert study.origin.nifti.axes == (2, 1, 0)
    assert study.geometry.severity is Severity.OK


@pytest.mark.parametrize("stored", ["u1", "i1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8"])
@pytest.mark.parametrize(
    ("slope", "inter"), [(1, 0), (1, -1024), (2, -30), (-1, 5), (0.5, 0), (0.1, 3.25), (0, 7), (np.nan, 7)]
)
def test_values_are_nibabels(read: Read, tmp_path: Path, stored: str, slope: float, inter: float) -> None:
    voxels = np.array([[[0, 1, 2], [40, 100, 127]]], stored)
    content = nifti_bytes(voxels, fields={"scl_slope": slope, "scl_inter": inter})
    study = read(content)

    (tmp_path / "same.nii").write_bytes(content)
    expected = np.asarray(nibabel.load(tmp_path / "same.nii").dataobj).astype(np.float32).transpose(2, 1, 0)
    np.testing.assert_array_equal(study.volume.voxels, expected)
    is_whole = bool((expected == np.rint(expected)).all())
    assert study.volume.voxels.dtype == (np.int16 if is_whole else np.float32)


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        ([-32768, 32767], np.int16),
        ([-32769, 0], np.float32),
        ([0, 32768], np.float32),
    ],
)
@pytest.mark.parametrize("stored", ["i4", "f8"])
def test_whole_values_that_do_not_fit_16_bits_become_float(
    read: Read, values: list[int], dtype: type, stored: str
) -> None:
    volume = read(nifti_bytes(np.array([[values]], stored))).volume

    assert volume.voxels.dtype == dtype
    assert volume.voxels.ravel().tolist() == values


def test_a_fraction_in_the_last_plane_is_kept(read: Read) -> None:
    voxels = np.zeros((1500, 1000, 4), np.float32)
    voxels[-1, -1, -1] = 0.25

    assert read(nifti_bytes(voxels)).volume.voxels[-1, -1, -1] == 0.25


def test_a_plane_axis_stored_slowest_is_put_in_order(read: Read) -> None:
    # Sagittal: stored axes are A, S, R.
    affine = np.array([[0, 0, 3.0, 0], [2.0, 0, 0, 0], [0, 1.0, 0, 0], [0, 0, 0, 1]])
    study = read(nifti_bytes(RAMP, affine))

    np.testing.assert_array_equal(study.volume.voxels, RAMP.transpose(1, 0, 2))
    assert study.origin.nifti is not None
    assert study.origin.nifti.axes == (1, 0, 2)
    assert study.volume.grid.shape == (4, 5, 3)
    assert study.volume.grid.spacing_mm == (1.0, 2.0, 3.0)
    assert study.volume.grid.orientation == Orientation(flip_rows=True, flip_columns=True)


def test_world_positions_are_the_affines_in_lps(read: Read) -> None:
    affine = AXIAL_RAS.copy()
    affine[:3, 3] = (10.0, -20.0, 30.0)
    place = read(nifti_bytes(RAMP, affine)).volume.grid.world_lps_mm((2, 3, 4))

    right, front, up, _ = affine @ (4, 3, 2, 1)
    np.testing.assert_allclose(place, (-right, -front, up))


def test_sform_beats_qform_and_qform_beats_nothing(read: Read) -> None:
    turned = {"qform_code": 1, "quatern_d": 1.0, "qoffset_x": 5.0, "pixdim": [1, 3, 3, 3, 1, 1, 1, 1]}
    by_sform = read(nifti_bytes(RAMP, fields=turned)).volume.grid
    by_qform = read(nifti_bytes(RAMP, fields={**turned, "sform_code": 0})).volume.grid

    assert by_sform.spacing_mm == (2.0, 0.75, 0.5)
    assert by_qform.spacing_mm == (3.0, 3.0, 3.0)
    assert by_qform.first_voxels_lps_mm is not None
    assert by_qform.first_voxels_lps_mm[0].tolist() == [-5.0, 0.0, 0.0]


def test_spacing_of_a_sheared_affine_is_measured_along_the_normal(read: Read) -> None:
    affine = AXIAL_RAS.copy()
    affine[1, 2] = 0.8  # a tilted gantry: each slice stands 0.8 mm farther forward
    grid = read(nifti_bytes(RAMP, affine)).volume.grid

    assert grid.spacing_mm == (2.0, 0.75, 0.5)
    assert grid.pixel_area_mm2 == 0.375


@pytest.mark.parametrize(("unit", "factor"), [(0, 1.0), (1, 1000.0), (2, 1.0), (3, 0.001), (10, 1.0), (9, 1000.0)])
def test_distances_are_millimetres_whatever_the_unit(read: Read, unit: int, factor: float) -> None:
    grid = read(nifti_bytes(RAMP, fields={"xyzt_units": unit})).volume.grid

    assert grid.spacing_mm == (2.0 * factor, 0.75 * factor, 0.5 * factor)


def test_without_codes_there_are_distances_and_no_places(read: Read) -> None:
    study = read(nifti_bytes(RAMP, fields={"sform_code": 0, "qform_code": 0}))
    grid = study.volume.grid

    assert [reason.code for reason in study.geometry.reasons] == ["no_orientation"]
    assert study.geometry.severity is Severity.WARNING
    assert not grid.is_oriented
    assert grid.spacing_mm == (2.0, 0.75, 0.5)
    assert grid.world_lps_mm((0, 0, 0)) is None
    # nibabel's fallback: x runs from right to left, y to the front.
    assert grid.orientation == Orientation(flip_rows=True)


@pytest.mark.parametrize(("least", "greatest", "codes"), [(0, 255, ["not_hounsfield"]), (-1, 255, []), (0, 256, [])])
def test_values_of_a_picture_are_named(read: Read, least: int, greatest: int, codes: list[str]) -> None:
    study = read(nifti_bytes(np.array([[[least, greatest]]], np.int16)))

    assert [reason.code for reason in study.geometry.reasons] == codes
    assert study.volume.is_hounsfield


def test_one_slice_has_the_share_that_the_header_gives_it(read: Read) -> None:
    assert read(nifti_bytes(RAMP[:, :, :1])).volume.grid.shares_mm == (2.0,)
    assert read(nifti_bytes(RAMP[:, :, 0])).volume.voxels.shape == (1, 4, 5)
    assert read(nifti_bytes(RAMP[..., None])).volume.voxels.shape == (3, 4, 5)


def _pixdim(*spacing: float) -> dict[str, Any]:
    return {"pixdim": [1, *spacing, 1, 1, 1, 1]}


@pytest.mark.parametrize(
    "fields",
    [
        _pixdim(0, 1, 1),
        _pixdim(1, np.nan, 1),
        _pixdim(1, 1, np.inf),
        _pixdim(1, 1, -2),
        {"srow_z": [0, 0, 0, 0]},
        {"srow_z": [0, 0, np.nan, 0]},
        {"srow_z": [0, 0, 2, np.inf]},
        {"srow_y": [-0.5, 0, 0, 0]},
        {"sform_code": 0, "qform_code": 1, "quatern_b": 1.0, "quatern_c": 1.0},
        {"sform_code": 0, "qform_code": 1, "quatern_b": np.nan},
    ],
)
def test_a_spacing_that_measures_nothing_is_refused(read: Read, fields: dict[str, Any]) -> None:
    with pytest.raises(GeometryRefused) as refusal:
        read(nifti_bytes(RAMP, fields=fields))

    assert [reason.code for reason in refusal.value.verdict.reasons] == ["no_spacing"]
    assert refusal.value.origin is not None
    assert refusal.value.origin.kind == "nifti"


NAN = np.full((2, 2, 2), np.nan, np.float32)
CONTENT = nifti_bytes(RAMP)
BAD: dict[str, tuple[bytes, type[InputError], str]] = {
    "truncated": (CONTENT[:-1], UnreadableInput, "truncated"),
    "header only": (CONTENT[:348], UnreadableInput, "truncated"),
    "half a header": (CONTENT[:200], UnreadableInput, "truncated"),
    "half a NIfTI-2 header": (nifti_bytes(RAMP, version=2)[:500], UnreadableInput, "truncated"),
    "dims beyond the file": (
        nifti_bytes(RAMP, fields={"dim": [3, 32767, 32767, 32767, 1, 1, 1, 1]}),
        UnreadableInput,
        "truncated",
    ),
    "negative dim": (
        nifti_bytes(RAMP, fields={"dim": [3, 5, -4, 3, 1, 1, 1, 1]}),
        UnreadableInput,
        "absurd-dimensions",
    ),
    "zero dim": (nifti_bytes(RAMP, fields={"dim": [3, 5, 0, 3, 1, 1, 1, 1]}), UnreadableInput, "absurd-dimensions"),
    "no dims": (nifti_bytes(RAMP, fields={"dim": [0, 5, 4, 3, 1, 1, 1, 1]}), UnreadableInput, "absurd-dimensions"),
    "nine dims": (nifti_bytes(RAMP, fields={"dim": [9, 5, 4, 3, 1, 1, 1, 1]}), UnreadableInput, "absurd-dimensions"),
    "two volumes": (nifti_bytes(np.zeros((3, 3, 3, 2), np.int16)), UnreadableInput, "several-volumes"),
    "vectors": (nifti_bytes(np.zeros((3, 3, 3, 1, 3), np.float32)), UnreadableInput, "several-volumes"),
    "complex": (nifti_bytes(np.zeros((3, 3, 3), np.complex64)), UnreadableInput, "not-numbers"),
    "colour": (nifti_bytes(np.zeros((3, 3, 3), "u1"), fields={"datatype": 128}), UnreadableInput, "not-numbers"),
    "unknown type": (nifti_bytes(RAMP, fields={"datatype": 77}), UnreadableInput, "bad-header"),
    "voxels in the header": (nifti_bytes(RAMP, fields={"vox_offset": 100}), UnreadableInput, "bad-header"),
    "voxels at zero": (nifti_bytes(RAMP, fields={"vox_offset": 0}), UnreadableInput, "bad-offset"),
    "voxels nowhere": (nifti_bytes(RAMP, fields={"vox_offset": np.nan}), UnreadableInput, "bad-offset"),
    "voxels half way": (nifti_bytes(RAMP, fields={"vox_offset": 352.5}), UnreadableInput, "bad-offset"),
    "slope without intercept": (nifti_bytes(RAMP, fields={"scl_inter": np.inf}), UnreadableInput, "bad-header"),
    "unknown unit": (nifti_bytes(RAMP, fields={"xyzt_units": 5}), UnreadableInput, "bad-unit"),
    "not a number": (nifti_bytes(NAN), UnreadableInput, "not-finite"),
    "infinite": (nifti_bytes(np.array([[[1.0, -np.inf]]])), UnreadableInput, "not-finite"),
    "more than a float holds": (nifti_bytes(np.array([[[1e300]]])), UnreadableInput, "not-finite"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_read_is_refused(read: Read, case: str) -> None:
    content, error, slug = BAD[case]
    with pytest.raises(error) as refusal:
        read(content)

    assert refusal.value.slug == slug


@pytest.mark.parametrize(
    ("limits", "slug"),
    [
        ({"plane_pixels": 19}, "too-many-pixels"),
        ({"volume_bytes": 119}, "volume-too-large"),
        ({"unpacked_bytes": 471}, "volume-too-large"),
    ],
)
def test_caps_are_exact(read: Read, limits: dict[str, int], slug: str) -> None:
    read(CONTENT, limits=Limits(**{name: value + 1 for name, value in limits.items()}))
    with pytest.raises(TooLarge) as refusal:
        read(CONTENT, limits=dataclasses.replace(Limits(), **limits))

    assert refusal.value.slug == slug


def test_a_gzip_that_goes_on_after_the_voxels_is_a_bomb(read: Read) -> None:
    with pytest.raises(TooLarge) as refusal:
        read(gzipped(CONTENT + bytes(80 << 20)), is_gzip=True)

    assert refusal.value.slug == "unpacked-too-large"


def test_every_cut_of_a_gzip_is_told(read: Read) -> None:
    packed = gzipped(CONTENT)
    for length in range(20, len(packed)):
        with pytest.raises(UnreadableInput) as refusal:
            read(packed[:length], is_gzip=True)
        assert refusal.value.slug == "truncated"


def test_a_gzip_with_another_checksum_is_damaged(read: Read) -> None:
    packed = bytearray(gzipped(CONTENT))
    packed[-8] ^= 0xFF
    with pytest.raises(UnreadableInput) as refusal:
        read(bytes(packed), is_gzip=True)

    assert refusal.value.slug == "damaged"


def test_gzip_members_in_a_row_are_one_file(read: Read) -> None:
    study = read(gzipped(CONTENT[:400]) + gzipped(CONTENT[400:]), is_gzip=True)

    np.testing.assert_array_equal(study.volume.voxels, RAMP.transpose(2, 1, 0))


class _Enough(Exception):
    """Raised by the caller's check."""


def test_a_check_can_end_the_reading_at_each_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(voxels, "_BLOCK_BYTES", 1)
    path = tmp_path / "0"
    path.write_bytes(nifti_bytes(RAMP))
    calls: list[None] = []

    def check() -> None:
        calls.append(None)
        if len(calls) == 3:
            raise _Enough

    with pytest.raises(_Enough):
        nifti.read(path, is_gzip=False, sha256="", ignored=(), limits=Limits(), check=check)


def test_one_volume_at_a_time_is_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Values that need floats are found while an int16 volume is there; it is gone before the second one is made."""
    made: list[weakref.ref[Any]] = []
    alive: list[int] = []

    def empty(shape: Any, dtype: Any) -> Any:
        alive.append(sum(reference() is not None for reference in made))
        made.append(weakref.ref(array := np.empty(shape, dtype)))
        return array

    monkeypatch.setattr(voxels, "np", SimpleNamespace(**{**vars(np), "empty": empty}))
    path = tmp_path / "0"
    path.write_bytes(nifti_bytes(RAMP.astype(np.float32) + 0.5))
    study = nifti.read(path, is_gzip=False, sha256="", ignored=(), limits=Limits())
    assert study.volume.voxels.dtype == np.float32
    assert alive == [0, 1, 0, 1]  # volume, block; volume, block
