"""However an image is stored, it is the same image."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from nibabel.orientations import aff2axcodes
from numpy.typing import NDArray

from phantoms.nifti import nifti_bytes, signed_permutations
from sigap.core.study import Limits, Study
from sigap.imaging import nifti

VOXELS = np.random.default_rng(3).integers(-1000, 2000, (4, 3, 5)).astype(np.int16)
MARK = (3, 1, 2)
VOXELS[MARK] = 3000


def read(stored: NDArray[Any], affine_ras: NDArray[np.float64]) -> Study:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "0"
        # NIfTI-2 keeps the affine in double precision.
        path.write_bytes(nifti_bytes(stored, affine_ras, version=2))
        return nifti.read(path, is_gzip=False, sha256="", ignored=(), limits=Limits())


def turned(angles: tuple[float, float, float], sizes: tuple[float, float, float], shear: float) -> NDArray[np.float64]:
    affine = np.eye(4)
    for axis, angle in enumerate(angles):
        about = np.eye(4)
        first, second = (place for place in range(3) if place != axis)
        about[first, first] = about[second, second] = np.cos(angle)
        about[first, second], about[second, first] = -np.sin(angle), np.sin(angle)
        affine = affine @ about
    sheared = np.diag([*sizes, 1.0])
    sheared[1, 2] = shear * sizes[2]
    affine = affine @ sheared
    affine[:3, 3] = (-31.0, 17.0, 802.0)
    return affine


angle = st.floats(-np.pi, np.pi)
size = st.floats(0.2, 8.0)
affines = st.builds(turned, st.tuples(angle, angle, angle), st.tuples(size, size, size), st.floats(-0.4, 0.4))


def millilitres(study: Study) -> float:
    grid = study.volume.grid
    marked = (study.volume.voxels > 500).sum(axis=(1, 2))
    assert grid.shares_mm is not None
    assert grid.pixel_area_mm2 is not None
    return float(marked @ np.array(grid.shares_mm) * grid.pixel_area_mm2) / 1000


@given(affines)
@example(turned((0, 0, 0), (0.5, 0.75, 2.0), 0))
@example(turned((np.pi / 4, 0, 0), (1.0, 1.0, 1.0), 0))
@example(turned((np.pi / 4, np.pi / 4, np.pi / 4), (1.0, 1.0, 2.0), 0))
@settings(max_examples=12, deadline=None)
def test_no_flip_and_no_permutation_changes_what_is_seen_and_measured(affine: NDArray[np.float64]) -> None:
    first: Study | None = None
    for stored, way in signed_permutations(VOXELS, affine):
        study = read(stored, way)
        first = first or study
        seen = study.volume.grid.orientation.to_canonical(study.volume.voxels)
        expected = first.volume.grid.orientation.to_canonical(first.volume.voxels)
        np.testing.assert_array_equal(seen, expected)
        (mark,) = np.argwhere(study.volume.voxels == 3000)
        np.testing.assert_allclose(
            study.volume.grid.world_lps_mm(tuple(mark)), np.diag([-1, -1, 1, 1])[:3] @ affine @ (*MARK, 1), atol=1e-9
        )
        assert millilitres(study) == pytest.approx(millilitres(first), rel=1e-12)
        assert study.volume.grid.spacing_mm == pytest.approx(first.volume.grid.spacing_mm, rel=1e-12)


@given(affines)
@settings(max_examples=100, deadline=None)
def test_axes_are_nibabels_and_a_voxel_has_the_affines_volume(affine: NDArray[np.float64]) -> None:
    study = read(VOXELS, affine)
    assert study.origin.nifti is not None
    codes = aff2axcodes(affine)
    wanted = tuple(next(axis for axis in range(3) if codes[axis] in pair) for pair in ("SI", "AP", "RL"))
    assert study.origin.nifti.axes == wanted
    flips = study.volume.grid.orientation
    assert (flips.flip_slices, flips.flip_rows, flips.flip_columns) == (
        codes[wanted[0]] == "I",
        codes[wanted[1]] == "A",
        codes[wanted[2]] == "R",
    )
    volume = abs(np.linalg.det(affine[:3, :3])) * int((VOXELS > 500).sum()) / 1000
    assert millilitres(study) == pytest.approx(volume, rel=1e-9)
