from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
from numpy.typing import NDArray

from phantoms.scenes import BLEED, LESION, ORGAN, box, contract, grid, levels, unknown_grid, volume
from sigap.core.contract import Label, Step
from sigap.core.errors import Cancelled, ModelError
from sigap.core.grid import Grid
from sigap.core.study import Volume
from sigap.imaging.postprocess import check_steps, segment

SHAPE = (6, 20, 20)
LARGEST = Step("largest_component", "organ")


def run(
    passed: Mapping[str, NDArray[np.integer]],
    *steps: Step,
    labels: tuple[Label, ...] = (ORGAN,),
    on: Grid | None = None,
):
    return segment(levels(labels, passed), volume(on or grid(SHAPE)), contract(labels, *steps))


def test_without_steps_the_middle_threshold_makes_the_mask():
    passed = box(SHAPE, (0, 2), (0, 5), (0, 5), value=1) + box(SHAPE, (3, 5), (0, 2), (0, 2), value=3)
    found = run({"organ": passed})
    assert np.array_equal(found.labelmap, passed >= 2)
    assert found.slice_voxels["organ"].tolist() == [[25, 25, 0, 4, 4, 0], [0, 0, 0, 4, 4, 0], [0, 0, 0, 4, 4, 0]]
    assert found.dropped["organ"].components == 0
    assert found.warnings == ()


def test_the_largest_piece_stays_and_the_rest_is_counted():
    passed = (
        box(SHAPE, (0, 4), (0, 5), (0, 5))
        + box(SHAPE, (0, 1), (10, 12), (10, 12))
        + box(SHAPE, (5, 6), (18, 20), (18, 20))
    )
    found = run({"organ": passed}, LARGEST)
    assert found.labelmap.sum() == 4 * 25
    assert found.dropped["organ"].components == 2
    assert found.dropped["organ"].slice_voxels.tolist() == [4, 0, 0, 0, 0, 4]


def test_largest_is_by_true_volume_where_slices_are_uneven():
    thin = box(SHAPE, (0, 2), (0, 5), (0, 5))
    thick = box(SHAPE, (4, 5), (10, 15), (10, 15))
    on = grid(SHAPE, shares_mm=[1, 1, 1, 1, 9, 1])
    assert np.array_equal(run({"organ": thin + thick}, LARGEST, on=on).labelmap, thick > 0)
    assert np.array_equal(run({"organ": thin + thick}, LARGEST).labelmap, thin > 0)


def test_pieces_that_touch_at_a_corner_are_one():
    passed = box(SHAPE, (0, 2), (0, 5), (0, 5)) + box(SHAPE, (2, 3), (5, 6), (5, 6))
    assert run({"organ": passed}, LARGEST).labelmap.sum() == 51


def test_several_pieces_may_stay():
    passed = sum(box(SHAPE, (0, 1), (start, start + size), (0, 3)) for start, size in ((0, 3), (5, 2), (9, 1)))
    found = run({"organ": passed}, Step("keep_components", "organ", {"count": 2}))
    assert found.labelmap.sum() == 9 + 6
    assert found.dropped["organ"].components == 1


def test_holes_are_filled_in_three_dimensions():
    shell = box(SHAPE, (0, 6), (2, 12), (2, 12))
    shell[2:4, 5:8, 5:8] = 0
    assert run({"organ": shell}, Step("fill_holes", "organ")).labelmap.sum() == 6 * 100
    tunnel = shell.copy()
    tunnel[:, 6, 6] = 0
    assert run({"organ": tunnel}, Step("fill_holes", "organ")).labelmap.sum() == (tunnel > 0).sum()


def test_a_corner_to_corner_leak_is_no_leak():
    shell = box(SHAPE, (1, 4), (2, 5), (2, 5))
    shell[2, 3, 3] = shell[2, 2, 2] = 0
    assert run({"organ": shell}, Step("fill_holes", "organ")).labelmap.sum() == 27 - 1


def test_holes_of_a_single_slice_are_filled_in_two_dimensions():
    shape = (1, 12, 12)
    ring = box(shape, (0, 1), (2, 10), (2, 10))
    ring[0, 4:6, 4:6] = 0
    assert run({"organ": ring}, Step("fill_holes", "organ"), on=grid(shape)).labelmap.sum() == 64
    cut = box(shape, (0, 1), (0, 10), (2, 10))
    cut[0, 0:4, 4:6] = 0
    assert run({"organ": cut}, Step("fill_holes", "organ"), on=grid(shape)).labelmap.sum() == (cut > 0).sum()


def test_lesions_stay_only_inside_the_organ_as_it_then_is():
    organ = box(SHAPE, (0, 4), (0, 10), (0, 10))
    organ[1, 4:6, 4:6] = 0
    lesion = box(SHAPE, (1, 2), (4, 6), (4, 6)) + box(SHAPE, (5, 6), (15, 18), (15, 18))
    found = run(
        {"organ": organ, "lesion": lesion},
        Step("fill_holes", "organ"),
        Step("inside", "lesion", {"of": "organ"}),
        labels=(ORGAN, LESION),
    )
    assert (found.labelmap == 2).sum() == 4
    assert found.dropped["lesion"].components == 1
    assert found.dropped["lesion"].slice_voxels.tolist() == [0, 0, 0, 0, 0, 9]
    assert found.slice_voxels["organ"][1].sum() == 400, "the organ counts what it contains"


def test_a_parent_has_its_childs_voxels_even_outside_its_own():
    organ, lesion = box(SHAPE, (0, 1), (0, 4), (0, 4)), box(SHAPE, (0, 1), (4, 6), (0, 4))
    found = run({"organ": organ, "lesion": lesion}, labels=(ORGAN, LESION))
    assert found.slice_voxels["organ"][1].sum() == 16 + 8
    assert found.slice_voxels["lesion"][1].sum() == 8


