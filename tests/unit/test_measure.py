from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from numpy.typing import NDArray

from phantoms.scenes import BLEED, LESION, ORGAN, box, contract, grid, levels, unknown_grid, volume
from sigap.core.contract import Label
from sigap.core.grid import Grid
from sigap.core.segmentation import Dropped, Segmentation
from sigap.core.study import Volume
from sigap.imaging.measure import measure
from sigap.imaging.measure.abc2 import abc2
from sigap.imaging.postprocess import segment

SHAPE = (6, 20, 20)
BOTH = (ORGAN, LESION)


def truth(
    labelmap: NDArray[np.integer],
    on: Grid | None = None,
    labels: tuple[Label, ...] = (BLEED,),
    measures: tuple[str, ...] = (),
    voxels: NDArray[Any] | None = None,
):
    on = grid(labelmap.shape) if on is None else on
    seen = volume(on) if voxels is None else Volume(voxels, is_hounsfield=True, grid=on)
    return measure(Segmentation(labelmap.astype(np.uint8)), seen, contract(labels, measures=measures))


def blob(*ranges: tuple[int, int], shape: tuple[int, int, int] = SHAPE):
    return box(shape, *ranges, value=1).astype(np.uint8)


def test_a_box_has_the_volume_of_a_box():
    found = truth(blob((1, 3), (2, 7), (4, 14)), grid(SHAPE, (2.0, 0.5, 0.8)))
    (label,), (lesion,) = found.labels, found.lesions
    assert label.voxels == lesion.voxels == 100
    assert label.volume_ml == lesion.volume_ml == pytest.approx(100 * 2 * 0.5 * 0.8 / 1000)
    assert lesion.bounding_box == ((1, 3), (2, 7), (4, 14))
    assert lesion.longest_diameter_mm == pytest.approx(math.hypot(5 * 0.5, 10 * 0.8))
    assert (lesion.id, lesion.label, lesion.key_slice) == (1, "bleed", 1)
    assert lesion.centroid_lps_mm == pytest.approx((8.5 * 0.8, 4 * 0.5, 1.5 * 2))
    assert label.interval_ml is None, "a truth mask has no thresholds"
    assert label.area_mm2 is label.area_px is lesion.area_mm2 is lesion.area_px is None, "not of a volume"
    assert lesion.abc2_ml is lesion.abc2_disagrees is None, "the contract does not name it"
    assert found.measures == {}


def test_a_ball_has_the_volume_of_a_ball():
    slices, rows, columns = np.indices((40, 60, 60))
    ball = ((slices - 20) * 1.5) ** 2 + (rows - 30) ** 2 + (columns - 29.5) ** 2 <= 25**2
    (lesion,) = truth(ball, grid(ball.shape, (1.5, 1.0, 1.0))).lesions
    assert lesion.volume_ml == pytest.approx(4 / 3 * math.pi * 25**3 / 1000, rel=0.005)
    assert lesion.longest_diameter_mm == pytest.approx(51, abs=0.7), "pixel corners stand half a pixel out"
    assert lesion.perpendicular_diameter_mm == pytest.approx(50, abs=1.5)
    assert lesion.key_slice == 20


def test_uneven_slices_count_by_their_shares():
    on = grid(SHAPE, shares_mm=[1, 1, 3, 5, 5, 5])
    found = truth(blob((1, 4), (0, 10), (0, 10)), on)
    assert found.labels[0].volume_ml == pytest.approx(100 * (1 + 3 + 5) / 1000)
    heights = on.first_voxels_lps_mm[1:4, 2]
    assert found.lesions[0].centroid_lps_mm[2] == pytest.approx(np.average(heights, weights=[1, 3, 5]))


