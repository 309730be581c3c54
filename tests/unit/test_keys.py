"""The file of keys: what it holds, what it refuses, and that two who change it lose nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from sigap.access import keys
from sigap.access.keys import BadKeyName, KeyFile, KeyNameTaken, KeysUnavailable, UnknownKey, digest
from sigap.access.ring import KeyRing

KEY = {"name": "ward", "sha256": "0" * 64, "created": "2026-11-25T08:30:00Z", "admin": False}


@pytest.fixture
def file(tmp_path: Path) -> KeyFile:
    return KeyFile(tmp_path / "data")


def write(file: KeyFile, document: Any) -> None:
    file.path.parent.mkdir(mode=0o700, exist_ok=True)
    content = document if isinstance(document, bytes) else json.dumps(document).encode()
    # As whoever changes it by hand does.
    file.path.write_bytes(content)
    file.path.chmod(0o600)


def names(file: KeyFile) -> list[str]:
    return [key.name for key in file.read() or ()]


def test_a_key_is_256_bits_and_kept_as_its_hash_alone(file: KeyFile) -> None:
    secret = file.add("ward")
    (key,) = file.read() or ()
    assert len(secret) == len("sigap_") + 43
    assert (key.name, key.sha256, key.is_admin) == ("ward", digest(secret), False)
    assert all(secret not in path.read_text() for path in file.path.parent.iterdir())
    assert file.add("lab") != secret


def test_the_file_and_its_folder_are_their_owner_s_alone(file: KeyFile) -> None:
    previous = os.umask(0)
    try:
        file.add("ward")
    finally:
        os.umask(previous)
    modes = {path.name: oct(path.stat().st_mode & 0o777) for path in file.path.parent.iterdir()}
    assert modes == {"keys.json": "0o600", "keys.lock": "0o600"}
    assert file.path.parent.stat().st_mode & 0o777 == 0o700


def test_what_root_writes_is_the_folder_s_owner_s(file: KeyFile, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[tuple[int, int]] = []
    file.path.parent.mkdir()
    owner = file.path.parent.stat()
    monkeypatch.setattr(keys.os, "geteuid", lambda: 0)
    monkeypatch.setattr(keys.os, "fchown", lambda _, uid, gid: given.append((uid, gid)))
    file.add("ward")
    assert given == [(owner.st_uid, owner.st_gid)] * 2


def test_the_folder_s_owner_gets_no_other_file_by_a_link(
    file: KeyFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root adds a key, and whoever the service runs as has laid a link where the lock should be."""
    given: list[int] = []
    shadow = tmp_path / "shadow"
    shadow.write_text("root's")
    file.path.parent.mkdir()
    (file.path.parent / "keys.lock").symlink_to(shadow)
    monkeypatch.setattr(keys.os, "geteuid", lambda: 0)
    monkeypatch.setattr(keys.os, "fchown", lambda handle, *_: given.append(os.fstat(handle).st_ino))
    with pytest.raises(KeysUnavailable, match="cannot be changed"):
        file.add("ward")
    assert shadow.stat().st_ino not in given


def test_there_may_never_have_been_a_key(file: KeyFile) -> None:
    assert file.read() is None
    assert not file.path.parent.exists()


def test_after_the_last_one_there_is_a_file_without_keys(file: KeyFile) -> None:
    file.add("ward")
    file.revoke("ward")
    assert file.read() == ()


def test_names_are_unique_and_sorted(file: KeyFile) -> None:
    for name in ("ward", "ER-1", "3.lab_b"):
        file.add(name)
    with pytest.raises(KeyNameTaken, match="a key called ward"):
        file.add("ward", is_admin=True)
    assert names(file) == ["3.lab_b", "ER-1", "ward"]
    with pytest.raises(UnknownKey, match="no key called Ward"):
        file.revoke("Ward")


@pytest.mark.parametrize("name", ["", " ", "-w", ".w", "ward 3", "wärd", "ward\n", "a/b", "a\0b", "w" * 64, "../keys"])
def test_names_that_no_key_may_have(file: KeyFile, name: str) -> None:
    with pytest.raises(BadKeyName):
        file.add(name)
    assert file.read() is None


