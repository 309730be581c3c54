import numpy as np
import pytest

from sigap.imaging.window import window


@pytest.mark.parametrize("kind", [np.int16, np.float32])
def test_the_window_is_linear_between_its_edges_and_clamped_outside(kind: type) -> None:
    hounsfield = np.array([-1000, -50, 100, 250, 251, 3000], kind)
    assert window(hounsfield, level_hu=100, width_hu=300).tolist() == [0, 0, 128, 255, 255, 255]


def test_a_window_without_width_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="positive"):
        window(np.zeros(1, np.int16), level_hu=40, width_hu=0)