def test_a_sheared_grid_moves_the_centroid_and_no_volume():
    straight = grid(SHAPE)
    tilted = replace(straight, first_voxels_lps_mm=straight.first_voxels_lps_mm + np.outer(np.arange(6), [0, 3.0, 0]))
    mask = blob((2, 5), (0, 10), (0, 10))
    before, after = truth(mask, straight).lesions[0], truth(mask, tilted).lesions[0]
    assert after.volume_ml == before.volume_ml
    assert after.longest_diameter_mm == before.longest_diameter_mm
    assert np.subtract(after.centroid_lps_mm, before.centroid_lps_mm) == pytest.approx([0, 9, 0])


def test_lesions_are_26_connected_and_sorted_by_volume():
    mask = blob((0, 1), (0, 2), (0, 2)) + blob((1, 2), (2, 3), (2, 3)) + blob((4, 6), (10, 14), (10, 14))
    found = truth(mask)
    assert [(lesion.id, lesion.voxels) for lesion in found.lesions] == [(1, 32), (2, 5)]
    thick_below = grid(SHAPE, shares_mm=[40, 40, 1, 1, 1, 1])
    assert [lesion.voxels for lesion in truth(mask, thick_below).lesions] == [5, 32], "by volume, not by voxels"


def test_equal_lesions_come_in_the_order_of_their_places():
    mask = blob((3, 4), (9, 11), (9, 11)) + blob((3, 4), (2, 4), (5, 7)) + blob((0, 1), (15, 17), (0, 2))
    assert [lesion.bounding_box[0][0] for lesion in truth(mask).lesions] == [0, 3, 3]
    assert [lesion.bounding_box[1][0] for lesion in truth(mask).lesions] == [15, 2, 9]


def test_lesions_stand_in_the_order_of_the_millilitres_that_are_told():
    shares = [2.5 + step * 1e-12 for step in (0, 3, 1, 5, 2, 4)]
    mask = sum(blob((place, place + 1), (3 * place, 3 * place + 2), (0, 2)) for place in range(6))
    volumes = [lesion.volume_ml for lesion in truth(mask, grid(SHAPE, shares_mm=shares)).lesions]
    assert volumes == sorted(volumes, reverse=True)
    assert len(set(volumes)) == 6, "slices whose shares differ by a rounding"


def test_the_key_slice_shows_the_longest_diameter_and_is_the_lowest_of_equals():
    mask = blob((0, 1), (0, 4), (0, 4)) + blob((1, 2), (0, 1), (0, 9)) + blob((2, 4), (0, 1), (0, 12))
    (lesion,) = truth(mask).lesions
    assert lesion.key_slice == 2, "neither the largest area nor the last"
    assert lesion.longest_diameter_mm == pytest.approx(math.hypot(1, 12))
    assert lesion.perpendicular_diameter_mm == pytest.approx(math.hypot(1, 12) / 12)


def test_hounsfield_numbers():
    mask = blob((0, 1), (0, 1), (0, 4))
    voxels = np.zeros(SHAPE, np.int16)
    voxels[0, 0, :4] = [-10, 20, 30, 40]
    for kind in (np.int16, np.float32):
        hu = truth(mask, voxels=voxels.astype(kind)).labels[0].hu
        assert (hu.mean, hu.min, hu.max) == (20, -10, 40)
        assert hu.sd == pytest.approx(math.sqrt((30**2 + 0 + 10**2 + 20**2) / 4)), "ddof 0"


def test_hounsfield_numbers_far_from_zero_keep_their_spread():
    voxels = np.full(SHAPE, 30_000, np.int16)
    voxels[0, 0, 0] = 30_001
    hu = truth(np.ones(SHAPE, np.uint8), voxels=voxels).labels[0].hu
    count = math.prod(SHAPE)
    assert hu.sd == pytest.approx(math.sqrt((count - 1) / count**2), rel=1e-12)


def test_nothing_found_is_zero_and_null():
    found = truth(np.zeros(SHAPE), labels=BOTH, measures=("burden", "abc2"))
    assert [label.voxels for label in found.labels] == [0, 0]
    assert [label.volume_ml for label in found.labels] == [0, 0]
    assert [label.hu for label in found.labels] == [None, None]
    assert [label.dropped_volume_ml for label in found.labels] == [0, 0]
    assert found.lesions == ()
    assert found.measures == {"lesion_burden_percent": None}


