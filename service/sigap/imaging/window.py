"""The display window: the one function that training and serving share."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def window(hounsfield: NDArray[np.number], *, level_hu: float, width_hu: float) -> NDArray[np.uint8]:
    """Map a display window of CT numbers onto 0..255.

    Linear between the window's edges, clamped outside. Training and serving share it: a second copy would be a
    silent skew.

    Args:
        hounsfield: CT numbers in HU, any shape; integers or floats.
        level_hu: centre of the window, e.g. 40 for brain.
        width_hu: its full width, e.g. 80 for brain; > 0.

    Returns:
        Same shape, uint8.

    Raises:
        ValueError: `width_hu` is not positive.

    Source:
        DICOM PS3.3 C.11.2.1.3.2, LINEAR_EXACT.
    """
    if not width_hu > 0:
        raise ValueError(f"a window's width must be positive, not {width_hu}")
    shades = hounsfield.astype(np.float32)
    shades -= np.float32(level_hu - width_hu / 2)
    shades *= np.float32(255 / width_hu)
    np.clip(shades, 0, 255, out=shades)
    return np.rint(shades, out=shades).astype(np.uint8)
