"""Augmentation: what must stay together stays together."""

from __future__ import annotations

import torch

from sigap_training.augmentation import Augmentation


def _random() -> torch.Generator:
    return torch.Generator().manual_seed(3)


def test_without_any_change_a_batch_stays_as_it_is() -> None:
    images, masks = torch.rand(2, 3, 16, 16), torch.rand(2, 1, 16, 16)
    changed, kept = Augmentation()(images, masks, 16, _random())
    torch.testing.assert_close(changed, images, atol=1e-5, rtol=0)
    torch.testing.assert_close(kept, masks, atol=1e-5, rtol=0)


def test_a_flip_mirrors_columns_of_picture_and_mask() -> None:
    images, masks = torch.rand(2, 1, 16, 16), torch.rand(2, 2, 16, 16)
    changed, moved = Augmentation(flip=1.0)(images, masks, 16, _random())
    torch.testing.assert_close(changed, images.flip(-1), atol=1e-5, rtol=0)
    torch.testing.assert_close(moved, masks.flip(-1), atol=1e-5, rtol=0)


def test_picture_and_mask_move_together() -> None:
    disc = torch.zeros(4, 1, 32, 32)
    disc[:, :, 10:22, 12:20] = 1.0
    change = Augmentation(flip=0.5, rotation_degrees=30, shift=0.1, zoom=(0.7, 1.4), stretch=0.2)
    images, masks = change(disc, disc.clone(), 24, _random())
    assert images.shape == (4, 1, 24, 24)
    torch.testing.assert_close(images, masks)
    assert not torch.equal(images[0], images[1])


def test_zoom_changes_the_field_of_view() -> None:
    disc = torch.zeros(1, 1, 32, 32)
    disc[:, :, 12:20, 12:20] = 1.0
    _, doubled = Augmentation(zoom=(2.0, 2.0))(disc, disc, 32, _random())
    assert abs(float(doubled.sum()) - 4 * 64) < 40


def test_shading_touches_only_the_picture_and_stays_within_black_and_white() -> None:
    images, masks = torch.rand(4, 1, 16, 16), torch.rand(4, 1, 16, 16).round()
    change = Augmentation(brightness=0.5, contrast=(0.5, 2.0), gamma=(0.7, 1.4), blur=1.0, noise=0.2)
    changed, kept = change(images, masks, 16, _random())
    assert not torch.allclose(changed, images)
    assert float(changed.min()) >= 0
    assert float(changed.max()) <= 1
    torch.testing.assert_close(kept, masks, atol=1e-5, rtol=0)


def test_one_seed_gives_one_batch() -> None:
    images, masks = torch.rand(2, 1, 16, 16), torch.rand(2, 1, 16, 16)
    change = Augmentation(flip=0.5, rotation_degrees=30, noise=0.1, contrast=(0.5, 2.0))
    first, again = change(images, masks, 16, _random()), change(images, masks, 16, _random())
    torch.testing.assert_close(first, again, atol=0, rtol=0)
