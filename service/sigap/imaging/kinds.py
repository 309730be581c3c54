"""What a file is, by its first bytes; its name is never asked."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

HEAD_BYTES = 1024
"""What `sniff` wants to see of a file."""
_NIFTI1_BYTES = 348


class Kind(Enum):
    """What the service does with a file."""

    DICOM = auto()
    NIFTI = auto()
    PNG = auto()
    JPEG = auto()
    GZIP = auto()
    ZIP = auto()
    ARCHIVE = auto()
    """An archive of a sort that we do not open."""
    FOREIGN = auto()
    """A format that we know and do not read."""
    EMPTY = auto()
    UNKNOWN = auto()
    """No magic number that we know; it may still be DICOM without a preamble."""


@dataclass(frozen=True)
class Content:
    """A file's kind and what people call it."""

    kind: Kind
    word: str


EMPTY = Content(Kind.EMPTY, "an empty file")
UNKNOWN = Content(Kind.UNKNOWN, "a file of no known kind")
NIFTI_PAIR = Content(Kind.FOREIGN, "half of a NIfTI pair (.hdr and .img)")
_ANALYZE = Content(Kind.FOREIGN, "an Analyze 7.5 header")
_NIFTI = Content(Kind.NIFTI, "a NIfTI file")

_MAGIC: tuple[tuple[int, bytes, Content], ...] = (
    # DICOM first: its 128 bytes of preamble may look like anything (PS3.10, 7.1), dual-personality TIFF for one.
    (128, b"DICM", Content(Kind.DICOM, "a DICOM file")),
    (0, b"\x89PNG\r\n\x1a\n", Content(Kind.PNG, "a PNG picture")),
    (0, b"\xff\xd8\xff\xf7", Content(Kind.FOREIGN, "a JPEG-LS stream outside DICOM")),
    (0, b"\xff\xd8\xff", Content(Kind.JPEG, "a JPEG picture")),
    (0, b"\x1f\x8b", Content(Kind.GZIP, "a gzip file")),
    (0, b"PK\x03\x04", Content(Kind.ZIP, "a zip archive")),
    (0, b"PK\x05\x06", Content(Kind.ZIP, "a zip archive")),
    (0, b"PK\x07\x08", Content(Kind.ARCHIVE, "one part of a split zip archive")),
    (0, b"7z\xbc\xaf\x27\x1c", Content(Kind.ARCHIVE, "a 7z archive")),
    (0, b"Rar!\x1a\x07", Content(Kind.ARCHIVE, "a rar archive")),
    (0, b"BZh", Content(Kind.ARCHIVE, "a bzip2 file")),
    (0, b"\xfd7zXZ\x00", Content(Kind.ARCHIVE, "an xz file")),
    (0, b"\x28\xb5\x2f\xfd", Content(Kind.ARCHIVE, "a zstd file")),
    (257, b"ustar", Content(Kind.ARCHIVE, "a tar archive")),
    (0, b"GIF8", Content(Kind.FOREIGN, "a GIF picture")),
    (0, b"II*\x00", Content(Kind.FOREIGN, "a TIFF picture")),
    (0, b"MM\x00*", Content(Kind.FOREIGN, "a TIFF picture")),
    (0, b"II+\x00", Content(Kind.FOREIGN, "a TIFF picture")),
    (0, b"MM\x00+", Content(Kind.FOREIGN, "a TIFF picture")),
    (0, b"BM", Content(Kind.FOREIGN, "a BMP picture")),
    (8, b"WEBP", Content(Kind.FOREIGN, "a WebP picture")),
    (0, b"\x00\x00\x00\x0cjP  \r\n\x87\n", Content(Kind.FOREIGN, "a JPEG 2000 picture")),
    (0, b"\xff\x4f\xff\x51", Content(Kind.FOREIGN, "a JPEG 2000 stream outside DICOM")),
    (0, b"%PDF-", Content(Kind.FOREIGN, "a PDF document")),
    (0, b"MZ", Content(Kind.FOREIGN, "a Windows program")),
    (0, b"\x7fELF", Content(Kind.FOREIGN, "a program")),
    (0, b"NRRD", Content(Kind.FOREIGN, "an NRRD file")),
    (0, b"\x89HDF\r\n\x1a\n", Content(Kind.FOREIGN, "an HDF5 file (MINC?)")),
    (0, b"\x00\x05\x16\x07", Content(Kind.FOREIGN, "a side file of macOS")),
    (0, b"\x00\x00\x00\x01Bud1", Content(Kind.FOREIGN, "a side file of macOS")),
)


def sniff(head: bytes) -> Content:
    """Tell what a file is.

    Args:
        head: its first `HEAD_BYTES`, or all of it if it is shorter.

    Returns:
        `UNKNOWN` also for DICOM without a preamble, which has no magic number: `dicom.is_dicom` tells that.
    """
    if not head:
        return EMPTY
    nifti = _sniff_nifti(head)
    if nifti is not None:
        return nifti
    return next((content for place, magic, content in _MAGIC if head.startswith(magic, place)), UNKNOWN)


def _sniff_nifti(head: bytes) -> Content | None:
    """NIfTI-1: 348 and the magic at its end; NIfTI-2: 540 and the magic after it; either byte order."""
    size = head[:4]
    if size in (b"\x5c\x01\x00\x00", b"\x00\x00\x01\x5c"):
        if len(head) < _NIFTI1_BYTES:
            # A file that ends before its magic: cut off, and better called so than unknown.
            return _NIFTI
        magic = head[344:348]
        if magic in (b"n+1\x00", b"ni1\x00"):
            return _NIFTI if magic[1:2] == b"+" else NIFTI_PAIR
        # `regular` is 'r' in every Analyze 7.5 header.
        return _ANALYZE if head[38:39] == b"r" and magic == b"\x00\x00\x00\x00" else None
    if size in (b"\x1c\x02\x00\x00", b"\x00\x00\x02\x1c") and head[8:12] == b"\r\n\x1a\n":
        return {b"n+2\x00": _NIFTI, b"ni2\x00": NIFTI_PAIR}.get(head[4:8])
    return None
