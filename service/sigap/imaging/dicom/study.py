"""DICOM files to a study, or to a refusal that says why."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from sigap.core.errors import GeometryRefused, UnreadableInput
from sigap.core.study import DecodeOptions, Ignored, InputFile, Limits, Origin, Study, Volume
from sigap.core.verdict import GeometryVerdict, Reason
from sigap.imaging.dicom.acquisitions import find_acquisitions, pick_acquisition, refuse_interleaved
from sigap.imaging.dicom.agreement import check_agreement
from sigap.imaging.dicom.carried import carry
from sigap.imaging.dicom.choice import choose_series
from sigap.imaging.dicom.duplicates import are_copies, drop_repeated_files, resolve_duplicates
from sigap.imaging.dicom.frames import Frame
from sigap.imaging.dicom.hounsfield import read_volume
from sigap.imaging.dicom.patients import check_patients
from sigap.imaging.dicom.places import Placed, place
from sigap.imaging.dicom.quiet import quiet
from sigap.imaging.dicom.reading import DIRECTORY, read_frames
from sigap.imaging.dicom.series import Series, group_series
from sigap.imaging.dicom.stack import build_grid


def read(
    files: Sequence[InputFile],
    *,
    sha256: str,
    ignored: tuple[Ignored, ...] = (),
    options: DecodeOptions = DecodeOptions(),
    limits: Limits = Limits(),
    check: Callable[[], None] = lambda: None,
) -> Study:
    """Read one CT series.

    Args:
        files: DICOM files in any order; what is no slice of the series is named in the study's `ignored`.
        sha256: of what was sent.
        ignored: what the caller already left out.
        options: `series_uid` and `acquisition` pick one of several.
        limits: caps on the decoded size.
        check: called for each file and each slice; what it raises ends the reading.

    Raises:
        GeometryRefused: a number from these images could not be trusted; carries the verdict and the origin.
        UnreadableInput: damaged, broken off, without pixels, or in an unknown transfer syntax.
        TooLarge: over the limits.
        BadParameter: `options` name a series or an acquisition that is not there.
    """
    with quiet():
        return _Reading(sha256, ignored, options, limits, check).read(files)


class _Reading:
    """One upload on its way to a study: findings and left-out files gather while it goes."""

    def __init__(
        self,
        sha256: str,
        ignored: tuple[Ignored, ...],
        options: DecodeOptions,
        limits: Limits,
        check: Callable[[], None],
    ) -> None:
        self._sha256 = sha256
        self._options = options
        self._limits = limits
        self._check = check
        self._ignored = list(ignored)
        self._reasons: list[Reason] = []
        self._frames: Sequence[Frame] = ()

    def read(self, files: Sequence[InputFile]) -> Study:
        series = self._choose(self._headers(files))
        self._frames = series.frames
        placed = self._picked(place(series.frames))
        self._reasons += check_agreement(self._frames)
        placed = self._one_slice_a_place(placed)
        self._stop_if_refused()
        if placed is None:
            raise ValueError("slices without a position were not refused")
        self._frames = placed.frames
        grid, findings = build_grid(placed)
        self._reasons += findings
        voxels = read_volume(placed.frames, self._limits, self._check)
        origin = replace(self._origin(), dicom=carry(self._frames, self._limits))
        return Study(Volume(voxels, is_hounsfield=True, grid=grid), origin, self._verdict())

    def _headers(self, files: Sequence[InputFile]) -> list[Frame]:
        frames: list[Frame] = []
        for file in files:
            self._check()
            found = read_frames(file, self._limits, self._check)
            if isinstance(found, Ignored):
                self._ignored.append(found)
            else:
                frames += found
        if not frames and self._ignored and all(entry.reason == DIRECTORY for entry in self._ignored):
            raise UnreadableInput("There is a DICOMDIR but none of the images that it lists.", slug="no-pixels")
        kept, repeated = drop_repeated_files(frames)
        self._ignored += repeated
        return kept

    def _choose(self, frames: Sequence[Frame]) -> Series:
        found = group_series(frames)
        self._frames = frames
        self._reasons += check_patients(frame.image.patient for frame in frames)
        choice = choose_series(found, series_uid=self._options.series_uid)
        self._reasons += choice.reasons
        self._ignored += choice.ignored
        if choice.series is None:
            raise self._refusal()
        return choice.series

    def _picked(self, placed: Placed | None) -> Placed | None:
        """Leave the acquisition that was asked for; only its own slices must agree then."""
        if placed is None or self._options.acquisition is None:
            return placed
        picked = pick_acquisition(placed, find_acquisitions(placed), self._options.acquisition)
        self._leave_out(placed.frames, picked.frames, "Belongs to another acquisition than the one asked for.")
        self._frames = picked.frames
        return picked

    def _one_slice_a_place(self, placed: Placed | None) -> Placed | None:
        """Settle acquisitions first: what tells two slices of one place apart is no duplicate."""
        if placed is None:
            return None
        found = find_acquisitions(placed) if self._options.acquisition is None else None
        is_refused = bool(self._verdict().refusals)
        if found is not None and (is_refused or not are_copies(placed, self._limits, self._check)):
            self._reasons.append(refuse_interleaved(placed, found))
            return placed
        if is_refused:
            return placed
        placed, reasons, unused = resolve_duplicates(placed, self._limits, self._check)
        self._reasons += reasons
        self._ignored += unused
        return placed

    def _leave_out(self, everything: Iterable[Frame], kept: Iterable[Frame], reason: str) -> None:
        used = {frame.image.file for frame in kept}
        unused = dict.fromkeys(frame.image.file for frame in everything if frame.image.file not in used)
        self._ignored += [Ignored(file.name, reason) for file in unused]

    def _stop_if_refused(self) -> None:
        if self._verdict().refusals:
            raise self._refusal()

    def _refusal(self) -> GeometryRefused:
        return GeometryRefused(self._verdict(), self._origin())

    def _verdict(self) -> GeometryVerdict:
        return GeometryVerdict(tuple(sorted(self._reasons, key=lambda reason: -reason.severity)))

    def _origin(self) -> Origin:
        images = [frame.image for frame in self._frames]
        studies, series = ({image.study_uid for image in images}, {image.series_uid for image in images})
        return Origin(
            kind="dicom",
            sha256=self._sha256,
            ignored=tuple(self._ignored),
            study_uid=(studies.pop() or None) if len(studies) == 1 else None,
            series_uid=(series.pop() or None) if len(series) == 1 else None,
            sop_instance_uids=tuple(image.sop_uid for image in images),
            body_part=next((image.body_part for image in images if image.body_part), None),
            contrast_agent=next((image.contrast_agent for image in images if image.contrast_agent), None),
        )
