"""Blood painted into a phantom head."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from sigap_training.painting import Brain, Painter, Painting, find_brain

SIDE = 128
GREY, BLOOD = 110, 190


def _disc(radius: float, row: float = 64, column: float = 64) -> NDArray[np.bool_]:
    y, x = np.mgrid[:SIDE, :SIDE]
    disc: NDArray[np.bool_] = np.hypot(y - row, x - column) < radius
    return disc


def _head(row: float = 64, column: float = 64, scale: float = 1.0) -> NDArray[np.uint8]:
    """Scalp, a ring of bone from radius 38 to 44, in it grey brain with dark ventricles."""
    image = np.zeros((SIDE, SIDE), np.uint8)
    image[_disc(48 * scale, row, column)] = 60
    image[_disc(44 * scale, row, column)] = 255
    image[_disc(38 * scale, row, column)] = GREY
    for side in (-8, 8):
        image[_disc(5 * scale, row, column + side * scale)] = 70
    return image


@pytest.fixture
def painter() -> Painter:
    """One head without blood, one with a disc of it."""
    bleeding = _head(60, 70, 0.9)
    mask = np.where(_disc(9, 70, 84), 255, 0).astype(np.uint8)
    bleeding[mask > 0] = BLOOD
    masks = np.stack([np.zeros_like(mask), mask])
    return Painter(np.stack([_head(), bleeding]), masks, np.array([1]))


class TestFindBrain:
    def test_it_lies_within_the_ring_and_knows_its_grey(self) -> None:
        brain = find_brain(_head())
        assert brain is not None
        assert brain.grey == pytest.approx(GREY / 255)
        inside = brain.depth > 0
        assert inside[_disc(35)].all()
        assert not inside[~_disc(39)].any()

    def test_depth_is_the_distance_to_the_skull(self) -> None:
        brain = find_brain(_head())
        assert brain is not None
        assert 36 <= brain.depth[64, 64] <= 39
        assert brain.depth[64, 64 + 30] == pytest.approx(8, abs=2)

    def test_its_frame_is_around_the_whole_head(self) -> None:
        brain = find_brain(_head())
        assert brain is not None
        assert brain.frame[:2] == pytest.approx([0, 0], abs=0.04)
        assert brain.frame[2] == pytest.approx(1.05 * 48 / 64, abs=0.07)

    def test_without_a_closed_skull_there_is_none(self) -> None:
        assert find_brain(np.zeros((SIDE, SIDE), np.uint8)) is None
        broken = _head()
        broken[20:108, 64:] = np.minimum(broken[20:108, 64:], 100)
        assert find_brain(broken) is None

    def test_a_ring_too_small_for_a_brain_is_none(self) -> None:
        tooth = np.zeros((SIDE, SIDE), np.uint8)
        tooth[_disc(14)] = 255
        tooth[_disc(8)] = GREY
        assert find_brain(tooth) is None


def _painted(painter: Painter, copied: float, seeds: int = 40) -> list[tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
    answers = [painter.paint(0, copied, np.random.default_rng(seed)) for seed in range(seeds)]
    return [answer for answer in answers if answer is not None]


@pytest.mark.parametrize("copied", [0.0, 1.0], ids=["shapes", "copied"])
class TestPaint:
    def test_blood_is_in_the_brain_only(self, painter: Painter, copied: float) -> None:
        painted = _painted(painter, copied)
        assert len(painted) >= 30
        brain = find_brain(_head())
        assert brain is not None
        for image, mask in painted:
            assert (mask > 127).any()
            # Soft edges reach a few pixels beyond the brain; bone and what lies outside of it stay as they are.
            assert not mask[_head() == 255].any()
            assert (mask > 127)[brain.depth == 0].mean() < 0.001
            np.testing.assert_array_equal(image[mask == 0], _head()[mask == 0])

    def test_blood_is_brighter_than_the_brain(self, painter: Painter, copied: float) -> None:
        for image, mask in _painted(painter, copied):
            assert image[mask > 127].mean() >= GREY + 0.03 * 255  # soft edges take some of it
            assert image[mask > 127].mean() >= _head()[mask > 127].mean() + 0.03 * 255

    def test_one_seed_paints_one_bleed(self, painter: Painter, copied: float) -> None:
        first, again = (painter.paint(0, copied, np.random.default_rng(7)) for _ in range(2))
        assert first is not None
        assert again is not None
        np.testing.assert_array_equal(first, again)
        masks = [mask.tobytes() for _, mask in _painted(painter, copied)]
        assert len(set(masks)) > 25

    def test_its_pictures_stay_as_they_are(self, copied: float) -> None:
        images, masks = np.stack([_head(), _head()]), np.zeros((2, SIDE, SIDE), np.uint8)
        masks[1, 50:60, 50:60] = 255
        images[1][masks[1] > 0] = BLOOD
        before = images.copy(), masks.copy()
        for array in (images, masks):
            array.flags.writeable = False
        _painted(Painter(images, masks, np.array([1])), copied, seeds=5)
        np.testing.assert_array_equal(images, before[0])
        np.testing.assert_array_equal(masks, before[1])


def test_a_copied_bleed_keeps_its_size_and_moves_with_the_head(painter: Painter) -> None:
    """The source's disc of radius 9 lies in a head of scale 0.9; in one of scale 1 its radius is 10."""
    areas = [(mask > 127).sum() for _, mask in _painted(painter, 1.0)]
    assert np.median(areas) == pytest.approx(np.pi * 10**2, rel=0.15)


