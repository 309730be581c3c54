"""Whatever a NIfTI input's axes and affine are, its mask lies on it."""

import tempfile
from pathlib import Path

import nibabel as nib
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from phantoms.results import dicom_grid, result_of, stored_nifti
from sigap.core.result import Result
from sigap.encoders.nifti import write_nifti

LPS_TO_RAS = np.array([-1, -1, 1])


@st.composite
def affines(draw: st.DrawFn):
    """Rotations, flips and spacings, in any combination."""
    angles = [draw(st.floats(-180, 180)) for _ in range(3)]
    spacing = [draw(st.floats(0.2, 6)) * draw(st.sampled_from([-1, 1])) for _ in range(3)]
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", angles, degrees=True).as_matrix() * spacing
    affine[:3, 3] = [draw(st.floats(-500, 500)) for _ in range(3)]
    return affine


def saved(result: Result):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mask.nii.gz"
        write_nifti(result, path)
        image = nib.load(path)
        return image.header, np.asarray(image.dataobj)


@given(affine=affines(), labels=hnp.arrays(np.uint8, st.tuples(*[st.integers(2, 4)] * 3), elements=st.integers(0, 2)))
@settings(max_examples=50, deadline=None)
def test_a_nifti_mask_is_the_input_voxel_for_voxel(affine: NDArray[np.float64], labels: NDArray[np.uint8]) -> None:
    image = stored_nifti(labels.shape, affine)
    header, mask = saved(result_of(np.ascontiguousarray(image.decoded(labels)), nifti=image, kind="nifti"))
    assert np.array_equal(mask, labels)
    assert np.array_equal(header.get_sform(), image.header.get_sform())
    assert int(header["sform_code"]) == 2


@given(
    step=st.tuples(st.floats(-1, 1), st.floats(-1, 1), st.floats(0.3, 6)),
    index=st.tuples(st.integers(0, 3), st.integers(0, 4), st.integers(0, 5)),
)
@settings(max_examples=50, deadline=None)
def test_a_series_voxel_is_where_the_grid_says(step: tuple[float, float, float], index: tuple[int, int, int]) -> None:
    grid = dicom_grid(slice_step_lps_mm=step)
    header, _ = saved(result_of(np.zeros(grid.shape, np.uint8), grid=grid))
    place = nib.affines.apply_affine(header.get_best_affine(), index[::-1])
    assert np.allclose(place, grid.world_lps_mm(index) * LPS_TO_RAS, atol=1e-3)
    if int(header["qform_code"]):
        assert np.allclose(nib.affines.apply_affine(header.get_qform(), index[::-1]), place, atol=0.06)
