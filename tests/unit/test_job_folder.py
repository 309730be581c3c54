"""A job's files: private, safe before they are accepted, under our own names, and gone."""

from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path

import pytest

from sigap.core.errors import StorageFull, UnreadableInput
from sigap.jobs import upload as upload_module
from sigap.jobs.folder import DataFolder, JobFolder, no_room_means_full
from sigap.jobs.upload import Upload

PATIENT = "../../etc/Müller^Anna.dcm"


@pytest.fixture
def data(tmp_path: Path) -> DataFolder:
    data = DataFolder(tmp_path / "data")
    data.prepare()
    return data


class Room:
    """What a job store reserves of the disk."""

    def __init__(self, free: int) -> None:
        self.free = free
        self.reserved = 0

    def __call__(self, count: int) -> None:
        if count > self.free:
            raise StorageFull("full")
        self.reserved = count


def receive(upload: Upload, content: bytes, name: str = "study") -> None:
    file = upload.receive(name)
    file.write(content)
    file.complete()


def sent(folder: JobFolder, *contents: bytes, name: str = "study") -> str:
    with Upload(folder, Room(1 << 40), 0) as upload:
        for content in contents:
            receive(upload, content, name)
        return upload.complete()


def test_names_of_clients_never_become_paths(data: DataFolder):
    folder = data.job("a")
    sent(folder, b"one", b"two", name=PATIENT)
    files, _ = folder.files()
    assert [file.path.read_bytes() for file in files] == [b"one", b"two"]
    assert [file.name for file in files] == [PATIENT] * 2
    assert all(file.path.is_relative_to(folder.path) for file in files)
    assert not [path for path in data.path.rglob("*") if "nna" in path.name]


def test_only_the_owner_can_look_inside(tmp_path: Path):
    (tmp_path / "data").mkdir(mode=0o755)
    data = DataFolder(tmp_path / "data")
    data.prepare()
    sent(data.job("a"), b"one")
    data.workspace("gateway")
    folders = [data.path, *(path for path in data.path.rglob("*") if path.is_dir())]
    assert len(folders) == 7
    assert {path.stat().st_mode & 0o777 for path in folders} == {0o700}


def test_one_file_has_its_own_sha256(data: DataFolder):
    assert sent(data.job("a"), b"abc") == hashlib.sha256(b"abc").hexdigest()
    assert data.job("a").files()[1] == hashlib.sha256(b"abc").hexdigest()


def test_several_files_have_the_sha256_of_their_sorted_ones(data: DataFolder):
    digests = sorted(hashlib.sha256(content).hexdigest() for content in (b"1", b"2", b"3"))
    expected = hashlib.sha256("".join(digests).encode()).hexdigest()
    assert sent(data.job("a"), b"1", b"2", b"3") == sent(data.job("b"), b"3", b"1", b"2") == expected


def test_an_upload_is_complete_only_when_everything_is_on_the_disk(data: DataFolder, monkeypatch: pytest.MonkeyPatch):
    synced: dict[str, bytes | list[str]] = {}

    def spy(path: Path) -> None:
        synced[str(path.relative_to(data.path))] = (
            path.read_bytes() if path.is_file() else sorted(entry.name for entry in path.iterdir())
        )
        sync(path)

    sync = upload_module.sync
    monkeypatch.setattr(upload_module, "sync", spy)
    sent(data.job("a"), b"one", b"two")
    manifest = (data.job("a").path / "manifest.json").read_bytes()
    # Each as it was when it was synced: nothing was written after.
    assert synced == {
        "jobs/a/upload/000000": b"one",
        "jobs/a/upload/000001": b"two",
        "jobs/a/manifest.json": manifest,
        "jobs/a/upload": ["000000", "000001"],
        "jobs/a": ["manifest.json", "upload"],
        "jobs": ["a"],
    }


