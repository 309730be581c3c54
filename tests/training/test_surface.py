"""Surface distances by hand, and as MONAI's own functions give them."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from monai.metrics import compute_average_surface_distance, compute_hausdorff_distance

from sigap_training.evaluation.surface import surface_distance


def test_two_single_voxels_are_their_distance_apart() -> None:
    found, truth = np.zeros((4, 5, 6), bool), np.zeros((4, 5, 6), bool)
    found[0, 0, 0] = truth[1, 2, 2] = True
    distance = surface_distance(found, truth, (3.0, 2.0, 1.5))
    assert distance is not None
    assert distance.hd95_mm == pytest.approx(np.sqrt(9 + 16 + 9))
    assert distance.assd_mm == pytest.approx(np.sqrt(34))


def test_two_plates_two_slices_apart() -> None:
    found, truth = np.zeros((6, 4, 4), bool), np.zeros((6, 4, 4), bool)
    found[1], truth[3] = True, True
    distance = surface_distance(found, truth, (2.5, 1.0, 1.0))
    assert distance is not None
    assert (distance.hd95_mm, distance.assd_mm) == pytest.approx((5.0, 5.0))


def test_equal_masks_are_nothing_apart_even_at_the_edge() -> None:
    mask = np.ones((3, 4, 5), bool)
    distance = surface_distance(mask, mask, (1.0, 1.0, 1.0))
    assert distance is not None
    assert (distance.hd95_mm, distance.assd_mm) == (0, 0)


def test_it_is_null_without_a_voxel_or_a_spacing() -> None:
    mask, nothing = np.ones((2, 3, 3), bool), np.zeros((2, 3, 3), bool)
    assert surface_distance(mask, nothing, (1.0, 1.0, 1.0)) is None
    assert surface_distance(nothing, mask, (1.0, 1.0, 1.0)) is None
    assert surface_distance(nothing, nothing, (1.0, 1.0, 1.0)) is None
    assert surface_distance(mask, mask, (None, 1.0, 1.0)) is None


def test_it_is_what_monai_says() -> None:
    found, truth = np.zeros((12, 20, 22), bool), np.zeros((12, 20, 22), bool)
    found[3:8, 4:12, 5:15], truth[4:10, 6:15, 4:13] = True, True
    found[10, 18, 20] = True
    spacing = (2.5, 0.8, 1.1)
    pair = [torch.from_numpy(mask)[None, None] for mask in (found, truth)]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*always_return_as_numpy.*", category=FutureWarning)
        hausdorff = compute_hausdorff_distance(*pair, include_background=True, percentile=95, spacing=spacing)
        average = compute_average_surface_distance(*pair, include_background=True, symmetric=True, spacing=spacing)
    distance = surface_distance(found, truth, spacing)
    assert distance is not None
    assert distance.hd95_mm == pytest.approx(float(hausdorff), rel=1e-5)
    assert distance.assd_mm == pytest.approx(float(average), rel=1e-5)
