"""A job's files: private, counted, under our own names, and gone."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from sigap.core.errors import StorageFull
from sigap.jobs.folder import JobFolder, JobFolders, no_room_means_full


@pytest.fixture
def folders(tmp_path: Path) -> Iterator[JobFolders]:
    with JobFolders(tmp_path / "data", quota_bytes=100) as folders:
        yield folders


def upload(folder: JobFolder, name: str, content: bytes) -> None:
    file = folder.receive(name)
    file.write(content)
    file.complete()


def left(tmp_path: Path) -> list[Path]:
    return list((tmp_path / "data" / "jobs").iterdir())


def test_names_of_clients_never_become_paths(folders: JobFolders, tmp_path: Path) -> None:
    folder = folders.create()
    upload(folder, "../../etc/Müller^Anna.dcm", b"one")
    upload(folder, "../../etc/Müller^Anna.dcm", b"two")
    assert [file.path.read_bytes() for file in folder.files] == [b"one", b"two"]
    assert [file.name for file in folder.files] == ["../../etc/Müller^Anna.dcm"] * 2
    assert all(file.path.is_relative_to(tmp_path / "data" / "jobs" / folder.id) for file in folder.files)
    assert not any("nna" in str(file.path) for file in folder.files)


def test_only_the_owner_can_look_inside(folders: JobFolders, tmp_path: Path) -> None:
    folder = folders.create()
    assert (tmp_path / "data" / "jobs").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "data" / "jobs" / folder.id).stat().st_mode & 0o777 == 0o700
    assert len(folder.id) >= 32


def test_one_file_has_its_own_sha256(folders: JobFolders) -> None:
    folder = folders.create()
    upload(folder, "a", b"abc")
    assert folder.sha256 == hashlib.sha256(b"abc").hexdigest()


def test_several_files_have_the_sha256_of_their_sorted_ones(folders: JobFolders) -> None:
    one, other = folders.create(), folders.create()
    for name, content in [("a", b"1"), ("b", b"2"), ("c", b"3")]:
        upload(one, name, content)
    for name, content in [("z", b"3"), ("y", b"1"), ("x", b"2")]:
        upload(other, name, content)
    digests = sorted(hashlib.sha256(content).hexdigest() for content in (b"1", b"2", b"3"))
    assert one.sha256 == other.sha256 == hashlib.sha256("".join(digests).encode()).hexdigest()


def test_nothing_is_left_and_the_space_is_free_again(folders: JobFolders, tmp_path: Path) -> None:
    for _ in range(3):
        folder = folders.create()
        upload(folder, "a", bytes(90))
        (folder.workspace / "deep").mkdir()
        (folder.workspace / "deep" / "file").touch()
        folder.remove()
        folder.remove()
    assert left(tmp_path) == []


def test_all_uploads_together_stay_under_the_quota(folders: JobFolders) -> None:
    upload(folders.create(), "a", bytes(60))
    file = folders.create().receive("b")
    file.write(bytes(40))
    with pytest.raises(StorageFull):
        file.write(b"1")
    file.close()


def test_what_a_dead_process_left_is_deleted_at_start(tmp_path: Path) -> None:
    with JobFolders(tmp_path / "data", quota_bytes=100) as folders:
        upload(folders.create(), "a", b"1")  # never removed: the process died here
    (tmp_path / "elsewhere").write_text("kept")
    (tmp_path / "data" / "jobs" / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "data" / "jobs" / "stray").touch()
    with JobFolders(tmp_path / "data", quota_bytes=100):
        assert left(tmp_path) == []
    assert (tmp_path / "elsewhere").read_text() == "kept"


def test_two_servers_never_share_a_folder(folders: JobFolders, tmp_path: Path) -> None:
    mine = folders.create()
    with pytest.raises(BlockingIOError), JobFolders(tmp_path / "data", quota_bytes=100):
        pass
    assert [path.name for path in left(tmp_path)] == [mine.id]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_said_so(code: int) -> None:
    with pytest.raises(StorageFull), no_room_means_full():
        raise OSError(code, os.strerror(code))


def test_other_errors_of_the_disk_stay_what_they_are() -> None:
    with pytest.raises(PermissionError), no_room_means_full():
        raise PermissionError(errno.EACCES, "no")


def test_a_disk_that_is_full_in_the_middle_of_a_block(folders: JobFolders) -> None:
    """/dev/full takes no byte at all: the real errno from the real system."""
    file = folders.create().receive("a")
    file.close()
    file._file = Path("/dev/full").open("wb", buffering=0)  # noqa: SIM115 - closed below, as the upload does
    with pytest.raises(StorageFull):
        file.write(b"1")
    file.close()
