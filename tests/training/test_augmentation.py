"""Augmentation: what must stay together stays together."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor

from sigap_training.augmentation import Augmentation
from sigap_training.framing import crop, whole_picture


def _random() -> torch.Generator:
    return torch.Generator().manual_seed(3)


def _change(change: Augmentation, images: Tensor, masks: Tensor, size: int = 16) -> tuple[Tensor, Tensor]:
    frames = whole_picture(len(images), images.device)
    return change(images, masks, frames, size=size, random=_random())


def test_without_any_change_a_batch_stays_as_it_is() -> None:
    images, masks = torch.rand(2, 3, 16, 16), torch.rand(2, 1, 16, 16)
    changed, kept = _change(Augmentation(), images, masks)
    torch.testing.assert_close(changed, images, atol=1e-5, rtol=0)
    torch.testing.assert_close(kept, masks, atol=1e-5, rtol=0)


def test_without_any_change_a_batch_is_cropped_as_it_will_be_served() -> None:
    images, masks = torch.rand(2, 3, 40, 40), torch.rand(2, 1, 40, 40)
    frames = torch.tensor([[0.1, -0.2, 0.6], [-0.3, 0.0, 1.0]])
    changed, kept = Augmentation()(images, masks, frames, size=24, random=_random())
    torch.testing.assert_close(changed, crop(images, frames, 24), atol=1e-5, rtol=0)
    torch.testing.assert_close(kept, crop(masks, frames, 24), atol=1e-5, rtol=0)


def test_a_flip_mirrors_columns_of_picture_and_mask() -> None:
    images, masks = torch.rand(2, 1, 16, 16), torch.rand(2, 2, 16, 16)
    changed, moved = _change(Augmentation(flip=1.0), images, masks)
    torch.testing.assert_close(changed, images.flip(-1), atol=1e-5, rtol=0)
    torch.testing.assert_close(moved, masks.flip(-1), atol=1e-5, rtol=0)


def test_a_flip_mirrors_within_the_frame() -> None:
    images, masks = torch.rand(1, 1, 32, 32), torch.rand(1, 1, 32, 32)
    frames = torch.tensor([[0.4, -0.2, 0.5]])
    changed, _ = Augmentation(flip=1.0)(images, masks, frames, size=16, random=_random())
    torch.testing.assert_close(changed, crop(images, frames, 16).flip(-1), atol=1e-5, rtol=0)


def test_picture_and_mask_move_together() -> None:
    disc = torch.zeros(4, 1, 32, 32)
    disc[:, :, 10:22, 12:20] = 1.0
    change = Augmentation(flip=0.5, rotation_degrees=30, shift=0.1, zoom=(0.7, 1.4), stretch=0.2)
    images, masks = _change(change, disc, disc.clone(), 24)
    assert images.shape == (4, 1, 24, 24)
    torch.testing.assert_close(images, masks)
    assert not torch.equal(images[0], images[1])


def test_a_shift_is_a_share_of_the_side() -> None:
    """Of 2 x 0.25 at most, either way: the column of the brightest pixel moves by at most 8 of 32."""
    dot = torch.zeros(64, 1, 32, 32)
    dot[:, :, 15:17, 15:17] = 1.0
    _, moved = _change(Augmentation(shift=0.25), dot, dot, 32)
    columns = (moved[:, 0].sum(dim=1) * torch.arange(32)).sum(dim=1) / moved[:, 0].sum(dim=(1, 2))
    assert float((columns - 15.5).abs().max()) <= 8.01
    assert float((columns - 15.5).abs().max()) > 6


def test_zoom_changes_the_field_of_view() -> None:
    disc = torch.zeros(1, 1, 32, 32)
    disc[:, :, 12:20, 12:20] = 1.0
    _, doubled = _change(Augmentation(zoom=(2.0, 2.0)), disc, disc, 32)
    assert abs(float(doubled.sum()) - 4 * 64) < 40


def test_shading_touches_only_the_picture_and_stays_within_black_and_white() -> None:
    images, masks = torch.rand(4, 1, 16, 16), torch.rand(4, 1, 16, 16).round()
    change = Augmentation(brightness=0.5, contrast=(0.5, 2.0), gamma=(0.7, 1.4), blur=1.0, noise=0.2)
    changed, kept = _change(change, images, masks)
    assert not torch.allclose(changed, images)
    assert float(changed.min()) >= 0
    assert float(changed.max()) <= 1
    torch.testing.assert_close(kept, masks, atol=1e-5, rtol=0)


def test_one_seed_gives_one_batch() -> None:
    images, masks = torch.rand(2, 1, 16, 16), torch.rand(2, 1, 16, 16)
    change = Augmentation(flip=0.5, rotation_degrees=30, noise=0.1, contrast=(0.5, 2.0))
    first, again = _change(change, images, masks), _change(change, images, masks)
    torch.testing.assert_close(first, again, atol=0, rtol=0)


def test_batches_stay_on_their_device() -> None:
    """The meta device stands for a GPU: it refuses to be mixed with the CPU just as much."""
    images, masks = torch.rand(2, 1, 16, 16, device="meta"), torch.rand(2, 1, 16, 16, device="meta")
    change = Augmentation(
        flip=0.5, rotation_degrees=9, shift=0.1, brightness=0.1, contrast=(0.9, 1.1), blur=1.0, noise=0.1
    )
    changed, moved = change(images, masks, torch.rand(2, 3, device="meta"), size=8, random=_random())
    assert changed.is_meta
    assert moved.is_meta


@pytest.mark.parametrize(
    ("entry", "values"),
    [
        *((entry, [-0.1, 1.1, math.nan]) for entry in ("flip", "blur")),
        *((entry, [-1, math.inf]) for entry in ("rotation_degrees", "shift", "stretch", "brightness", "noise")),
        *((entry, [[1.2, 0.8], [0, 1], [-1, 1], [1, math.inf], [1, math.nan]]) for entry in ("zoom", "contrast")),
        ("gamma", [[2, 1], [0, 1]]),
    ],
)
def test_a_change_beyond_its_bounds_is_refused_by_name(entry: str, values: list[Any]) -> None:
    for value in values:
        with pytest.raises(ValidationError, match=rf"(?m)^{entry}"):
            TypeAdapter(Augmentation).validate_python({entry: value})


def test_changes_at_their_bounds_are_taken() -> None:
    edges = {"flip": 1, "blur": 0, "shift": 0, "zoom": [0.5, 0.5]}
    assert TypeAdapter(Augmentation).validate_python(edges).zoom == (0.5, 0.5)
