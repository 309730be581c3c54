import json

import numpy as np

import toy
from sigap.core.contract import Contract
from sigap.core.grid import Grid, Orientation
from sigap.core.study import Volume
from sigap.imaging.batches import slice_batches


def volume(slices: int, *, is_hounsfield: bool = True, orientation: Orientation = Orientation()) -> Volume:
    """Slice n is n · 40 HU - 200 everywhere, or shade n."""
    values = np.arange(slices)[:, None, None] * np.ones((1, 2, 3))
    voxels = (values * 40 - 200).astype(np.int16) if is_hounsfield else values.astype(np.uint8)
    return Volume(voxels, is_hounsfield, Grid((slices, 2, 3), (1, 1, 1), None, None, None, None, orientation))


def contract(context_slices: int) -> Contract:
    return Contract.from_json(json.dumps(toy.contract(context_slices=context_slices)))


def test_the_outermost_slice_repeats_at_the_ends() -> None:
    batches = list(slice_batches(volume(3, is_hounsfield=False), contract(5), 2))
    assert [first for first, _ in batches] == [0, 2]
    assert np.concatenate([batch[:, :, 0, 0] for _, batch in batches]).tolist() == [
        [0, 0, 0, 1, 2],
        [0, 0, 1, 2, 2],
        [0, 1, 2, 2, 2],
    ]


def test_slices_are_windowed_and_canonical() -> None:
    batches = list(slice_batches(volume(4, orientation=Orientation(flip_slices=True)), contract(1), 8))
    assert batches[0][1][:, 0, 0, 0].tolist() == [76, 51, 26, 0]  # 255 · 40 / 400 = 25.5 a step


def test_batching_changes_nothing() -> None:
    whole = next(slice_batches(volume(7), contract(3), 7))[1]
    for size in (1, 2, 3, 5):
        assert np.array_equal(
            np.concatenate([batch for _, batch in slice_batches(volume(7), contract(3), size)]), whole
        )