DAMAGED: dict[str, Any] = {
    "empty": b"",
    "cut": json.dumps({"schema": "sigap.keys/1", "keys": [KEY]}).encode()[:-20],
    "no JSON": b"\xff\xfe",
    "deep": b"[" * 100_000,
    "a list": [KEY],
    "no keys": {"schema": "sigap.keys/1"},
    "keys that are none": {"schema": "sigap.keys/1", "keys": ["ward"]},
    "a key without a hash": {"schema": "sigap.keys/1", "keys": [{**KEY, "sha256": ""}]},
    "a key with half a hash": {"schema": "sigap.keys/1", "keys": [{**KEY, "sha256": "0" * 63}]},
    "a hash that is a number": {"schema": "sigap.keys/1", "keys": [{**KEY, "sha256": 0}]},
    "a name that is none": {"schema": "sigap.keys/1", "keys": [{**KEY, "name": "ward 3"}]},
    "an admin of sorts": {"schema": "sigap.keys/1", "keys": [{**KEY, "admin": "no"}]},
    "one name twice": {"schema": "sigap.keys/1", "keys": [KEY, {**KEY, "admin": True}]},
    "a newer version's": {"schema": "sigap.keys/2", "keys": [KEY]},
}


@pytest.mark.parametrize("document", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_file_gives_nobody_a_key_and_is_left_as_it_is(file: KeyFile, document: Any) -> None:
    write(file, document)
    before = file.path.read_bytes()
    for use in (file.read, lambda: file.add("lab"), lambda: file.revoke("ward")):
        with pytest.raises(KeysUnavailable, match=r"keys\.json"):
            use()
    assert file.path.read_bytes() == before


@pytest.mark.parametrize(("mode", "is_refused"), [(0o600, False), (0o660, False), (0o644, True), (0o602, True)])
def test_a_file_that_everybody_may_read_is_refused(file: KeyFile, mode: int, is_refused: bool) -> None:
    file.add("ward")
    file.path.chmod(mode)
    if is_refused:
        with pytest.raises(KeysUnavailable, match="permissions to 600"):
            file.read()
    else:
        assert names(file) == ["ward"]


def test_a_file_that_cannot_be_opened_is_refused(file: KeyFile) -> None:
    file.path.mkdir(parents=True)
    with pytest.raises(KeysUnavailable, match="cannot be read: Is a directory"):
        file.read()


def test_a_disk_that_is_full_leaves_the_keys_as_they_were(file: KeyFile, monkeypatch: pytest.MonkeyPatch) -> None:
    file.add("ward")

    def no_room(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(keys.os, "fsync", no_room)
    with pytest.raises(KeysUnavailable, match="cannot be changed: No space left on device"):
        file.add("lab")
    assert names(file) == ["ward"]
    assert sorted(path.name for path in file.path.parent.iterdir()) == ["keys.json", "keys.lock"]


ADD = """
import sys; from pathlib import Path; from sigap.access.keys import KeyFile
KeyFile(Path(sys.argv[1])).add(sys.argv[2])
"""


def test_keys_that_are_added_at_once_are_all_there(file: KeyFile) -> None:
    file.add("first")
    wanted = [f"key-{number}" for number in range(8)]
    folder = str(file.path.parent)
    processes = [subprocess.Popen([sys.executable, "-c", ADD, folder, name]) for name in wanted[:2]]
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(file.add, wanted[2:]))
    assert [process.wait(60) for process in processes] == [0, 0]
    assert names(file) == sorted(["first", *wanted])


def test_a_running_gateway_learns_of_every_change(file: KeyFile) -> None:
    ring = KeyRing(file.path.parent)
    assert ring.keys() is None
    secret = file.add("ward")
    key = ring.key_of(secret)
    assert key is not None
    assert key.client.name == "ward"
    assert ring.key_of(secret[:-1]) is None
    assert ring.key_of("") is None
    file.revoke("ward")
    assert ring.key_of(secret) is None
    assert ring.keys() == ()


def test_a_file_that_goes_away_opens_nothing(file: KeyFile) -> None:
    ring = KeyRing(file.path.parent)
    secret = file.add("ward")
    assert ring.key_of(secret) is not None
    file.path.unlink()
    assert ring.keys() == ()
    assert ring.key_of(secret) is None


def test_where_there_must_be_keys_a_file_that_never_was_opens_nothing(file: KeyFile) -> None:
    ring = KeyRing(file.path.parent, is_shut=True)
    assert ring.keys() == ()
    secret = file.add("ward")
    assert ring.key_of(secret) is not None


def test_a_file_that_breaks_closes_and_one_that_is_mended_opens_again(file: KeyFile) -> None:
    ring = KeyRing(file.path.parent)
    secret = file.add("ward")
    good = file.path.read_bytes()
    write(file, b"{")
    for _ in range(2):
        with pytest.raises(KeysUnavailable):
            ring.key_of(secret)
    file.path.unlink()
    assert ring.keys() == ()
    write(file, good)
    assert ring.key_of(secret) is not None
    file.path.chmod(0o644)
    with pytest.raises(KeysUnavailable):
        ring.keys()
    file.path.chmod(0o600)
    assert ring.key_of(secret) is not None
