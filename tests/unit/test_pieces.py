from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from scipy import ndimage

from sigap.imaging.postprocess.pieces import Pieces
from sigap.imaging.postprocess.region import Region, bounding_box

NEIGHBOURS = {6: ndimage.generate_binary_structure(3, 1), 26: np.ones((3, 3, 3))}
MASKS = arrays(bool, st.tuples(*[st.integers(1, 6)] * 3))


@given(mask=MASKS, connectivity=st.sampled_from([6, 26]))
@settings(max_examples=300, deadline=None)
def test_pieces_are_those_that_scipy_finds(mask: NDArray[np.bool_], connectivity: Literal[6, 26]):
    truth, count = ndimage.label(mask, NEIGHBOURS[connectivity])
    pieces = Pieces(mask, connectivity)
    assert pieces.count == count
    boxes = pieces.boxes()
    for number in range(1, count + 1):
        only = np.zeros(count + 1, bool)
        only[number] = True
        region = pieces.select(only)
        piece = np.zeros(mask.shape, bool)
        piece[region.box] = region.voxels
        first = tuple(int(axis[0]) for axis in np.nonzero(piece))
        assert np.array_equal(piece, truth == truth[first])
        assert pieces.at(first) == number
        assert [[axis.start, axis.stop] for axis in region.box] == boxes[number].tolist()
        assert np.array_equal(pieces.piece(number, region.box), region.voxels)


def test_voxels_at_opposite_edges_are_not_neighbours():
    mask = np.zeros((2, 3, 3), bool)
    mask[0, :, 2] = mask[1, :, 0] = True
    assert Pieces(mask).count == 2
    rows = np.zeros((2, 3, 3), bool)
    rows[0, 2], rows[1, 0] = True, True
    assert Pieces(rows).count == 2


def test_weights_count_each_slice_by_its_own():
    mask = np.zeros((3, 4, 4), bool)
    mask[0, 0, 0], mask[1:, 2:, 2:] = True, True
    assert sorted(Pieces(mask).weights(np.array([5, 10, 100]))[1:].tolist()) == [5, 4 * 10 + 4 * 100]


@pytest.mark.parametrize("shape", [(0, 0, 0), (2, 3, 4)])
def test_nothing_has_no_pieces(shape: tuple[int, int, int]):
    assert Pieces(np.zeros(shape, bool)).count == 0
    assert bounding_box(np.zeros(shape, bool)) is None


def test_what_regions_have_in_common():
    region = Region.of(np.ones((2, 2, 2), bool), first=(3, 4, 5))
    assert region.box == (slice(3, 5), slice(4, 6), slice(5, 7))
    below = Region.of(np.ones((1, 9, 9), bool), first=(4, 0, 0))
    assert region.common(below).box == (slice(4, 5), slice(4, 6), slice(5, 7))
    assert below.common(region).voxels.sum() == 4
    assert region.common(Region.of(np.ones((2, 2, 2), bool))).is_empty
    assert region.common(Region.empty()).is_empty
    region.remove(below)
    assert region.voxels.sum() == 4
    region.remove(Region.empty())
    assert region.voxels.sum() == 4
