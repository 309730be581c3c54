"""Zips are unpacked within their caps, and nothing is written outside the folder."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from phantoms.zips import FIFO, LINK, claiming, locked, lying, overlapping, zipped
from sigap.core.errors import InputError, TooLarge, UnreadableInput
from sigap.core.study import Limits
from sigap.imaging import archive

Unpack = Callable[..., dict[str, bytes]]


@pytest.fixture
def unpack(tmp_path: Path) -> Unpack:
    (tmp_path / "in").mkdir()

    def unpack_bytes(content: bytes, **limits: int) -> dict[str, bytes]:
        path = tmp_path / "in" / "zip"
        path.write_bytes(content)
        folder = tmp_path / "in" / str(len(list(tmp_path.glob("in/*"))))
        folder.mkdir()
        files = archive.unpack(path, folder, Limits(**limits))
        assert all(file.path.parent == folder for file in files)
        return {file.name: file.path.read_bytes() for file in files}

    yield unpack_bytes
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


FILES = {"a/1": b"one" * 1000, "a/b/2": b"", "3": bytes(range(256)) * 40}


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_files_come_out_as_they_went_in(unpack: Unpack, method: int) -> None:
    assert unpack(zipped(FILES, method=method)) == FILES


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    pattern=st.binary(min_size=1, max_size=60),
    length=st.sampled_from([0, 1, 1000, 32768, 65536, 4 << 20, (4 << 20) + 1, 9 << 20]),
    level=st.integers(0, 9),
)
def test_any_length_and_any_ratio(unpack: Unpack, pattern: bytes, length: int, level: int) -> None:
    content = (pattern * (length // len(pattern) + 1))[:length]
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED, compresslevel=level) as packed:
        packed.writestr("x", content)

    assert unpack(stream.getvalue()) == {"x": content}


def test_folders_and_the_names_of_windows_are_no_files(unpack: Unpack) -> None:
    assert unpack(zipped({"a/": b"", "b\\": b"", "b\\1": b"1"})) == {"b\\1": b"1"}


def test_two_members_of_one_name_are_two_files(tmp_path: Path) -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as packed:
        packed.writestr("x", b"1")
        with pytest.warns(UserWarning, match="Duplicate name"):
            packed.writestr("x", b"2")
    (tmp_path / "zip").write_bytes(stream.getvalue())
    (tmp_path / "out").mkdir()

    files = archive.unpack(tmp_path / "zip", tmp_path / "out", Limits())
    assert [file.path.read_bytes() for file in files] == [b"1", b"2"]


def test_data_descriptors_and_a_prefix_are_fine(unpack: Unpack) -> None:
    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return False

    stream = Pipe()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("x", b"content" * 99)

    assert unpack(stream.getvalue()) == {"x": b"content" * 99}
    assert unpack(b"a prefix" + stream.getvalue()) == {"x": b"content" * 99}


PLAIN = zipped({"scan": b"content" * 1000})
CHECKSUM = zlib.crc32(b"content" * 1000).to_bytes(4, "little")
BAD: dict[str, tuple[bytes, type[InputError], str]] = {
    "up and out": (zipped({"../scan": b"x"}), UnreadableInput, "unsafe-member"),
    "up and out in between": (zipped({"a/../../scan": b"x"}), UnreadableInput, "unsafe-member"),
    "up and out of a Windows folder": (zipped({"a\\..\\..\\scan": b"x"}), UnreadableInput, "unsafe-member"),
    "an outside folder": (zipped({"../": b""}), UnreadableInput, "unsafe-member"),
    "absolute": (zipped({"/etc/scan": b"x"}), UnreadableInput, "unsafe-member"),
    "absolute, Windows": (zipped({"\\scan": b"x"}), UnreadableInput, "unsafe-member"),
    "a drive": (zipped({"C:\\scan": b"x"}), UnreadableInput, "unsafe-member"),
    "a drive's own folder": (zipped({"c:scan": b"x"}), UnreadableInput, "unsafe-member"),
    "a link": (zipped({"scan": b"/etc/passwd"}, mode=LINK), UnreadableInput, "unsafe-member"),
    "a pipe": (zipped({"scan": b""}, mode=FIFO), UnreadableInput, "unsafe-member"),
    "a password": (locked(PLAIN), UnreadableInput, "encrypted"),
    "lzma": (zipped({"scan": b"x"}, method=zipfile.ZIP_LZMA), UnreadableInput, "unsupported-compression"),
    "cut in the directory": (PLAIN[:-30], UnreadableInput, "truncated"),
    "cut at its last byte": (PLAIN[:-1], UnreadableInput, "truncated"),
    "cut in a file": (PLAIN[:60], UnreadableInput, "truncated"),
    "said to be stored, and deflated": (PLAIN.replace(b"\x08\x00", b"\x00\x00"), UnreadableInput, "damaged"),
    "a directory of nonsense": (PLAIN.replace(b"PK\x01\x02", b"PK\x01\x03"), UnreadableInput, "damaged"),
    "another checksum": (PLAIN.replace(CHECKSUM, bytes(4)), UnreadableInput, "damaged"),
    "a file of nonsense": (PLAIN.replace(b"PK\x03\x04", b"PK\x03\x05"), UnreadableInput, "damaged"),
    "less than it says": (lying(bytes(99), unpacked=bytes(50)), UnreadableInput, "damaged"),
    "more than it says": (lying(bytes(50), unpacked=bytes(1 << 20)), UnreadableInput, "damaged"),
    "far more than it says": (lying(bytes(50), unpacked=bytes(80 << 20)), TooLarge, "unpacked-too-large"),
    "a bomb of zeros": (zipped({"scan": bytes(80 << 20)}), TooLarge, "unpacked-too-large"),
    "one file named often": (overlapping(bytes(1 << 20), 100), TooLarge, "unpacked-too-large"),
    "100,000 members": (claiming(100_000), TooLarge, "too-many-members"),
    "70,000 honest members, told in 64 bits": (
        zipped({str(number): b"" for number in range(70_000)}),
        TooLarge,
        "too-many-members",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_what_must_not_be_unpacked_is_refused(unpack: Unpack, case: str) -> None:
    content, error, slug = BAD[case]
    with pytest.raises(error) as refusal:
        unpack(content)

    assert refusal.value.slug == slug


def test_a_file_that_says_to_be_empty_is_not_inflated_byte_by_byte(tmp_path: Path) -> None:
    path = tmp_path / "zip"
    path.write_bytes(lying(b"", unpacked=bytes(1 << 20)))
    with zipfile.ZipFile(path) as packed, path.open("rb") as file:
        (member,) = packed.infolist()
        assert member.file_size == 0
        assert list(archive._pieces(member, file.fileno())) == [bytes(1 << 20)]


def test_a_directory_of_64_bits_counts_only_in_its_place(unpack: Unpack, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as packed:
        for number in range(30):
            entry = zipfile.ZipInfo(str(number))
            # It would say: one member, in a directory of one byte.
            entry.comment = b"PK\x06\x06" + bytes(28) + struct.pack("<QQQ", 1, 1, 0)
            packed.writestr(entry, b"")
    assert len(unpack(stream.getvalue(), members=30)) == 30

    monkeypatch.setattr(archive, "ZipFile", None)  # refused before anything is listed
    with pytest.raises(TooLarge) as refusal:
        unpack(stream.getvalue(), members=20)
    assert refusal.value.slug == "too-many-members"


def test_what_is_listed_is_counted_too(unpack: Unpack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "_check_count", lambda *_: None)
    with pytest.raises(TooLarge) as refusal:
        unpack(zipped(FILES), members=2)
    assert refusal.value.slug == "too-many-members"


def test_caps_are_exact(unpack: Unpack) -> None:
    total = sum(map(len, FILES.values()))
    assert unpack(zipped(FILES), members=3, unpacked_bytes=total) == FILES
    with pytest.raises(TooLarge):
        unpack(zipped(FILES), members=2)
    with pytest.raises(TooLarge):
        unpack(zipped(FILES), unpacked_bytes=total - 1)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.integers(0, len(PLAIN) - 1), value=st.integers(0, 255))
def test_no_changed_byte_ends_in_another_error(unpack: Unpack, place: int, value: int) -> None:
    changed = bytearray(PLAIN)
    changed[place] = value
    try:
        (content,) = unpack(bytes(changed)).values()
    except InputError:
        return
    assert content == b"content" * 1000