def test_a_slice_without_a_brain_is_left_alone() -> None:
    empty = np.zeros((1, SIDE, SIDE), np.uint8)
    painter = Painter(empty, empty, np.array([], np.int64))
    assert painter.paint(0, 0.5, np.random.default_rng(0)) is None


def test_without_sources_all_bleeds_are_shapes() -> None:
    painter = Painter(_head()[None], np.zeros((1, SIDE, SIDE), np.uint8), np.array([], np.int64))
    assert len(_painted(painter, 1.0)) > 30


def test_a_source_without_a_brain_is_copied_nowhere() -> None:
    images = np.stack([_head(), np.zeros((SIDE, SIDE), np.uint8)])
    painter = Painter(images, np.full_like(images, 255), np.array([1]))
    assert _painted(painter, 1.0, seeds=3) == []


def test_every_kind_of_bleed_is_painted() -> None:
    """Thin layers at the skull, clots deep inside, and the ventricles filled."""
    painter = Painter(_head()[None], np.zeros((1, SIDE, SIDE), np.uint8), np.array([], np.int64))
    brain = find_brain(_head())
    assert isinstance(brain, Brain)
    masks = [mask > 127 for _, mask in _painted(painter, 0.0, seeds=60)]
    depths = [float(np.median(brain.depth[mask])) for mask in masks]
    ventricles = _disc(5, 64, 56) | _disc(5, 64, 72)
    assert sum(depth <= 4 for depth in depths) >= 10
    assert sum(depth > 10 for depth in depths) >= 5
    assert any(mask[ventricles].mean() > 0.4 and mask.sum() < 4 * ventricles.sum() for mask in masks)


def test_blood_beside_the_skull_is_as_bright_as_away_from_it() -> None:
    """Bone beside it is no part of its grain: else thin layers come out dark."""
    painter = Painter(_head()[None], np.zeros((1, SIDE, SIDE), np.uint8), np.array([], np.int64))
    brain = find_brain(_head())
    assert brain is not None
    beside, away = (brain.depth >= 2) & (brain.depth <= 3), (brain.depth >= 6) & (brain.depth <= 9)
    differences = [
        float(image[covered & away].mean()) - float(image[covered & beside].mean())
        for image, mask in _painted(painter, 0.0, seeds=60)
        if ((covered := mask > 230) & beside).sum() > 9 and (covered & away).sum() > 9
    ]
    assert len(differences) >= 8
    assert abs(np.median(differences)) < 6


@pytest.mark.parametrize("entry", ["share", "copied"])
def test_a_share_beyond_its_bounds_is_refused_by_name(entry: str) -> None:
    for value in (-0.1, 1.1):
        with pytest.raises(ValidationError, match=rf"(?m)^{entry}"):
            TypeAdapter(Painting).validate_python({entry: value})
    assert TypeAdapter(Painting).validate_python({entry: 1}) == Painting(**{entry: 1})
