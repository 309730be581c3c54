import gzip
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from nibabel.nifti1 import Nifti1Header
from nibabel.nifti2 import Nifti2Header
from numpy.typing import NDArray

from phantoms.results import dicom_grid, picture_grid, result_of, small_labelmap, stored_nifti
from sigap.core.result import Result
from sigap.core.study import NiftiFrame
from sigap.encoders.nifti import affine_notice, affine_ras, write_nifti

OBLIQUE = np.array([[-0.7, 0.05, 0.02, 91.123456], [0.04, 0.9, -0.1, -33.3], [0.01, 0.11, 2.5, 12.7], [0, 0, 0, 1]])
FRAME_BYTES = slice(252, 328)


def mask_of(result: Result, tmp_path: Path):
    path = tmp_path / "mask.nii.gz"
    write_nifti(result, path)
    return nib.load(path)


def nifti_result(
    shape: tuple[int, ...] = (6, 5, 4), affine: NDArray[np.float64] = OBLIQUE, header: Nifti1Header | None = None
):
    image = stored_nifti(shape, affine, header)
    labels = np.zeros(shape[:3], np.uint8)
    labels[1, 2, 3] = 1
    labels[2, 2:4, 3] = 2
    return result_of(np.ascontiguousarray(image.decoded(labels)), nifti=image, kind="nifti"), labels


def test_codes_quaternion_and_affine_are_the_inputs_bytes(tmp_path: Path) -> None:
    header = Nifti1Header()
    header.set_qform(OBLIQUE, 3, strip_shears=True)
    result, labels = nifti_result(header=header)
    mask = mask_of(result, tmp_path)
    stored = gzip.decompress((tmp_path / "mask.nii.gz").read_bytes())
    assert stored[FRAME_BYTES] == header.binaryblock[FRAME_BYTES]
    assert stored[40:56] == header.binaryblock[40:56]  # dim
    assert stored[76:108] == header.binaryblock[76:108]  # pixdim
    assert np.array_equal(mask.affine, header.get_best_affine())
    assert (int(mask.header["sform_code"]), int(mask.header["qform_code"])) == (2, 3)
    assert np.array_equal(np.asarray(mask.dataobj), labels)


@pytest.mark.parametrize("kind", [Nifti1Header, Nifti2Header])
@pytest.mark.parametrize("order", ["<", ">"])
def test_version_and_byte_order_are_the_inputs(tmp_path: Path, kind: Any, order: str) -> None:
    result, labels = nifti_result(header=kind(endianness=order))
    mask = mask_of(result, tmp_path)
    assert isinstance(mask.header, kind)
    assert isinstance(mask.header, Nifti2Header) == (kind is Nifti2Header)
    assert mask.header.endianness == order
    assert np.array_equal(np.asarray(mask.dataobj), labels)


def test_an_image_of_a_pair_becomes_a_single_file(tmp_path: Path) -> None:
    header = Nifti1Header()
    header["magic"] = b"ni1"
    result, labels = nifti_result(header=header)
    assert np.array_equal(np.asarray(mask_of(result, tmp_path).dataobj), labels)


def test_a_trailing_axis_of_one_stays(tmp_path: Path) -> None:
    result, labels = nifti_result(shape=(6, 5, 4, 1))
    mask = mask_of(result, tmp_path)
    assert mask.shape == (6, 5, 4, 1)
    assert np.array_equal(np.asarray(mask.dataobj)[..., 0], labels)


def test_nothing_of_the_input_but_its_frame_is_kept(tmp_path: Path) -> None:
    header = Nifti1Header()
    header["descrip"], header["aux_file"], header["db_name"] = b"DOE^JANE", b"doe.txt", b"19500101"
    header["intent_name"], header["scl_slope"], header["scl_inter"] = b"DOE", 2, -1024
    header["cal_max"] = 80
    result, _ = nifti_result(header=header)
    mask = mask_of(result, tmp_path)
    stored = gzip.decompress((tmp_path / "mask.nii.gz").read_bytes())
    assert b"DOE" not in stored
    assert b"doe" not in stored
    assert b"1950" not in stored
    assert struct.unpack("<2f", stored[112:120]) == (1, 0)
    assert struct.unpack("<2f", stored[124:132]) == (0, 0)
    assert stored[348:352] == bytes(4)
    assert mask.header.get_data_dtype() == np.uint8
    assert mask.header.get_intent()[0] == "label"
    assert bytes(mask.header["descrip"]).rstrip(b"\0") == b"0 background, 1 liver outside tumour, 2 tumour"


def test_equal_results_are_equal_bytes(tmp_path: Path) -> None:
    result, _ = nifti_result()
    write_nifti(result, tmp_path / "one.nii.gz")
    write_nifti(result, tmp_path / "two.nii.gz")
    assert (tmp_path / "one.nii.gz").read_bytes() == (tmp_path / "two.nii.gz").read_bytes()


