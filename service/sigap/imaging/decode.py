"""From an upload to a study: what its files are, by content, and who reads them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from sigap.core.errors import BadParameter, TooLarge, UnreadableInput, UnsupportedFormat
from sigap.core.study import DecodeOptions, Ignored, InputFile, Limits, Study, combined_sha256
from sigap.core.study import Kind as ImageKind
from sigap.imaging import archive, dicom, gzipped, nifti, picture
from sigap.imaging.kinds import HEAD_BYTES, Content, Kind, sniff

_FORMATS = "NIfTI (.nii, .nii.gz), DICOM (files or a zip), PNG and JPEG are read"
_DICOM_ONLY = ("series_uid", "acquisition")
_PICTURE_ONLY = ("pixel_spacing_mm", "slice_thickness_mm")


def decode(
    files: Sequence[InputFile],
    *,
    workspace: Path,
    options: DecodeOptions,
    limits: Limits,
    sha256: str | None = None,
    check: Callable[[], None] = lambda: None,
) -> Study:
    """Read one study from whatever was sent.

    A file's name decides nothing. Zips are unpacked, and their files stand beside the others. What is no image is
    ignored and named; two kinds of image in one upload are refused, because either may be the one that was meant.

    Args:
        files: what was sent, in any order.
        workspace: an empty folder for unpacked files; the caller deletes it.
        options: what the client says about its input.
        limits: caps on the decoded size.
        sha256: the `fingerprint` of `files`, where the caller already knows it.
        check: called for each file and every few slices; what it raises (`Cancelled`, `DeadlineExceeded`) ends the
            reading.

    Raises:
        UnsupportedFormat: nothing in it is of a format that we read.
        UnreadableInput: empty, cut off, damaged, unsafe, or of two kinds.
        TooLarge: over `limits`.
        BadParameter: an option that makes no sense, or none for this kind of input.
        GeometryRefused: readable, but a number from it could not be trusted.
    """
    picture.check_options(options)
    if not files:
        raise UnreadableInput("No file was sent. Send one study in the field `files`.", slug="no-file")
    upload = _sort(files, workspace, limits, check)
    kind = upload.kind()
    _check_options(options, kind)
    sha256 = sha256 or fingerprint(files)
    ignored = tuple(upload.ignored)
    if kind == "dicom":
        return dicom.read(upload.dicom, sha256=sha256, ignored=ignored, options=options, limits=limits, check=check)
    if kind == "nifti":
        is_gzip = upload.images[0].is_gzip
        path = upload.images[0].path
        return nifti.read(path, is_gzip=is_gzip, sha256=sha256, ignored=ignored, limits=limits, check=check)
    path = upload.images[0].path
    return picture.read(path, kind, sha256=sha256, ignored=ignored, options=options, limits=limits)


def fingerprint(files: Sequence[InputFile]) -> str:
    """The `combined_sha256` of the files sent."""
    digests = []
    for sent in files:
        with sent.path.open("rb") as file:
            digests.append(hashlib.file_digest(file, "sha256").hexdigest())
    return combined_sha256(digests)


@dataclass(frozen=True)
class _Image:
    """A file that is an image by itself."""

    path: Path
    kind: ImageKind
    is_gzip: bool = False


@dataclass(frozen=True)
class _Upload:
    """The files of an upload by what they are."""

    dicom: list[InputFile] = field(default_factory=list)
    images: list[_Image] = field(default_factory=list)
    ignored: list[Ignored] = field(default_factory=list)
    unread: list[Content] = field(default_factory=list)

    def kind(self) -> ImageKind:
        """The one kind of image there is.

        Raises:
            UnreadableInput: there are two, or several images that are each a study, or nothing but empty files.
            UnsupportedFormat: there is none.
        """
        kinds: set[ImageKind] = {image.kind for image in self.images}
        if self.dicom:
            kinds.add("dicom")
        if len(kinds) > 1:
            listed = ", ".join(sorted(kind.upper() for kind in kinds))
            raise UnreadableInput(
                f"The upload holds images of several kinds ({listed}). Send one study of one kind.", slug="mixed-kinds"
            )
        if len(self.images) > 1:
            raise UnreadableInput(
                f"The upload holds {len(self.images)} images that are each a study of their own. Send one at a time.",
                slug="several-images",
            )
        if not kinds:
            raise self._nothing()
        return kinds.pop()

    def _nothing(self) -> UnreadableInput | UnsupportedFormat:
        if not self.unread:
            return UnreadableInput("The zip has no files in it. Send the image files.", slug="empty-archive")
        contents = [content for content in self.unread if content.kind is not Kind.EMPTY]
        if not contents:
            return UnreadableInput("The file sent is empty. Send it again.", slug="empty-file")
        # What was recognised says more than what was not.
        contents.sort(key=lambda content: content.kind is Kind.UNKNOWN)
        return UnsupportedFormat(
            f"This is {contents[0].word}. {_FORMATS}, each told by its content and not by its name."
        )


def _sort(files: Sequence[InputFile], workspace: Path, limits: Limits, check: Callable[[], None]) -> _Upload:
    upload = _Upload()
    for file, content, is_gzip in _contents(files, workspace, limits):
        check()
        if content.kind is Kind.DICOM:
            upload.dicom.append(file)
        elif content.kind is Kind.NIFTI:
            upload.images.append(_Image(file.path, "nifti", is_gzip))
        elif content.kind is Kind.PNG:
            upload.images.append(_Image(file.path, "png"))
        elif content.kind is Kind.JPEG:
            upload.images.append(_Image(file.path, "jpeg"))
        else:
            upload.unread.append(content)
            upload.ignored.append(Ignored(file.name, f"{content.word}, not an image that is read"))
    return upload


def _contents(files: Sequence[InputFile], workspace: Path, limits: Limits) -> Iterator[tuple[InputFile, Content, bool]]:
    """Each file with what it is (or holds, if it is gzipped) and whether it is gzipped; for a zip its files."""
    if len(files) > limits.members:
        raise TooLarge(
            f"At most {limits.members:,} files are read at once. Send one study alone.", slug="too-many-members"
        )
    left = limits
    for number, file in enumerate(files):
        content, is_gzip = _content(file.path)
        if content.kind is not Kind.ZIP:
            yield file, content, is_gzip
            continue
        folder = workspace / str(number)
        folder.mkdir()
        members = archive.unpack(file.path, folder, left)
        # Several zips share one allowance.
        unpacked_bytes = sum(member.path.stat().st_size for member in members)
        left = replace(left, members=left.members - len(members), unpacked_bytes=left.unpacked_bytes - unpacked_bytes)
        for member in members:
            yield member, *_member_content(member.path)


def _content(path: Path) -> tuple[Content, bool]:
    with path.open("rb") as file:
        content = sniff(file.read(HEAD_BYTES))
    if content.kind is Kind.GZIP:
        return gzipped.content(path), True
    if content.kind is Kind.UNKNOWN and dicom.is_dicom(path):
        return Content(Kind.DICOM, "a DICOM file"), False
    return content, False


def _member_content(path: Path) -> tuple[Content, bool]:
    content, is_gzip = _content(path)
    if content.kind in (Kind.ZIP, Kind.ARCHIVE):
        raise UnreadableInput(
            f"The zip holds {content.word} in its turn. Unpack that first, then send the image files in one zip.",
            slug="nested-archive",
        )
    return content, is_gzip


def _check_options(options: DecodeOptions, kind: str) -> None:
    allowed = {"dicom": _DICOM_ONLY, "nifti": ()}.get(kind, _PICTURE_ONLY)
    for name in _DICOM_ONLY + _PICTURE_ONLY:
        if getattr(options, name) is not None and name not in allowed:
            reader = "DICOM" if name in _DICOM_ONLY else "PNG and JPEG"
            raise BadParameter(f"{name} is for {reader} only. Leave it out.")
