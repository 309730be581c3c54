"""What an upload is, by the content of its files, and what it must not be."""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import io
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fakes import FakeEngine
from phantoms.nifti import gzipped, nifti_bytes
from phantoms.pictures import encoded, shades
from phantoms.zips import claiming, zipped
from sigap import pipeline
from sigap.core.errors import BadParameter, Cancelled, InputError, TooLarge, UnreadableInput, UnsupportedFormat
from sigap.core.study import DecodeOptions, Ignored, InputFile, Limits, Origin, Study
from sigap.imaging import decode as decoding
from sigap.imaging import nifti
from sigap.imaging.decode import decode, fingerprint

Files = Callable[..., list[InputFile]]
Upload = Callable[..., Study]

VOXELS = np.arange(60, dtype=np.int16).reshape(5, 4, 3) - 1000
NIFTI = nifti_bytes(VOXELS)
PNG, JPEG = encoded(shades(), "PNG"), encoded(shades(), "JPEG")
DICOM = bytes(128) + b"DICM" + bytes(200)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    """Files under numbers, as the server stores them, with the client's names beside."""

    def store(*contents: bytes, names: Sequence[str] = ()) -> list[InputFile]:
        stored = []
        for number, content in enumerate(contents):
            path = tmp_path / f"upload-{number}"
            path.write_bytes(content)
            stored.append(InputFile(path, names[number] if names else f"name-{number}"))
        return stored

    return store


@pytest.fixture
def upload(files: Files, tmp_path: Path) -> Upload:
    def decode_bytes(
        *contents: bytes,
        names: Sequence[str] = (),
        limits: Limits = Limits(),
        options: DecodeOptions = DecodeOptions(),
    ) -> Study:
        workspace = tmp_path / "workspace"
        workspace.mkdir()
        return decode(files(*contents, names=names), workspace=workspace, options=options, limits=limits)

    return decode_bytes


@pytest.fixture
def dicom_reads(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[dict[str, Any]]:
    """What the DICOM reader was asked to read; it answers with a NIfTI study."""
    calls: list[dict[str, Any]] = []

    def read(sent: Sequence[InputFile], **how: Any) -> Study:
        calls.append({"names": [file.name for file in sent], **how})
        path = tmp_path / "answer"
        path.write_bytes(NIFTI)
        study = nifti.read(path, is_gzip=False, sha256=how["sha256"], ignored=how["ignored"], limits=how["limits"])
        return dataclasses.replace(study, origin=Origin("dicom", how["sha256"], how["ignored"]))

    monkeypatch.setattr(decoding.dicom, "read", read)
    return calls


@pytest.mark.parametrize(
    ("content", "kind", "name"),
    [
        (NIFTI, "nifti", "scan.nii.gz"),
        (gzipped(NIFTI), "nifti", "scan.nii"),
        (zipped({"a/scan.png": NIFTI}), "nifti", "scan.dcm"),
        (zipped({"a/b/c/scan": gzipped(NIFTI)}), "nifti", "scan"),
        (PNG, "png", "scan.jpg"),
        (JPEG, "jpeg", "scan.png"),
        (zipped({"picture": PNG}), "png", "scan"),
    ],
)
def test_content_decides_and_not_the_name(upload: Upload, content: bytes, kind: str, name: str) -> None:
    study = upload(content, names=[name])

    assert study.origin.kind == kind
    assert study.origin.sha256 == hashlib.sha256(content).hexdigest()
    assert study.origin.ignored == ()


def test_what_is_no_image_is_named(upload: Upload) -> None:
    folder = {
        "scan": NIFTI,
        "notes.txt": b"Dear doctor",
        "a.pdf": b"%PDF-1.4",
        "empty": b"",
        "x.gz": gzip.compress(b"x"),
    }
    study = upload(zipped(folder), b"readme", names=["scan.zip", "readme"])

    assert study.origin.ignored == (
        Ignored("notes.txt", "a file of no known kind, not an image that is read"),
        Ignored("a.pdf", "a PDF document, not an image that is read"),
        Ignored("empty", "an empty file, not an image that is read"),
        Ignored("x.gz", "a gzip file that holds a file of no known kind, not an image that is read"),
        Ignored("readme", "a file of no known kind, not an image that is read"),
    )


def test_dicom_files_and_zips_are_one_heap(upload: Upload, dicom_reads: list[dict[str, Any]]) -> None:
    contents = (zipped({"1": DICOM, "a.txt": b"text"}), DICOM + b"2", zipped({"3": DICOM}))
    options = DecodeOptions(series_uid="1.2.3")
    upload(*contents, names=["one.zip", "2", "two.zip"], options=options)

    (call,) = dicom_reads
    assert call["names"] == ["1", "2", "3"]
    assert [entry.name for entry in call["ignored"]] == ["a.txt"]
    assert call["options"] == options
    digests = sorted(hashlib.sha256(content).hexdigest() for content in contents)
    assert call["sha256"] == hashlib.sha256("".join(digests).encode()).hexdigest()


def test_fingerprint_does_not_depend_on_the_order(files: Files) -> None:
    sent = files(PNG, JPEG, NIFTI)

    assert fingerprint(sent) == fingerprint(sent[::-1]) != fingerprint(sent[:2])


def test_a_known_fingerprint_is_believed(files: Files, tmp_path: Path) -> None:
    study = decode(files(PNG), workspace=tmp_path, options=DecodeOptions(), limits=Limits(), sha256="f" * 64)

    assert study.origin.sha256 == "f" * 64


def _tar(content: bytes) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        entry = tarfile.TarInfo("scan")
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))
    return stream.getvalue()


