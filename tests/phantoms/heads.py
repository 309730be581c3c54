"""Slices of phantom heads: concentric ellipses of scalp, bone and brain, and what may go wrong with them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from phantoms.scenes import grid, unknown_grid
from sigap.core.grid import Orientation
from sigap.core.study import Volume
from sigap.imaging.window import window

AIR, FAT, SCALP, BONE, BRAIN, BLOOD = -1000, -90, 45, 900, 34, 68
SIDE = 256
PIXEL_MM = 0.9
# Semi-axes in mm, rows and columns.
BRAIN_MM, BONE_MM, SCALP_MM = (80.0, 65.0), (86.0, 71.0), (95.0, 80.0)

CLIPPED = {"hu": (-1024, 3071), "hu100": (-20, 100), "hu80": (-20, 80), "hu0to80": (0, 80), "air80": (-1024, 80)}
KINDS = (*CLIPPED, "picture", "grey")

Mask = NDArray[np.bool_]


def ellipse(
    semi_mm: tuple[float, float], centre_mm: tuple[float, float] = (0.0, 0.0), pixel_mm: float = PIXEL_MM
) -> Mask:
    """Filled, around the middle of the image or beside it."""
    places = (np.arange(SIDE) - (SIDE - 1) / 2) * pixel_mm
    down, right = np.meshgrid(places - centre_mm[0], places - centre_mm[1], indexing="ij")
    return (down / semi_mm[0]) ** 2 + (right / semi_mm[1]) ** 2 <= 1


def sector(from_deg: float, to_deg: float) -> Mask:
    """All directions between two, seen from the middle; 0 points right, 90 down."""
    places = np.arange(SIDE) - (SIDE - 1) / 2
    down, right = np.meshgrid(places, places, indexing="ij")
    angles = np.degrees(np.arctan2(down, right)) % 360
    return (angles >= from_deg) & (angles < to_deg)


def head(*, noise_hu: float = 0.0) -> NDArray[np.float64]:
    """(rows, columns) in HU: air, scalp with fat below it, bone, brain."""
    hounsfield = np.full((SIDE, SIDE), float(AIR))
    hounsfield[ellipse(SCALP_MM)] = SCALP
    hounsfield[ellipse((92.0, 77.0))] = FAT
    hounsfield[ellipse((88.0, 73.0))] = SCALP
    hounsfield[ellipse(BONE_MM)] = BONE
    hounsfield[ellipse(BRAIN_MM)] = BRAIN
    return hounsfield + noise_hu * np.random.default_rng(7).standard_normal(hounsfield.shape)


def gap_of(width_mm: float) -> Mask:
    """Where a hole of some width on the right side of the image cuts through the bone."""
    return ellipse((width_mm / 2, 12.0), (0.0, 68.0)) & ellipse((95.0, 73.0)) & ~ellipse(BRAIN_MM)


def as_volume(hounsfield: NDArray[np.float64], kind: str) -> Volume:
    """One slice: CT numbers, `CLIPPED` or not; a `picture` without spacing; a NIfTI of its `grey` shades."""
    stack = np.rint(hounsfield)[None]
    if kind == "picture":
        shades = window(stack.astype(np.int16), level_hu=40, width_hu=80)
        return Volume(shades, is_hounsfield=False, grid=unknown_grid((1, SIDE, SIDE)))
    on = grid((1, SIDE, SIDE), (5.0, PIXEL_MM, PIXEL_MM), orientation=Orientation())
    if kind == "grey":
        shades = window(stack.astype(np.int16), level_hu=40, width_hu=80).astype(np.int16)
        return Volume(shades, is_hounsfield=True, grid=on)
    return Volume(np.clip(stack, *CLIPPED[kind]).astype(np.int16), is_hounsfield=True, grid=on)