def test_an_organ_counts_what_it_contains_and_the_burden_is_its_part():
    labelmap = blob((0, 4), (0, 10), (0, 10))
    labelmap[1:3, 2:7, 2:7] = 2
    found = truth(labelmap, labels=BOTH, measures=("burden",))
    organ, lesion = found.labels
    assert (organ.voxels, lesion.voxels) == (400, 50)
    assert found.measures["lesion_burden_percent"] == pytest.approx(12.5)
    assert len(found.lesions) == 1
    assert truth(labelmap, labels=BOTH).measures == {}


def test_intervals_are_the_volumes_at_the_three_thresholds():
    passed = box(SHAPE, (0, 2), (0, 10), (0, 10)) - box(SHAPE, (0, 1), (0, 5), (0, 10), value=1)
    passed += box(SHAPE, (1, 2), (0, 10), (0, 10), value=1)
    on, task = grid(SHAPE), contract((BLEED,))
    found = measure(segment(levels((BLEED,), {"bleed": passed}), volume(on), task), volume(on), task).labels[0]
    assert found.volume_ml == pytest.approx(150 * 2 / 1000)
    assert found.interval_ml == pytest.approx((100 * 2 / 1000, 200 * 2 / 1000))


def test_what_was_dropped_has_a_volume():
    dropped = {"bleed": Dropped(3, np.array([0, 10, 0, 0, 0, 20]))}
    on = grid(SHAPE, shares_mm=[1, 2, 3, 4, 5, 6])
    found = measure(Segmentation(np.zeros(SHAPE, np.uint8), dropped), volume(on), contract((BLEED,))).labels[0]
    assert found.dropped_components == 3
    assert found.dropped_volume_ml == pytest.approx((10 * 2 + 20 * 6) / 1000)


def test_a_single_slice_has_an_area_and_millilitres_only_with_a_thickness():
    shape = (1, 20, 20)
    mask = blob((0, 1), (0, 4), (0, 3), shape=shape)
    thick = grid(shape, (5.0, 0.5, 0.5))
    found = truth(mask, thick)
    assert found.labels[0].area_px == found.lesions[0].area_px == 12
    assert found.labels[0].area_mm2 == found.lesions[0].area_mm2 == pytest.approx(3)
    assert found.lesions[0].volume_ml == pytest.approx(0.015)
    flat = truth(mask, replace(thick, shares_mm=None), measures=("abc2",))
    assert flat.labels[0].area_mm2 == pytest.approx(3)
    assert flat.lesions[0].longest_diameter_mm == pytest.approx(2.5)
    assert flat.labels[0].volume_ml is flat.lesions[0].volume_ml is flat.lesions[0].abc2_ml is None


def test_without_spacing_only_pixels_are_counted():
    shape = (1, 20, 20)
    labelmap = blob((0, 1), (0, 4), (0, 3), shape=shape)
    labelmap[0, 0, :3] = 2
    picture = Volume(np.zeros(shape, np.uint8), is_hounsfield=False, grid=unknown_grid(shape))
    found = measure(Segmentation(labelmap), picture, contract(BOTH, measures=("burden", "abc2")))
    assert [label.area_px for label in found.labels] == [12, 3]
    (lesion,) = found.lesions
    for number in (
        found.labels[0].volume_ml,
        found.labels[0].area_mm2,
        found.labels[0].hu,
        lesion.hu,
        lesion.volume_ml,
    ):
        assert number is None
    assert lesion.longest_diameter_mm is lesion.perpendicular_diameter_mm is lesion.centroid_lps_mm is None
    assert lesion.abc2_ml is lesion.abc2_weighted_ml is lesion.abc2_disagrees is None
    assert found.measures["lesion_burden_percent"] == pytest.approx(25)