def test_a_header_of_another_shape_is_refused(tmp_path: Path) -> None:
    result, _ = nifti_result()
    frame = NiftiFrame(result.study.origin.nifti.header, (0, 1, 2))
    broken = replace(result, study=replace(result.study, origin=replace(result.study.origin, nifti=frame)))
    with pytest.raises(ValueError, match="not the volume's"):
        write_nifti(broken, tmp_path / "mask.nii.gz")


def test_a_series_lies_at_its_positions_in_ras(tmp_path: Path) -> None:
    labelmap = small_labelmap()
    mask = mask_of(result_of(labelmap), tmp_path)
    assert np.array_equal(np.asarray(mask.dataobj), labelmap.transpose(2, 1, 0))
    # dicom_grid starts at LPS (-100, -90, 300), with steps of 0.7, 0.8 and 2.5 mm.
    assert nib.affines.apply_affine(mask.affine, [2, 3, 1]) == pytest.approx([100 - 1.4, 90 - 2.4, 302.5], abs=1e-4)
    assert (int(mask.header["sform_code"]), int(mask.header["qform_code"])) == (1, 1)
    assert np.allclose(mask.get_qform(), mask.get_sform(), atol=1e-3)
    assert mask.header.get_zooms() == pytest.approx((0.7, 0.8, 2.5))
    assert mask.header.get_xyzt_units()[0] == "mm"


def test_a_tilt_is_a_shear_that_no_qform_can_say(tmp_path: Path) -> None:
    result = result_of(small_labelmap(), grid=dicom_grid(slice_step_lps_mm=(0.0, -0.9, 2.5)))
    mask = mask_of(result, tmp_path)
    assert (int(mask.header["sform_code"]), int(mask.header["qform_code"])) == (1, 0)
    assert mask.affine[:3, 2] == pytest.approx([0.0, 0.9, 2.5])
    assert mask.header.get_zooms()[2] == pytest.approx(np.hypot(0.9, 2.5))


def test_uneven_slices_have_no_affine_and_say_so(tmp_path: Path) -> None:
    grid = dicom_grid(slice_positions_mm=(300.0, 302.5, 305.0, 315.0))
    result = result_of(small_labelmap(), grid=grid)
    mask = mask_of(result, tmp_path)
    assert (int(mask.header["sform_code"]), int(mask.header["qform_code"])) == (0, 0)
    assert mask.header.get_zooms() == pytest.approx((0.7, 0.8, 2.5))
    notice = affine_notice(result.study.volume)
    assert notice is not None
    assert notice.code == "no_single_affine"
    assert affine_notice(result_of(small_labelmap()).study.volume) is None


def test_a_single_slice_steps_towards_the_head() -> None:
    grid = replace(dicom_grid((1, 5, 6)), row_step_lps_mm=np.array([0.0, -0.8, 0.0]))
    assert affine_ras(grid)[:3, 2] == pytest.approx([0, 0, 2.5])
    assert affine_ras(replace(grid, spacing_mm=(None, 0.8, 0.7), shares_mm=None))[:3, 2] == pytest.approx([0, 0, 1])


@pytest.mark.parametrize(
    ("spacing_mm", "thickness_mm", "zooms", "unit"),
    [
        (None, None, (1, 1, 1), "unknown"),
        ((0.5, 0.25), None, (0.25, 0.5, 1), "mm"),
        ((0.5, 0.25), 3, (0.25, 0.5, 3), "mm"),
    ],
)
def test_a_picture_says_no_more_than_is_known(
    tmp_path: Path,
    spacing_mm: tuple[float, float] | None,
    thickness_mm: float | None,
    zooms: tuple[float, ...],
    unit: str,
) -> None:
    grid = picture_grid(5, 6, spacing_mm=spacing_mm, thickness_mm=thickness_mm)
    mask = mask_of(result_of(small_labelmap()[1:2], grid=grid, kind="png"), tmp_path)
    assert mask.shape == (6, 5, 1)
    assert (int(mask.header["sform_code"]), int(mask.header["qform_code"])) == (0, 0)
    assert mask.header.get_zooms() == pytest.approx(zooms)
    assert mask.header.get_xyzt_units()[0] == unit


def test_a_picture_longer_than_nifti_1_can_say_is_nifti_2(tmp_path: Path) -> None:
    labelmap = np.zeros((1, 2, 40_000), np.uint8)
    labelmap[0, 1, 39_999] = 1
    mask = mask_of(result_of(labelmap, grid=picture_grid(2, 40_000), kind="png"), tmp_path)
    assert mask.shape == (40_000, 2, 1)
    assert np.asarray(mask.dataobj)[39_999, 1, 0] == 1
