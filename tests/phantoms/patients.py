"""Two small patients that the shipped weights find something in: a head that bleeds, an abdomen with a tumour."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from phantoms import heads
from phantoms.heads import ellipse

SLICES = 8
# Slices of them with a lesion.
_FIRST, _END = 2, 6


@dataclass(frozen=True)
class Patient:
    """CT numbers of one study, and where in them the finding's middle lies.

    Attributes:
        task: the task that finds it.
        voxels_hu: (slices, rows, columns), from feet to head, front to back, right to left.
        spacing_mm: along these axes.
        place: a voxel that must be marked, as [slice, row, column].
    """

    task: str
    voxels_hu: NDArray[np.int16]
    spacing_mm: tuple[float, float, float]
    place: tuple[int, int, int]


def bleeding_head(seed: int = 0) -> Patient:
    """A haematoma of 16 x 13 mm semi-axes in four of eight slices."""
    centre_mm = (10.0, 25.0)
    blood = ellipse((16.0, 13.0), centre_mm)
    voxels = np.stack([heads.head()] * SLICES)
    voxels[_FIRST:_END, blood] = heads.BLOOD
    return _patient("hemorrhage", voxels, heads.PIXEL_MM, centre_mm, seed)


def abdomen_with_tumour(seed: int = 0) -> Patient:
    """Fat, muscle, spine, spleen and a liver of 60 mm radius, in four of eight slices with a dark tumour in it."""
    centre_mm = (-15.0, -65.0)
    voxels = np.full((SLICES, heads.SIDE, heads.SIDE), float(heads.AIR))
    for semi_mm, middle_mm, hounsfield in (
        ((105.0, 150.0), (0.0, 0.0), -100),
        ((95.0, 138.0), (0.0, 0.0), 50),
        ((60.0, 60.0), centre_mm, 110),
        ((18.0, 18.0), (55.0, 0.0), 400),
        ((35.0, 30.0), (-10.0, 70.0), 115),
    ):
        voxels[:, ellipse(semi_mm, middle_mm)] = hounsfield
    voxels[_FIRST:_END, ellipse((14.0, 14.0), (-10.0, -70.0))] = 65
    return _patient("liver", voxels, 1.4, centre_mm, seed)


def _patient(
    task: str, voxels: NDArray[np.float64], pixel_mm: float, centre_mm: tuple[float, float], seed: int
) -> Patient:
    """Add a scanner's noise. `centre_mm` is counted in pixels of the drawing (`heads.PIXEL_MM`)."""
    voxels += 8 * np.random.default_rng(seed).standard_normal(voxels.shape)
    row, column = (round((heads.SIDE - 1) / 2 + place / heads.PIXEL_MM) for place in centre_mm)
    hounsfield = np.rint(voxels).clip(-1000, 2000).astype(np.int16)
    return Patient(task, hounsfield, (5.0, pixel_mm, pixel_mm), (SLICES // 2, row, column))