def test_abc2_of_a_stack_of_squares():
    # Side 10, 8 (64 %), 4 (16 %): whole, half and not at all. A = B = the diagonal of 10 x 10.
    mask = blob((0, 1), (0, 10), (0, 10)) + blob((1, 2), (0, 8), (0, 8)) + blob((2, 3), (0, 4), (0, 4))
    on = grid(SHAPE, shares_mm=[2, 4, 8, 1, 1, 1])
    (lesion,) = truth(mask, on, measures=("abc2",)).lesions
    assert lesion.abc2_ml == pytest.approx(200 * (2 + 4 + 8) / 2 / 1000)
    assert lesion.abc2_weighted_ml == pytest.approx(200 * (2 + 4 / 2) / 2 / 1000)
    assert lesion.abc2_disagrees is False, "apart by less than 5 mL"


def test_abc2_of_an_ellipsoid_is_near_its_volume():
    slices, rows, columns = np.indices((20, 90, 90))
    bleed = ((slices - 9.5) * 3 / 25) ** 2 + ((rows - 45) / 40) ** 2 + ((columns - 45) / 20) ** 2 <= 1
    (lesion,) = truth(bleed, grid(bleed.shape, (3.0, 1.0, 1.0)), measures=("abc2",)).lesions
    assert lesion.volume_ml == pytest.approx(4 / 3 * math.pi * 25 * 40 * 20 / 1000, rel=0.01)
    # 1 / 2 against pi / 6, and the outermost slices are whole.
    assert lesion.abc2_ml == pytest.approx(lesion.volume_ml, rel=0.12)
    assert lesion.abc2_disagrees is False


def test_abc2_disagrees_only_beyond_both_limits():
    mask, on = np.ones((10, 100, 100), bool), grid((10, 100, 100))
    estimate = abc2(mask, on, 0, 200.0).volume_ml
    for volume_ml, disagrees in (
        (estimate + 4.9, False),
        (estimate - 4.9, False),
        (estimate * 1.2, False),
        (estimate * 1.3, True),
    ):
        assert abc2(mask, on, 0, volume_ml).disagrees is disagrees
    small = abc2(mask[:1, :20, :20], on, 0, 2.0)
    assert abs(small.volume_ml - 2) > 0.2 * 2
    assert small.disagrees is False, "far in percent, near in millilitres"


def test_every_number_is_a_plain_finite_one():
    found = truth(blob((1, 3), (2, 7), (4, 14)), measures=("abc2",))
    for holder in (*found.labels, *found.lesions):
        for name, value in vars(holder).items():
            if isinstance(value, int | float) and not isinstance(value, bool):
                assert type(value) in {int, float}, name
                assert math.isfinite(value)
    assert all(type(part) is int for bounds in found.lesions[0].bounding_box for part in bounds)
    assert all(type(part) is float for part in found.lesions[0].centroid_lps_mm)


@pytest.mark.parametrize(
    ("name", "label", "millilitres"),
    [("abdomen_ct_liver_truth.nii.gz", ORGAN, 1489.41), ("head_ich_blood.nii.gz", BLEED, 17.67)],
)
def test_truth_masks_of_real_studies_have_their_known_volumes(
    samples: Path, name: str, label: Label, millilitres: float
):
    image = nibabel.load(samples / name)
    column_mm, row_mm, slice_mm = (float(size) for size in image.header.get_zooms())
    labelmap = np.ascontiguousarray(np.asarray(image.dataobj).T > 0).astype(np.uint8)
    found = truth(labelmap, grid(labelmap.shape, (slice_mm, row_mm, column_mm)), labels=(label,)).labels[0]
    assert found.volume_ml == pytest.approx(millilitres, abs=0.01)
    assert found.volume_ml == pytest.approx(np.count_nonzero(labelmap) * slice_mm * row_mm * column_mm / 1000)