TEXT = b"This is a text, and no image at all.\n" * 40
HALF = NIFTI[:344] + b"ni1\x00" + NIFTI[348:]
BAD: dict[str, tuple[list[bytes], type[InputError], str]] = {
    "no file": ([], UnreadableInput, "no-file"),
    "an empty file": ([b""], UnreadableInput, "empty-file"),
    "two empty files": ([b"", b""], UnreadableInput, "empty-file"),
    "an empty gzip": ([gzip.compress(b"")], UnreadableInput, "empty-file"),
    "an empty zip": ([zipped({})], UnreadableInput, "empty-archive"),
    "a zip of a folder": ([zipped({"a/": b""})], UnreadableInput, "empty-archive"),
    "a zip of an empty file": ([zipped({"a": b""})], UnreadableInput, "empty-file"),
    "text": ([TEXT], UnsupportedFormat, "unsupported-format"),
    "a wrong magic": ([NIFTI[:344] + b"n+9\x00" + NIFTI[348:]], UnsupportedFormat, "unsupported-format"),
    "half a NIfTI pair": ([HALF], UnsupportedFormat, "unsupported-format"),
    "a NIfTI pair": ([NIFTI[352:], HALF], UnsupportedFormat, "unsupported-format"),
    "GIF": ([encoded(shades(), "GIF")], UnsupportedFormat, "unsupported-format"),
    "TIFF": ([encoded(shades(), "TIFF")], UnsupportedFormat, "unsupported-format"),
    "PDF": ([b"%PDF-1.7 " + TEXT], UnsupportedFormat, "unsupported-format"),
    "random bytes": ([bytes(range(7, 256)) * 9], UnsupportedFormat, "unsupported-format"),
    "a gzipped text": ([gzip.compress(TEXT)], UnsupportedFormat, "unsupported-format"),
    "a gzipped gzip": ([gzip.compress(gzip.compress(NIFTI))], UnsupportedFormat, "unsupported-format"),
    "a gzipped picture": ([gzip.compress(PNG)], UnsupportedFormat, "unsupported-format"),
    "a zip of texts": ([zipped({"a": TEXT, "b": TEXT})], UnsupportedFormat, "unsupported-format"),
    "a tar": ([_tar(NIFTI)], UnsupportedFormat, "unsupported-format"),
    "a 7z": ([b"7z\xbc\xaf\x27\x1c" + bytes(99)], UnsupportedFormat, "unsupported-format"),
    "a zip in a zip": ([zipped({"a": zipped({"b": NIFTI})})], UnreadableInput, "nested-archive"),
    "a tar in a zip": ([zipped({"a": _tar(NIFTI)})], UnreadableInput, "nested-archive"),
    "a gzipped tar in a zip": ([zipped({"a": gzip.compress(_tar(NIFTI))})], UnreadableInput, "nested-archive"),
    "a zip in a zip, beside an image": (
        [zipped({"scan": NIFTI, "a": zipped({"b": NIFTI})})],
        UnreadableInput,
        "nested-archive",
    ),
    "a cut gzip": ([gzipped(NIFTI)[:-9]], UnreadableInput, "truncated"),
    "a gzip header": ([gzipped(NIFTI)[:12]], UnreadableInput, "truncated"),
    "a cut NIfTI": ([NIFTI[:-9]], UnreadableInput, "truncated"),
    "a cut PNG": ([PNG[:-9]], UnreadableInput, "truncated"),
    "a cut zip": ([zipped({"scan": NIFTI})[:-9]], UnreadableInput, "truncated"),
    "a zip that leads out": ([zipped({"../../scan": NIFTI})], UnreadableInput, "unsafe-member"),
    "100,000 members": ([claiming(100_000)], TooLarge, "too-many-members"),
    "a gzip bomb of nothing": ([gzip.compress(bytes(300 << 20), 1)], TooLarge, "unpacked-too-large"),
    "two NIfTI files": ([NIFTI, gzipped(NIFTI)], UnreadableInput, "several-images"),
    "two pictures": ([PNG, PNG], UnreadableInput, "several-images"),
    "NIfTI and PNG": ([NIFTI, PNG], UnreadableInput, "mixed-kinds"),
    "PNG and JPEG": ([PNG, JPEG], UnreadableInput, "mixed-kinds"),
    "DICOM and NIfTI": ([DICOM, NIFTI], UnreadableInput, "mixed-kinds"),
    "DICOM and JPEG in a zip": ([zipped({"1": DICOM, "2": JPEG})], UnreadableInput, "mixed-kinds"),
    "a zip of DICOM beside a PNG": ([zipped({"1": DICOM}), PNG], UnreadableInput, "mixed-kinds"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_uploads_are_refused_and_say_why(upload: Upload, case: str, tmp_path: Path) -> None:
    contents, error, slug = BAD[case]
    with pytest.raises(InputError) as refusal:
        upload(*contents)

    assert type(refusal.value) is error
    assert refusal.value.slug == slug
    assert "name-" not in refusal.value.message
    assert str(tmp_path) not in refusal.value.message
    outside = {path.name for path in tmp_path.iterdir()}
    assert outside == {"workspace", *(f"upload-{number}" for number in range(len(contents)))}


def test_a_bomb_is_not_inflated_past_its_cap(upload: Upload, tmp_path: Path) -> None:
    with pytest.raises(TooLarge):
        upload(zipped({"scan": NIFTI + bytes(1 << 20)}), limits=Limits(unpacked_bytes=1 << 20))

    assert not list(tmp_path.glob("workspace/*/*"))


def test_several_zips_share_one_allowance(upload: Upload) -> None:
    three = [zipped({"1": DICOM, "2": TEXT})] * 3
    with pytest.raises(TooLarge) as refusal:
        upload(*three, limits=Limits(members=5))
    assert refusal.value.slug == "too-many-members"


def test_more_files_than_allowed(upload: Upload) -> None:
    with pytest.raises(TooLarge) as refusal:
        upload(PNG, PNG, PNG, limits=Limits(members=2))
    assert refusal.value.slug == "too-many-members"


@pytest.mark.parametrize(
    ("content", "options"),
    [
        (NIFTI, DecodeOptions(pixel_spacing_mm=(1.0, 1.0))),
        (NIFTI, DecodeOptions(slice_thickness_mm=1.0)),
        (NIFTI, DecodeOptions(series_uid="1.2")),
        (PNG, DecodeOptions(series_uid="1.2")),
        (PNG, DecodeOptions(acquisition="1")),
        (DICOM, DecodeOptions(pixel_spacing_mm=(1.0, 1.0))),
        (PNG, DecodeOptions(pixel_spacing_mm=(0.0, 1.0))),
    ],
)
def test_options_that_do_not_fit_are_refused(upload: Upload, content: bytes, options: DecodeOptions) -> None:
    with pytest.raises(BadParameter):
        upload(content, options=options)


def test_a_check_can_end_the_sorting_of_files(files: Files, tmp_path: Path) -> None:
    def check() -> None:
        raise Cancelled("Nobody waits any more.")

    with pytest.raises(Cancelled):
        decode(files(NIFTI), workspace=tmp_path, options=DecodeOptions(), limits=Limits(), check=check)


def test_the_check_reaches_the_dicom_reader(files: Files, tmp_path: Path, dicom_reads: list[dict[str, Any]]) -> None:
    calls: list[None] = []
    decode(
        files(DICOM),
        workspace=tmp_path,
        options=DecodeOptions(),
        limits=Limits(),
        check=lambda: calls.append(None),
    )
    before = len(calls)
    dicom_reads[0]["check"]()
    assert len(calls) == before + 1


def test_a_run_can_be_ended_while_it_decodes(files: Files, tmp_path: Path) -> None:
    """A deadline or a hang-up is noticed at the next file or block, not after the whole study."""
    told: list[pipeline.Progress] = []

    def progress(now: pipeline.Progress) -> None:
        told.append(now)
        if len(told) == 3:
            raise Cancelled("Nobody waits any more.")

    with pytest.raises(Cancelled):
        pipeline.run(files(NIFTI), task="toy", engine=FakeEngine(), workspace=tmp_path, progress=progress)
    assert [now.stage for now in told] == ["decode"] * 3
