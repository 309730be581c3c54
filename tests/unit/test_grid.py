import itertools

import numpy as np
import pytest

from sigap.core.grid import Grid, Orientation


@pytest.mark.parametrize("flags", list(itertools.product([False, True], repeat=4)))
def test_stored_and_canonical_are_inverse_views(flags: tuple[bool, bool, bool, bool]) -> None:
    voxels = np.arange(2 * 3 * 4).reshape(2, 3, 4)
    orientation = Orientation(*flags)
    canonical = orientation.to_canonical(voxels)
    assert np.array_equal(orientation.to_stored(canonical), voxels)
    assert np.shares_memory(canonical, voxels)


def test_flips_are_those_of_the_transposed_axes() -> None:
    stored = np.array([[[1, 2, 3], [4, 5, 6]]])
    assert Orientation(transpose=True, flip_rows=True).to_canonical(stored).tolist() == [[[3, 6], [2, 5], [1, 4]]]


def grid(row_step: list[float], column_step: list[float]) -> Grid:
    return Grid(
        shape=(3, 4, 5),
        spacing_mm=(5.0, 0.5, 0.7),
        shares_mm=(5.0, 5.0, 5.0),
        first_voxels_lps_mm=np.array([[0.0, 0, 0], [0, 0, 5], [0, 0, 20]]),
        row_step_lps_mm=np.array(row_step),
        column_step_lps_mm=np.array(column_step),
    )


def test_world_points_follow_the_true_positions_of_slices() -> None:
    world = grid([0, 0.5, 0], [0.7, 0, 0]).world_lps_mm((1.5, 2, 1))
    assert world is not None
    assert world.tolist() == [0.7, 1.0, 12.5]


def test_the_pixel_area_is_exact_and_knows_shear() -> None:
    assert grid([0, 0.5, 0], [0.7, 0, 0]).pixel_area_mm2 == 0.5 * 0.7
    assert grid([0.3, 0.4, 0], [0.7, 0, 0]).pixel_area_mm2 == pytest.approx(0.28)
