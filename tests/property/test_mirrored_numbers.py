"""Mirroring or permuting the stored axes together with the affine changes no millilitre."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from phantoms.scenes import LESION, ORGAN, grid, levels, organ_and_lesion
from sigap.core.grid import Grid, Orientation
from sigap.core.measurement import Measurements
from sigap.core.segmentation import Segmentation
from sigap.core.study import Volume
from sigap.imaging.measure import measure
from sigap.imaging.postprocess import segment

LABELS = (ORGAN, LESION)
CONTRACT = organ_and_lesion(least_ml=0.001)
SHARES = st.lists(st.sampled_from([0.7, 1.0, 1.3, 2.1]), min_size=1, max_size=5)
ORIENTATIONS = st.builds(Orientation, st.booleans(), st.booleans(), st.booleans(), st.booleans())


@st.composite
def probabilities(draw: st.DrawFn) -> tuple[list[float], NDArray[np.int64], NDArray[np.int64]]:
    """Slices' shares, and how many thresholds each voxel passes for the organ and for the lesion."""
    shares = draw(SHARES)
    shape = (len(shares), draw(st.integers(2, 6)), draw(st.integers(2, 6)))
    passed = arrays(np.int64, shape, elements=st.sampled_from([0, 2, 2, 3, 1]))
    return shares, draw(passed), draw(passed)


def stored(canonical: Grid, way: Orientation) -> Grid:
    """The same places, stored another way round."""
    shares = canonical.shares_mm or ()
    first = canonical.first_voxels_lps_mm
    down, right = canonical.row_step_lps_mm, canonical.column_step_lps_mm
    assert first is not None
    assert down is not None
    assert right is not None
    slices, rows, columns = canonical.shape
    _, row_mm, column_mm = canonical.spacing_mm
    if way.flip_rows:
        first, down = first + (rows - 1) * down, -down
    if way.flip_columns:
        first, right = first + (columns - 1) * right, -right
    if way.flip_slices:
        first, shares = first[::-1], shares[::-1]
    if way.transpose:
        down, right, row_mm, column_mm, rows, columns = right, down, column_mm, row_mm, columns, rows
    return replace(
        canonical,
        shape=(slices, rows, columns),
        spacing_mm=(canonical.spacing_mm[0], row_mm, column_mm),
        shares_mm=shares,
        first_voxels_lps_mm=first,
        row_step_lps_mm=down,
        column_step_lps_mm=right,
        orientation=way,
    )


def numbers(on: Grid, *passed: NDArray[np.int64]) -> tuple[Segmentation, Measurements]:
    """The canonical volume's segmentation and numbers, by way of a stored grid."""
    way = on.orientation
    voxels = np.arange(np.prod(on.shape), dtype=np.int16).reshape(passed[0].shape)
    seen = Volume(way.to_stored(voxels).copy(), is_hounsfield=True, grid=on)
    organ, lesion = (way.to_stored(one) for one in passed)
    found = segment(levels(LABELS, {"organ": organ, "lesion": lesion}), seen, CONTRACT)
    return found, measure(found, seen, CONTRACT)


def outlines(measured: Measurements) -> list[tuple[float | int | None, ...]]:
    """What no way of storing may change of a lesion; in an order of its own, as equal lesions may change places."""
    rows = []
    for lesion in measured.lesions:
        places = np.array([lesion.longest_diameter_mm, *(lesion.centroid_lps_mm or ())])
        # Moved off the decimal fractions that a rounding error could tip over.
        rows.append((lesion.volume_ml, lesion.voxels, *np.round(places + 3e-7, 6).tolist()))
    return sorted(rows)


@given(scene=probabilities(), way=ORIENTATIONS)
@settings(max_examples=150, deadline=None)
def test_no_way_of_storing_changes_a_number(
    scene: tuple[list[float], NDArray[np.int64], NDArray[np.int64]], way: Orientation
) -> None:
    shares, *passed = scene
    straight = grid(passed[0].shape, (1.0, 0.9, 1.1), shares_mm=shares)
    found, measured = numbers(straight, *passed)
    other, mirrored = numbers(stored(straight, way), *passed)
    assert np.array_equal(way.to_canonical(other.labelmap), found.labelmap)
    # Not nearly: to the last bit, HU, intervals and what was dropped included.
    assert mirrored.labels == measured.labels
    assert mirrored.measures == measured.measures
    assert outlines(mirrored) == outlines(measured)