def test_of_two_labels_that_overlap_the_later_stands():
    organ, bleed = box(SHAPE, (0, 1), (0, 4), (0, 4)), box(SHAPE, (0, 1), (2, 6), (0, 4))
    found = run({"organ": organ, "bleed": bleed}, labels=(ORGAN, BLEED))
    assert found.slice_voxels["organ"][1].sum() == (found.labelmap == 1).sum() == 8
    assert found.slice_voxels["bleed"][1].sum() == (found.labelmap == 2).sum() == 16


def test_specks_under_the_minimum_are_dropped_and_counted():
    # A voxel is 2 mm³: 50 voxels are 0.1 mL.
    passed = box(SHAPE, (0, 2), (0, 5), (0, 5)) + box(SHAPE, (0, 1), (10, 17), (10, 17))
    found = run({"bleed": passed}, Step("min_volume", "bleed", {"ml": 0.1}), labels=(BLEED,))
    assert found.labelmap.sum() == 50, "one of just the minimum stays, one of 49 voxels goes"
    assert found.dropped["bleed"].components == 1
    assert found.dropped["bleed"].slice_voxels.sum() == 49
    none = run({"bleed": passed}, Step("min_volume", "bleed", {"ml": 5}), labels=(BLEED,))
    assert none.labelmap.sum() == 0
    assert none.dropped["bleed"].components == 2


def test_without_millilitres_specks_are_counted_in_voxels():
    shape = (1, 20, 20)
    passed = box(shape, (0, 1), (0, 5), (0, 5)) + box(shape, (0, 1), (10, 12), (10, 12))
    on = unknown_grid(shape)
    step = Step("min_volume", "bleed", {"ml": 100, "voxels": 5})
    assert run({"bleed": passed}, step, labels=(BLEED,), on=on).labelmap.sum() == 25
    assert run({"bleed": passed}, Step("min_volume", "bleed", {"ml": 100}), labels=(BLEED,), on=on).labelmap.sum() == 29


def test_each_threshold_is_post_processed_by_itself():
    # At the low threshold a bridge joins the two pieces; at the high one the larger piece is gone.
    passed = box(SHAPE, (0, 1), (0, 4), (0, 4)) + box(SHAPE, (0, 1), (6, 9), (0, 3), value=3)
    passed += box(SHAPE, (0, 1), (4, 6), (0, 1), value=1)
    assert run({"organ": passed}, LARGEST).slice_voxels["organ"][:, 0].tolist() == [16 + 9 + 2, 16, 9]


def test_nothing_found_is_an_answer():
    found = run(
        {"organ": np.zeros(SHAPE), "lesion": np.zeros(SHAPE)},
        LARGEST,
        Step("inside", "lesion", {"of": "organ"}),
        labels=(ORGAN, LESION),
    )
    assert not found.labelmap.any()
    assert found.slice_voxels["lesion"].sum() == 0
    assert found.dropped["organ"].components == 0


def test_check_ends_the_work():
    def leave():
        raise Cancelled("enough")

    passed = {"organ": box(SHAPE, (0, 1), (0, 4), (0, 4))}
    with pytest.raises(Cancelled):
        segment(levels((ORGAN,), passed), volume(grid(SHAPE)), contract((ORGAN,), LARGEST), check=leave)


def test_the_volume_is_not_needed_where_no_step_looks_at_it():
    passed = {"organ": box(SHAPE, (0, 1), (0, 4), (0, 4))}
    picture = Volume(np.zeros(SHAPE, np.uint8), is_hounsfield=False, grid=grid(SHAPE))
    assert segment(levels((ORGAN,), passed), picture, contract((ORGAN,), LARGEST)).labelmap.sum() == 16


@pytest.mark.parametrize(
    ("step", "fault"),
    [
        (Step("polish", "organ"), "unknown"),
        (Step("largest_component", "organ", {"count": 2}), "no option 'count'"),
        (Step("keep_components", "organ"), "lacks its option 'count'"),
        (Step("keep_components", "organ", {"count": 0}), "whole number from 1"),
        (Step("keep_components", "organ", {"count": True}), "whole number from 1"),
        (Step("inside", "lesion"), "lacks its option 'of'"),
        (Step("inside", "lesion", {"of": "spleen"}), "another label's name"),
        (Step("inside", "lesion", {"of": "lesion"}), "another label's name"),
        (Step("min_volume", "lesion", {"ml": 0}), "above 0"),
        (Step("min_volume", "lesion", {"ml": "much"}), "above 0"),
        (Step("min_volume", "lesion", {"ml": float("nan")}), "above 0"),
        (Step("min_volume", "lesion", {"ml": 1, "voxels": 0.5}), "whole number from 1"),
        (Step("min_volume", "lesion", {"volume_ml": 1}), "lacks its option 'ml'"),
    ],
)
def test_a_contract_with_a_bad_step_is_refused(step: Step, fault: str):
    with pytest.raises(ModelError, match=fault):
        check_steps(contract((ORGAN, LESION), step))


def test_a_contract_with_good_steps_passes():
    check_steps(
        contract(
            (ORGAN, LESION),
            LARGEST,
            Step("fill_holes", "organ"),
            Step("inside", "lesion", {"of": "organ"}),
            Step("inside_skull", "lesion"),
            Step("min_volume", "lesion", {"ml": 0.1, "voxels": 9}),
            Step("keep_components", "organ", {"count": 2}),
        )
    )
