from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
from numpy.typing import NDArray

from phantoms.scenes import BLEED, LESION, ORGAN, box, contract, grid, levels, volume
from sigap.core.contract import Label
from sigap.core.segmentation import Segmentation
from sigap.core.study import Origin
from sigap.imaging.measure import expectation_notices, measure, measurement_notices
from sigap.imaging.postprocess import segment

SHAPE = (6, 20, 20)


def notices(passed: Mapping[str, NDArray[np.integer]], labels: tuple[Label, ...] = (ORGAN, LESION)):
    task, seen = contract(labels), volume(grid(SHAPE))
    zeros = np.zeros(SHAPE, int)
    found = segment(levels(labels, {label.name: passed.get(label.name, zeros) for label in labels}), seen, task)
    return {notice.code: notice.message for notice in measurement_notices(found, measure(found, seen, task), task)}


@pytest.mark.parametrize(
    "ranges",
    [
        ((0, 2), (5, 9), (5, 9)),
        ((4, 6), (5, 9), (5, 9)),
        ((2, 3), (0, 9), (5, 9)),
        ((2, 3), (5, 20), (5, 9)),
        ((2, 3), (5, 9), (0, 9)),
        ((2, 3), (5, 9), (5, 20)),
    ],
)
def test_an_organ_at_a_face_of_the_volume_is_cut(ranges: tuple[tuple[int, int], ...]):
    passed = {"organ": box(SHAPE, ranges[0], *ranges[1:], value=3)}
    assert "lower bound" in notices(passed)["organ_cut"]
    assert "organ" in notices(passed)["organ_cut"]
    assert notices({"lesion": passed["organ"]}) != {}, "a contained lesion is part of the organ"
    assert notices({"bleed": passed["organ"]}, labels=(BLEED,)) == {}, "a lesion of its own is none"


def test_an_organ_within_the_volume_is_whole():
    assert notices({"organ": box(SHAPE, (1, 5), (1, 19), (1, 19), value=3)}) == {}
    assert notices({}) == {}


@pytest.mark.parametrize(("high", "is_unsure"), [(49, True), (50, False)])
def test_confidence_is_low_when_less_than_half_survives_the_high_threshold(high: int, is_unsure: bool):
    passed = box(SHAPE, (1, 2), (1, 11), (1, 11), value=2)
    passed[passed > 0] = np.r_[np.full(high, 3), np.full(100 - high, 2)]
    assert ("low_confidence" in notices({"organ": passed})) is is_unsure


def test_what_is_not_in_the_mask_is_no_low_confidence():
    assert notices({"organ": box(SHAPE, (1, 2), (1, 11), (1, 11), value=1)}) == {}


def test_a_truth_mask_says_nothing_about_confidence():
    labelmap = box(SHAPE, (1, 2), (1, 3), (1, 3), value=1).astype(np.uint8)
    task, seen = contract((BLEED,)), volume(grid(SHAPE))
    truth = Segmentation(labelmap)
    assert measurement_notices(truth, measure(truth, seen, task), task) == ()


def expectations(labels: tuple[Label, ...] = (BLEED,), **tags: str):
    return [notice.code for notice in expectation_notices(Origin("dicom", "0" * 64, **tags), contract(labels))]


@pytest.mark.parametrize(
    ("tags", "codes"),
    [
        ({}, []),
        ({"body_part": "HEAD"}, []),
        ({"body_part": " head "}, []),
        ({"body_part": "CHEST"}, ["unexpected_body_part"]),
        ({"contrast_agent": "Iomeron 350"}, ["unexpected_contrast"]),
        ({"contrast_agent": "NONE"}, []),
        ({"body_part": "CHEST", "contrast_agent": "APPLIED"}, ["unexpected_body_part", "unexpected_contrast"]),
    ],
)
def test_only_tags_that_are_there_can_surprise(tags: dict[str, str], codes: list[str]):
    assert expectations(**tags) == codes


def test_what_a_tag_says_is_not_repeated():
    origin = Origin("dicom", "0" * 64, body_part="SMITH JOHN", contrast_agent="SMITH JOHN")
    assert not [notice for notice in expectation_notices(origin, contract((BLEED,))) if "SMITH" in notice.message]