def test_an_upload_that_cannot_be_made_safe_is_not_complete(data: DataFolder, monkeypatch: pytest.MonkeyPatch):
    def full(path: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(upload_module, "sync", full)
    with pytest.raises(StorageFull):
        sent(data.job("a"), b"one")


def test_room_is_taken_before_bytes_are_written_and_given_back_at_the_end(data: DataFolder):
    room = Room(1 << 40)
    with Upload(data.job("a"), room, 0) as upload:
        file = upload.receive("a")
        file.write(bytes(10))
        assert room.reserved > 10
        file.write(bytes(90))
        file.complete()
        upload.complete()
    assert room.reserved == 100 + (data.job("a").path / "manifest.json").stat().st_size == data.job("a").size()


def test_announced_bytes_are_not_asked_for_again(data: DataFolder):
    room = Room(0)
    with Upload(data.job("a"), room, 100) as upload:
        file = upload.receive("a")
        file.write(bytes(100))
        with pytest.raises(StorageFull):
            file.write(b"1")
        file.close()


def test_the_last_of_the_room_may_be_used_up_and_not_a_byte_more(data: DataFolder):
    with Upload(data.job("a"), Room(100), 0) as upload:
        file = upload.receive("a")
        file.write(bytes(100))
        with pytest.raises(StorageFull):
            file.write(b"1")
        file.close()
        assert (upload.folder.uploads / "000000").stat().st_size == 100


def test_a_disk_that_is_full_in_the_middle_of_a_block(data: DataFolder):
    """/dev/full takes no byte at all: the real errno from the real system."""
    with Upload(data.job("a"), Room(1 << 40), 0) as upload:
        file = upload.receive("a")
        file.close()
        with Path("/dev/full").open("wb", buffering=0) as file._file, pytest.raises(StorageFull):
            file.write(b"1")
        assert upload.count == 0
    with pytest.raises(UnreadableInput):
        upload.folder.files()


def test_a_block_that_is_taken_in_parts_is_written_whole(data: DataFolder, monkeypatch: pytest.MonkeyPatch):
    folder = data.job("a")
    with Upload(folder, Room(1 << 40), 0) as upload:
        file = upload.receive("a")
        whole = file._file

        class Hesitant:
            def write(self, block: memoryview) -> int:
                return whole.write(block[:3])

        monkeypatch.setattr(file, "_file", Hesitant())
        file.write(b"0123456789")
        monkeypatch.setattr(file, "_file", whole)
        file.complete()
        upload.complete()
    assert folder.files()[0][0].path.read_bytes() == b"0123456789"


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_is_said_so(code: int):
    with pytest.raises(StorageFull), no_room_means_full():
        raise OSError(code, os.strerror(code))


def test_other_errors_of_the_disk_stay_what_they_are():
    with pytest.raises(PermissionError), no_room_means_full():
        raise PermissionError(errno.EACCES, "no")


def test_what_was_removed_is_gone_and_may_be_removed_again(data: DataFolder):
    sent(data.job("a"), b"one")
    data.remove(["a"])
    data.remove(["a", "never there"])
    assert list((data.path / "jobs").iterdir()) == []
    with pytest.raises(UnreadableInput) as error:
        data.job("a").files()
    assert error.value.slug == "upload-gone"


def test_results_of_earlier_runs_go_and_the_kept_one_stays(data: DataFolder):
    folder = data.job("a")
    sent(folder, b"one")
    for name in ("result-1", "result-2"):
        folder.result(name).mkdir()
        (folder.result(name) / "report.json").touch()
    folder.remove_results(before=2)
    assert sorted(path.name for path in folder.path.iterdir()) == ["manifest.json", "result-2", "upload"]


def test_each_run_unpacks_in_a_place_of_its_own(data: DataFolder):
    one, other, elsewhere = data.workspace("a"), data.workspace("a"), data.workspace("b")
    assert len({one, other, elsewhere}) == 3
    data.remove_workspaces("a")
    assert not one.exists()
    assert not other.exists()
    assert elsewhere.is_dir()


def test_two_gateways_never_share_a_claimed_folder(data: DataFolder):
    with data.claimed(), pytest.raises(BlockingIOError), DataFolder(data.path).claimed():
        pass
    with DataFolder(data.path).claimed():
        pass


KNOWN, UNKNOWN = "a" * 32, "b" * 32


def test_sweeping_deletes_what_nobody_knows_and_only_what_is_ours(data: DataFolder, tmp_path: Path):
    sent(data.job(KNOWN), b"one")
    sent(data.job(UNKNOWN), b"two")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "file").write_text("kept")
    (data.path / "jobs" / ("c" * 32)).symlink_to(tmp_path / "elsewhere")
    (data.path / "work" / "thesis").mkdir()
    living, dead = data.workspace("d" * 32), data.workspace("e" * 32)
    assert data.sweep(lambda: {"d" * 32}, lambda: {KNOWN}) == 2
    assert data.job(KNOWN).files()[0]
    assert not data.job(UNKNOWN).path.exists()
    assert living.is_dir()
    assert not dead.parent.exists()
    assert (data.path / "work" / "thesis").is_dir()
    assert (tmp_path / "elsewhere" / "file").read_text() == "kept"


def test_a_folder_belongs_to_the_database_that_was_first(data: DataFolder):
    assert data.is_marked("one")
    assert data.is_marked("one")
    assert not data.is_marked("another")


def test_sweeping_spares_what_is_made_meanwhile(data: DataFolder):
    """A row comes before its folder: whatever was there when the rows were read, and is in none, is nobody's."""

    def folders() -> set[str]:
        sent(data.job("f" * 32), b"one")
        return set()

    def gateways() -> set[str]:
        data.workspace("f" * 32)
        return set()

    assert data.sweep(gateways, folders) == 0
    assert data.job("f" * 32).files()[0]
    assert (data.path / "work" / ("f" * 32)).is_dir()


def test_two_gateways_may_sweep_at_once(data: DataFolder):
    sent(data.job(UNKNOWN), b"one")

    def folders() -> set[str]:
        data.sweep(set, set)
        return set()

    data.sweep(set, folders)
    assert list((data.path / "jobs").iterdir()) == []
