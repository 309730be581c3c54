"""A file is told by its content."""

from __future__ import annotations

import numpy as np
import pytest

from phantoms.nifti import gzipped, nifti_bytes
from phantoms.pictures import encoded, shades
from sigap.imaging.kinds import HEAD_BYTES, NIFTI_PAIR, Kind, sniff

VOXELS = np.zeros((4, 4, 4), np.int16)
NIFTI = nifti_bytes(VOXELS)


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (NIFTI, Kind.NIFTI),
        (nifti_bytes(VOXELS, byte_order=">"), Kind.NIFTI),
        (nifti_bytes(VOXELS, version=2), Kind.NIFTI),
        (nifti_bytes(VOXELS, version=2, byte_order=">"), Kind.NIFTI),
        (gzipped(NIFTI), Kind.GZIP),
        (encoded(shades(), "PNG"), Kind.PNG),
        (encoded(shades(), "JPEG"), Kind.JPEG),
        (bytes(128) + b"DICM" + bytes(40), Kind.DICOM),
        (b"II*\x00" + bytes(124) + b"DICM" + bytes(40), Kind.DICOM),
        (encoded(shades(), "GIF"), Kind.FOREIGN),
        (encoded(shades(), "TIFF"), Kind.FOREIGN),
        (encoded(shades(), "BMP"), Kind.FOREIGN),
        (encoded(shades(), "JPEG2000"), Kind.FOREIGN),
        (b"%PDF-1.7\n", Kind.FOREIGN),
        (b"MZ\x90\x00", Kind.FOREIGN),
        (b"PK\x03\x04" + bytes(26), Kind.ZIP),
        (b"7z\xbc\xaf\x27\x1c", Kind.ARCHIVE),
        (b"Rar!\x1a\x07\x01\x00", Kind.ARCHIVE),
        (b"notes.txt".ljust(257, b"\0") + b"ustar\x00", Kind.ARCHIVE),
        (b"", Kind.EMPTY),
        (b"Dear doctor, ", Kind.UNKNOWN),
        (bytes(HEAD_BYTES), Kind.UNKNOWN),
        (NIFTI[:344] + b"n+3\x00", Kind.UNKNOWN),
        (NIFTI[:340], Kind.NIFTI),  # cut off
        (NIFTI[:4], Kind.NIFTI),
        (NIFTI[:344] + bytes(8), Kind.UNKNOWN),
    ],
)
def test_kind_by_content(content: bytes, kind: Kind) -> None:
    assert sniff(content[:HEAD_BYTES]).kind is kind


def test_half_of_a_pair_is_called_so() -> None:
    assert sniff(NIFTI[:344] + b"ni1\x00" + NIFTI[348:]) is NIFTI_PAIR
