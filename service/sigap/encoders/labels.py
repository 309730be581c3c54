"""The labelmap that masks and pictures are made of, and what its values mean in words."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sigap.core.contract import Contract, Label
from sigap.core.result import Result


def labelmap_of(result: Result) -> NDArray[np.uint8]:
    """A result's labelmap, (slices, rows, columns).

    Raises:
        ValueError: it does not fit the volume or the model's labels.
    """
    labelmap, shape = result.segmentation.labelmap, result.study.volume.grid.shape
    if labelmap.shape != shape or labelmap.dtype != np.uint8:
        raise ValueError(f"a labelmap must be uint8 of shape {shape}, not {labelmap.dtype} of {labelmap.shape}")
    count = len(result.model.contract.labels)
    if labelmap.max() > count:
        raise ValueError(f"the labelmap holds the value {labelmap.max()}, the model has {count} labels")
    return labelmap


def meaning(contract: Contract, label: Label) -> str:
    """What a label's own value covers: the innermost label stands, so a liver's value is the `liver outside tumour`."""
    inside = [other.name for other in contract.labels if other.parent == label.name]
    return f"{label.name} outside {' and '.join(inside)}" if inside else label.name


def legend(contract: Contract) -> str:
    """All values, e.g. `0 background, 1 liver outside tumour, 2 tumour`."""
    values = (f"{value} {meaning(contract, label)}" for value, label in enumerate(contract.labels, 1))
    return ", ".join(("0 background", *values))
