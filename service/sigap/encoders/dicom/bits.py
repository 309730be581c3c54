"""Masks as DICOM's one-bit pixels."""

from __future__ import annotations

from collections.abc import Iterable
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray


def write_bits(planes: Iterable[NDArray[np.bool_]], file: BinaryIO) -> None:
    """Write frames with one bit a pixel, the first pixel in the lowest bit (PS3.5 8.1.1 and annex D).

    Frames follow one another without a gap: one that does not fill its last byte shares it with the next. The whole is
    filled up to an even number of bytes.
    """
    left, written = np.empty(0, bool), 0
    for plane in planes:
        bits = np.concatenate([left, plane.ravel()])
        whole = bits.size // 8 * 8
        written += file.write(np.packbits(bits[:whole], bitorder="little").tobytes())
        left = bits[whole:]
    written += file.write(np.packbits(left, bitorder="little").tobytes())
    file.write(bytes(written % 2))
