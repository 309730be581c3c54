import numpy as np
import pytest

from sigap.core.contract import Code, Label
from sigap.core.levels import ThresholdLevels


def label(name: str, *thresholds: float) -> Label:
    return Label(name, "organ", None, Code("1", "2"), (0, 0, 0), thresholds or (0.25, 0.5, 0.75))  # type: ignore[arg-type]


def test_a_probability_passes_the_thresholds_at_or_below_it() -> None:
    levels = ThresholdLevels([label("liver", 0.2, 0.6, 1.0)], (1, 1, 6))
    # 0.2 · 255 = 51 and 0.6 · 255 = 153 exactly: a threshold itself passes.
    levels.packed()[:, 0:1] = levels.pack(np.array([[[[0, 50, 51, 152, 153, 255]]]], np.uint8))
    assert [levels.mask("liver", step)[0, 0].tolist() for step in range(3)] == [
        [False, False, True, True, True, True],
        [False, False, False, False, True, True],
        [False, False, False, False, False, True],
    ]


@pytest.mark.parametrize("count", [1, 4, 5, 9])
def test_labels_do_not_disturb_each_other(count: int) -> None:
    random = np.random.default_rng(count)
    probabilities = random.integers(0, 256, (3, count, 4, 5), dtype=np.uint8)
    levels = ThresholdLevels([label(str(n)) for n in range(count)], (3, 4, 5))
    levels.packed()[:] = levels.pack(probabilities)
    for n in range(count):
        for step, threshold in enumerate((0.25, 0.5, 0.75)):
            assert np.array_equal(levels.mask(str(n), step), probabilities[:, n] / 255 >= threshold)


def test_the_bounding_box_is_the_smallest_around_the_low_threshold() -> None:
    levels = ThresholdLevels([label("a"), label("b")], (5, 6, 7))
    assert levels.bounding_box("a") is None
    probabilities = np.zeros((5, 2, 6, 7), np.uint8)
    probabilities[1, 0, 2, 3] = 70
    probabilities[3, 0, 4, 6] = 255
    levels.packed()[:] = levels.pack(probabilities)
    assert levels.bounding_box("a") == (slice(1, 4), slice(2, 5), slice(3, 7))
    assert levels.bounding_box("a", 2) == (slice(3, 4), slice(4, 5), slice(6, 7))
    assert levels.bounding_box("b") is None


def test_a_box_gives_the_same_voxels_as_the_whole() -> None:
    levels = ThresholdLevels([label("a")], (4, 4, 4))
    levels.packed()[:] = levels.pack(np.random.default_rng(0).integers(0, 256, (4, 1, 4, 4), dtype=np.uint8))
    box = (slice(1, 3), slice(0, 4), slice(2, 4))
    assert np.array_equal(levels.mask("a", 1, box), levels.mask("a", 1)[box])
