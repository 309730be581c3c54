"""NIfTI-1 and NIfTI-2 in one file, plain or gzipped."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from sigap.core.errors import GeometryRefused, TooLarge, UnreadableInput
from sigap.core.study import Ignored, Limits, NiftiFrame, Origin, Study, Volume
from sigap.core.verdict import GeometryVerdict, Reason, Severity
from sigap.imaging.gzipped import MOST_EXPANSION
from sigap.imaging.kinds import HEAD_BYTES
from sigap.imaging.nifti import axes, voxels
from sigap.imaging.nifti.header import Header, parse

__all__ = ["read"]


def read(
    path: Path,
    *,
    is_gzip: bool,
    sha256: str,
    ignored: tuple[Ignored, ...],
    limits: Limits,
    check: Callable[[], None] = lambda: None,
) -> Study:
    """Read a volume with its places.

    Args:
        path: the file; `kinds.sniff` has called it, or what its gzip holds, NIfTI.
        is_gzip: whether it is gzipped.
        sha256: of the upload.
        ignored: what else was in the upload.
        limits: caps on the volume.
        check: called now and then; what it raises ends the reading.

    Raises:
        UnreadableInput: cut off, contradictory, of several volumes, or without CT numbers.
        TooLarge: over `limits`.
        GeometryRefused: `no_spacing`.

    Source:
        nifti1.h and nifti2.h of the NIfTI-1.1 and NIfTI-2 formats; where they leave a choice, nibabel's.
    """
    source = voxels.Source(path, is_gzip)
    with source.open() as stream:
        header = parse(stream.read(HEAD_BYTES))
    _check_size(header, source, limits)
    fault = axes.spacing_fault(header)
    if fault is not None or header.affine_ras_mm is None:
        verdict = GeometryVerdict((fault,) if fault else ())
        raise GeometryRefused(verdict, Origin(kind="nifti", sha256=sha256, ignored=ignored))
    found = axes.nearest(header.affine_ras_mm)
    values, extremes = voxels.read(source, header, found.order, check)
    return Study(
        volume=Volume(values, is_hounsfield=True, grid=axes.grid(header, found, header.affine_ras_mm)),
        origin=Origin(kind="nifti", sha256=sha256, ignored=ignored, nifti=NiftiFrame(header.raw, found.order)),
        geometry=GeometryVerdict(tuple(_warnings(header, extremes))),
    )


def _check_size(header: Header, source: voxels.Source, limits: Limits) -> None:
    # Before anything is allocated. The most that a gzip file can hold is known from its size.
    most_bytes = source.path.stat().st_size * (MOST_EXPANSION if source.is_gzip else 1)
    if header.bytes_needed > most_bytes:
        raise UnreadableInput(
            "The NIfTI header promises more voxels than the file holds: it was cut off, or its header is wrong. "
            "Send it again.",
            slug="truncated",
        )
    *_, second, largest = sorted(header.dims)
    if second * largest > limits.plane_pixels:
        raise TooLarge(
            f"A plane of this volume has more than {limits.plane_pixels:,} pixels. Send a smaller one.",
            slug="too-many-pixels",
        )
    if 2 * header.voxels > limits.volume_bytes or header.bytes_needed > limits.unpacked_bytes:
        raise TooLarge(
            f"The volume has {header.voxels:,} voxels, more than this service has memory for. Send a part of it.",
            slug="volume-too-large",
        )


def _warnings(header: Header, extremes: voxels.Extremes) -> list[Reason]:
    reasons = []
    if not header.is_oriented:
        reasons.append(
            Reason(
                "no_orientation",
                Severity.WARNING,
                "The NIfTI header does not say which side is left or right (qform and sform codes are 0): "
                "volumes hold, positions are not given, and pictures carry no marks.",
            )
        )
    if extremes.least >= 0 and extremes.greatest <= 255:
        reasons.append(
            Reason(
                "not_hounsfield",
                Severity.WARNING,
                "All values are within 0 to 255, as in a picture: if they are not CT numbers in HU, "
                "the answer means nothing.",
                {"least": extremes.least, "greatest": extremes.greatest},
            )
        )
    return reasons
