"""The multipart form: any split of its bytes, any number of files, and every way to get it wrong."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.datastructures import Headers

from sigap.api.form import UploadForm, boundary_of, check_declared_size
from sigap.api.problems import MalformedForm, NotAForm
from sigap.core.errors import SigapError, TooLarge, UnreadableInput
from sigap.core.study import InputFile
from sigap.jobs.folder import JobFolder
from sigap.jobs.upload import Upload

BOUNDARY = b"a-boundary"


@pytest.fixture
def upload(tmp_path: Path) -> Iterator[Upload]:
    with Upload(JobFolder(tmp_path / "job"), lambda _: None, 0) as upload:
        yield upload


def received(upload: Upload) -> list[InputFile]:
    """What a run would find."""
    upload.complete()
    files, _ = upload.folder.files()
    return files


def part(content: bytes, disposition: str = 'form-data; name="files"; filename="a.dcm"', *more: str) -> bytes:
    headers = "".join(f"{line}\r\n" for line in (f"Content-Disposition: {disposition}", *more))
    return b"--" + BOUNDARY + b"\r\n" + headers.encode() + b"\r\n" + content + b"\r\n"


END = b"--" + BOUNDARY + b"--\r\n"


def feed(upload: Upload, body: bytes, step: int = 1 << 20, max_files: int = 10_000) -> None:
    form = UploadForm(BOUNDARY, upload, max_files=max_files)
    try:
        for first in range(0, len(body), step):
            form.feed(body[first : first + step])
        form.complete()
    finally:
        form.close()


@pytest.mark.parametrize("step", [1, 2, 3, 7, 64, 1 << 20])
def test_files_arrive_as_they_were_however_their_bytes_are_split(upload: Upload, step: int) -> None:
    contents = [b"", b"\r\n--a-bound", b"\r\n--a-boundarx\r\n" + os.urandom(100), bytes(range(256))]
    feed(upload, b"".join(part(content) for content in contents) + END, step)
    assert [file.path.read_bytes() for file in received(upload)] == contents


def test_names_are_kept_for_the_report_alone(upload: Upload) -> None:
    name = "Jörg & Söhne; a.dcm"
    feed(upload, part(b"x", f'form-data; name="files"; filename="{name}"') + END)
    assert received(upload)[0].name == name


def test_an_endless_name_is_cut(upload: Upload) -> None:
    feed(upload, part(b"x", f'form-data; name="files"; filename="{"n" * 3000}"') + END)
    assert received(upload)[0].name == "n" * 255


def test_sixteen_hundred_files_are_a_usual_study(upload: Upload) -> None:
    feed(upload, b"".join(part(b"%d" % number) for number in range(1600)) + END, 4096)
    assert [file.path.read_bytes() for file in received(upload)] == [b"%d" % number for number in range(1600)]


@pytest.mark.parametrize(
    ("body", "kind", "slug"),
    [
        (END, UnreadableInput, "no-file"),
        (part(b"x", 'form-data; name="file"; filename="a"') + END, UnreadableInput, "no-file"),
        (part(b"x", 'form-data; name="files"') + END, UnreadableInput, "no-file"),
        (part(b"", 'form-data; name="files"; filename=""') + END, UnreadableInput, "no-file"),
        (part(b"x") + part(b"json", 'form-data; name="format"') + END, UnreadableInput, "no-file"),
        (b"", MalformedForm, "malformed-multipart"),
        (b"no form at all", MalformedForm, "malformed-multipart"),
        (part(b"x"), MalformedForm, "malformed-multipart"),
        (part(b"x")[:-1], MalformedForm, "malformed-multipart"),
        (part(b"x", "attachment") + END, MalformedForm, "malformed-multipart"),
        (part(b"x", "form-data; name=\"files\"; filename*=utf-8''a") + END, MalformedForm, "malformed-multipart"),
        (b"--" + BOUNDARY + b"\r\n\r\nx\r\n" + END, MalformedForm, "malformed-multipart"),
        (b"--" + BOUNDARY + b"\r\nno colon\r\n\r\nx\r\n" + END, MalformedForm, "malformed-multipart"),
        (
            part(b"eA==", 'form-data; name="files"; filename="a"', "Content-Transfer-Encoding: base64") + END,
            MalformedForm,
            "malformed-multipart",
        ),
        (
            part(b"x", 'form-data; name="files"; filename="a"', "X-Long: " + "y" * 9000) + END,
            MalformedForm,
            "malformed-multipart",
        ),
        (
            part(b"x", 'form-data; name="files"; filename="a"', *(f"X-{n}: y" for n in range(200))) + END,
            MalformedForm,
            "malformed-multipart",
        ),
        (part(b"x") * 4 + END, TooLarge, "too-many-files"),
    ],
)
def test_each_fault_has_its_name(upload: Upload, body: bytes, kind: type[SigapError], slug: str) -> None:
    with pytest.raises(kind) as raised:
        feed(upload, body, max_files=3)
    assert raised.value.slug == slug


@pytest.mark.parametrize(
    ("headers", "kind"),
    [
        ({}, UnreadableInput),
        ({"content-type": "application/x-www-form-urlencoded"}, UnreadableInput),
        ({"content-type": "application/json"}, NotAForm),
        ({"content-type": "multipart/mixed; boundary=x"}, NotAForm),
        ({"content-type": "multipart/form-data; boundary=x", "content-encoding": "gzip"}, NotAForm),
        ({"content-type": "multipart/form-data"}, MalformedForm),
        ({"content-type": "multipart/form-data; boundary="}, MalformedForm),
    ],
)
def test_headers_alone_refuse_what_is_no_form(headers: dict[str, str], kind: type[SigapError]) -> None:
    with pytest.raises(kind):
        boundary_of(Headers(headers))


@pytest.mark.parametrize(
    "content_type", ["multipart/form-data; boundary=a-b", 'Multipart/Form-Data; charset=x; boundary="a-b"']
)
def test_the_boundary_is_found(content_type: str) -> None:
    assert boundary_of(Headers({"content-type": content_type})) == b"a-b"


def test_an_endless_boundary_is_refused(upload: Upload) -> None:
    with pytest.raises(MalformedForm):
        UploadForm(b"b" * 5000, upload, max_files=1)


def test_a_declared_size_is_believed_where_it_is_too_large() -> None:
    check_declared_size(Headers({"content-length": "100"}), 100)
    check_declared_size(Headers({}), 100)
    with pytest.raises(TooLarge):
        check_declared_size(Headers({"content-length": "101"}), 100)
