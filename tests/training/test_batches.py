"""Batches: what a step learns from."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from sigap_training.augmentation import Augmentation
from sigap_training.batches import BatchMaker
from sigap_training.framing import crop, find_frames
from sigap_training.painting import Painting
from sigap_training.served import normalise
from sigap_training.slices import UNKNOWN, SliceSet
from training.tiny_data import small_recipe

CPU = torch.device("cpu")
SIDE = 64


def _heads(count: int) -> SliceSet:
    """Rings of bone with grey inside; the first has a mask and blood, the second a yes, all others nothing."""
    y, x = np.mgrid[:SIDE, :SIDE]
    radius = np.hypot(y - 31.5, x - 31.5)
    image = np.select([radius < 20, radius < 24, radius < 27], [110, 255, 60], 0).astype(np.uint8)
    images, masks = np.tile(image, (count, 1, 1)), np.zeros((count, 1, SIDE, SIDE), np.uint8)
    masks[0, 0, 28:36, 28:36] = 255
    images[0, 28:36, 28:36] = 190
    findings = np.zeros((count, 3), np.int8)
    findings[0], findings[1] = [1, 1, 0], [1, 0, 1]
    known = np.ones((count, 1), np.bool_)
    known[1] = False
    return SliceSet(
        images=images,
        masks=masks,
        known=known,
        findings=findings,
        patient=np.arange(count).astype(str),
        study=np.arange(count),
        group=np.array([0, 1] + [2] * (count - 2)),
        groups=("expert", "label-positive", "label-negative"),
    )


def _maker(slices: SliceSet, **changes: Any) -> BatchMaker:
    plain = {"augmentation": Augmentation(), "painting": Painting(), "size": 32, "cached_size": SIDE}
    return BatchMaker(small_recipe("hemorrhage", **plain | changes), slices, CPU)


def _random() -> np.random.Generator:
    return np.random.default_rng(4)


def test_without_changes_a_batch_is_what_will_be_served() -> None:
    slices = _heads(4)
    batch = _maker(slices).make(np.array([2, 0]), _random())
    images = torch.from_numpy(slices.images[[2, 0]]).float()[:, None] / 255
    frames = find_frames(images[:, 0])
    assert float(frames[0, 2]) < 0.95
    torch.testing.assert_close(batch.pixels, normalise(crop(images, frames, 32)), atol=1e-4, rtol=0)
    masks = torch.from_numpy(slices.masks[[2, 0]]).float() / 255
    torch.testing.assert_close(batch.masks, crop(masks, frames, 32), atol=1e-4, rtol=0)
    assert batch.known.tolist() == [[True], [True]]
    assert batch.findings.tolist() == [[0, 0, 0], [1, 1, 0]]


def test_unframed_it_is_the_whole_picture() -> None:
    slices = _heads(3)
    maker = _maker(slices, framed=False, size=SIDE)
    images, frames = maker.images(slices, np.array([0]))
    assert frames.tolist() == [[0, 0, 1]]
    batch = maker.make(np.array([0]), _random())
    torch.testing.assert_close(batch.pixels, normalise(images), atol=1e-4, rtol=0)


def test_a_frame_is_of_the_middle_of_neighbouring_slices() -> None:
    slices = replace(_heads(3), study=np.zeros(3, np.int64))
    slices.images[0], slices.images[2] = 0, 255
    recipe = small_recipe("liver", cached_size=SIDE, augmentation=Augmentation(), neighbour_strides=(1,))
    images, frames = BatchMaker(recipe, slices, CPU).images(slices, np.array([1]))
    assert images.shape == (1, 3, SIDE, SIDE)
    assert torch.equal(frames, find_frames(torch.from_numpy(slices.images[[1]]).float() / 255))


class TestPaintedBlood:
    def test_it_stands_on_slices_without_and_makes_their_kinds_unknown(self) -> None:
        slices = _heads(12)
        batch = _maker(slices, painting=Painting(share=1.0)).make(np.arange(12), _random())
        painted = [place for place in range(2, 12) if batch.masks[place].max() > 0.5]
        assert len(painted) >= 6
        for place in range(2, 12):
            expected = [1, UNKNOWN, UNKNOWN] if place in painted else [0, 0, 0]
            assert batch.findings[place].tolist() == expected

    def test_slices_with_blood_stay_as_they_are(self) -> None:
        slices = _heads(4)
        plain = _maker(slices).make(np.arange(2), _random())
        painted = _maker(slices, painting=Painting(share=1.0)).make(np.arange(2), _random())
        assert torch.equal(plain.pixels, painted.pixels)
        assert torch.equal(plain.findings, painted.findings)

    def test_the_set_itself_stays_as_it_is(self) -> None:
        slices = _heads(6)
        before = [value.copy() for value in (slices.images, slices.masks, slices.findings)]
        maker = _maker(slices, painting=Painting(share=1.0, copied=0.5))
        for _ in range(3):
            maker.make(np.arange(6), _random())
        for value, kept in zip((slices.images, slices.masks, slices.findings), before, strict=True):
            np.testing.assert_array_equal(value, kept)

    def test_only_experts_bleeds_are_copied(self) -> None:
        slices = _heads(4)
        weak = replace(slices, known=np.ones((4, 1), np.bool_), findings=slices.findings)
        assert _maker(weak, painting=Painting(share=1.0)).painter._sources.tolist() == [0]
        nameless = replace(weak, groups=("weak", "label-positive", "label-negative"))
        sources = _maker(nameless, painting=Painting(share=1.0)).painter._sources
        assert sources.tolist() == [0, 1]


@pytest.mark.parametrize("painting", [Painting(), Painting(share=0.5)])
def test_one_seed_makes_one_batch(painting: Painting) -> None:
    slices = _heads(8)
    augmentation = Augmentation(flip=0.5, rotation_degrees=20, noise=0.1)
    first, again, other = (
        _maker(slices, painting=painting, augmentation=augmentation).make(np.arange(8), np.random.default_rng(seed))
        for seed in (1, 1, 2)
    )
    assert torch.equal(first.pixels, again.pixels)
    assert torch.equal(first.masks, again.masks)
    assert not torch.equal(first.pixels, other.pixels)
