"""The scan that a viewer shows lies voxel on voxel under the mask."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from nibabel.nifti1 import Nifti1Header
from nibabel.nifti2 import Nifti2Header
from numpy.typing import NDArray

from phantoms.dicom import body, write_series
from phantoms.nifti import nifti_bytes, signed_permutations
from phantoms.pictures import encoded, shades
from phantoms.results import dicom_grid, picture_grid, result_of, stored_nifti
from sigap.core.result import Result
from sigap.core.study import DecodeOptions, InputFile, Limits, Study
from sigap.encoders.image import write_image
from sigap.encoders.nifti import write_nifti
from sigap.imaging.decode import decode

OBLIQUE = np.array([[-0.7, 0.05, 0.02, 91.123456], [0.04, 0.9, -0.1, -33.3], [0.01, 0.11, 2.5, 12.7], [0, 0, 0, 1]])
FRAME = ("dim", "pixdim", "xyzt_units", "qform_code", "sform_code", "quatern_b", "quatern_c", "quatern_d")
OFFSETS = ("qoffset_x", "qoffset_y", "qoffset_z", "srow_x", "srow_y", "srow_z")
Read = Callable[[bytes], Study]


def hounsfield(shape: tuple[int, ...], dtype: type[np.generic]) -> NDArray[Any]:
    return (np.arange(np.prod(shape)).reshape(shape) * 7 - 1000).astype(dtype)


def of_nifti(header: Nifti1Header, dtype: type[np.generic] = np.int16, shape: tuple[int, ...] = (6, 5, 4)) -> Result:
    image = stored_nifti(shape, OBLIQUE, header)
    decoded = np.ascontiguousarray(image.decoded(hounsfield(shape[:3], dtype)))
    return result_of(np.zeros(decoded.shape, np.uint8), nifti=image, kind="nifti", voxels=decoded)


def of_series(dtype: type[np.generic] = np.int16, **more: Any) -> Result:
    return result_of(np.zeros((4, 5, 6), np.uint8), grid=dicom_grid(**more), voxels=hounsfield((4, 5, 6), dtype))


def of_picture() -> Result:
    grid = picture_grid(24, 36, spacing_mm=(0.5, 0.25))
    return result_of(np.zeros((1, 24, 36), np.uint8), grid=grid, kind="png", voxels=shades()[None])


def swapped_with_qform() -> Nifti2Header:
    header = Nifti2Header(endianness=">")
    header.set_qform(OBLIQUE, 3, strip_shears=True)
    return header


RESULTS: dict[str, Callable[[], Result]] = {
    "NIfTI": lambda: of_nifti(Nifti1Header()),
    "NIfTI, big-endian": lambda: of_nifti(Nifti1Header(endianness=">")),
    "NIfTI-2, big-endian, qform and sform, fractions": lambda: of_nifti(swapped_with_qform(), np.float32),
    "NIfTI of four axes": lambda: of_nifti(Nifti1Header(), shape=(6, 5, 4, 1)),
    "a series": of_series,
    "a series with fractions": lambda: of_series(np.float32),
    "a tilted series": lambda: of_series(slice_step_lps_mm=(0.0, -0.9, 2.5)),
    "an uneven series": lambda: of_series(slice_positions_mm=(300.0, 302.5, 305.0, 315.0)),
    "a picture": of_picture,
}


@pytest.mark.parametrize("case", RESULTS)
def test_scan_and_mask_lie_in_the_same_place(tmp_path: Path, case: str) -> None:
    result = RESULTS[case]()
    write_nifti(result, tmp_path / "mask.nii.gz")
    write_image(result.study, tmp_path / "image.nii.gz")
    mask, image = nib.load(tmp_path / "mask.nii.gz"), nib.load(tmp_path / "image.nii.gz")

    assert type(image.header) is type(mask.header)
    assert image.header.endianness == mask.header.endianness
    assert image.shape == mask.shape
    assert np.array_equal(image.affine, mask.affine)
    for field in (*FRAME, *OFFSETS):
        assert np.array_equal(image.header[field], mask.header[field]), field


@pytest.mark.parametrize("case", RESULTS)
def test_its_voxels_are_the_decoded_ones(tmp_path: Path, case: str) -> None:
    study = RESULTS[case]().study
    write_image(study, tmp_path / "image.nii.gz")
    image = nib.load(tmp_path / "image.nii.gz")
    stored = np.asarray(image.dataobj).reshape(image.shape[:3])
    voxels = study.volume.voxels
    axes = study.origin.nifti.axes if study.origin.nifti else (2, 1, 0)

    assert image.header.get_data_dtype().newbyteorder("=") == voxels.dtype
    assert (image.dataobj.slope, image.dataobj.inter) == (1, 0)
    assert np.array_equal(stored.transpose(axes), voxels)


@pytest.fixture
def read(tmp_path: Path) -> Read:
    def decode_bytes(content: bytes) -> Study:
        (tmp_path / "upload").write_bytes(content)
        return decode(
            [InputFile(tmp_path / "upload", "upload")], workspace=tmp_path, options=DecodeOptions(), limits=Limits()
        )

    return decode_bytes


def test_a_nifti_comes_back_as_it_was_sent(tmp_path: Path, read: Read) -> None:
    voxels = hounsfield((4, 5, 6), np.int16)
    for stored, affine in signed_permutations(voxels, OBLIQUE):
        for byte_order in "<>":
            write_image(read(nifti_bytes(stored, affine, byte_order=byte_order)), tmp_path / "image.nii.gz")
            image = nib.load(tmp_path / "image.nii.gz")
            assert np.array_equal(np.asarray(image.dataobj), stored)
            assert image.affine == pytest.approx(affine, abs=1e-5)


def test_a_slope_is_taken_into_the_numbers(tmp_path: Path, read: Read) -> None:
    stored = np.arange(60, dtype=np.uint16).reshape(5, 4, 3)
    write_image(
        read(nifti_bytes(stored, fields={"scl_slope": 2, "scl_inter": -1024, "descrip": b"DOE^JANE"})),
        tmp_path / "image.nii.gz",
    )
    image = nib.load(tmp_path / "image.nii.gz")
    assert np.array_equal(np.asarray(image.dataobj), stored.astype(np.int16) * 2 - 1024)
    assert bytes(image.header["descrip"]).rstrip(b"\0") == b"CT numbers in HU"
    assert image.header.get_intent()[0] == "none"


def test_a_series_is_read_back_at_its_positions(tmp_path: Path, read: Read) -> None:
    voxels = body()
    files = [InputFile(path, path.name) for path in write_series(tmp_path / "series", voxels)]
    write_image(decode(files, workspace=tmp_path, options=DecodeOptions(), limits=Limits()), tmp_path / "image.nii.gz")
    again = read((tmp_path / "image.nii.gz").read_bytes()).volume
    # write_series starts at LPS (-20, -16, -100), with steps of 5, 1 and 1 mm.
    assert again.grid.world_lps_mm((2, 3, 4)) == pytest.approx([-16, -13, -90])
    assert np.array_equal(again.voxels, voxels)


def test_a_picture_says_that_it_has_no_ct_numbers(tmp_path: Path, read: Read) -> None:
    write_image(read(encoded(shades(), "PNG")), tmp_path / "image.nii.gz")
    image = nib.load(tmp_path / "image.nii.gz")
    assert b"no CT numbers" in bytes(image.header["descrip"])
    assert np.array_equal(np.asarray(image.dataobj)[..., 0], shades().T)


def test_equal_studies_are_equal_bytes(tmp_path: Path) -> None:
    study = of_series().study
    write_image(study, tmp_path / "one.nii.gz")
    write_image(study, tmp_path / "two.nii.gz")
    assert (tmp_path / "one.nii.gz").read_bytes() == (tmp_path / "two.nii.gz").read_bytes()
