from __future__ import annotations

import tracemalloc

import numpy as np

from phantoms.scenes import LESION, ORGAN, grid, levels, organ_and_lesion, volume
from sigap.imaging.measure import measure
from sigap.imaging.postprocess import segment

SHAPE = (48, 256, 256)
LABELS = (ORGAN, LESION)
CONTRACT = organ_and_lesion(least_ml=0.1)


def test_scattered_labels_fit_into_the_promised_memory():
    """A request may take 3 x its voxels as int16: 1 are the voxels, 0.5 the levels, what is left is checked here."""
    generator = np.random.default_rng(1)
    organ, lesion = np.zeros(SHAPE, np.uint8), np.zeros(SHAPE, np.uint8)
    organ[10:30, 60:140, 60:140] = 3
    for passed in (organ, lesion):
        for slice_, row, column in generator.integers(0, np.array(SHAPE) - 4, (300, 3)):
            passed[slice_ : slice_ + 2, row : row + 4, column : column + 4] = generator.integers(1, 4)
    found, seen = levels(LABELS, {"organ": organ, "lesion": lesion}), volume(grid(SHAPE))
    tracemalloc.start()
    segmentation = segment(found, seen, CONTRACT)
    measure(segmentation, seen, CONTRACT)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert segmentation.labelmap.any()
    assert peak <= 1.2 * seen.voxels.nbytes
