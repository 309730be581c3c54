"""`sigap keys`, and the doors that `sigap serve` does not open."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from sigap.access.keys import KeyFile, digest
from sigap.api.server import serve
from sigap.cli import app
from sigap.settings import Settings, SettingsError


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A SIGAP_DATA that is not there."""
    monkeypatch.setenv("SIGAP_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


@pytest.fixture
def audit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SIGAP_AUDIT_FILE", str(tmp_path / "audit.jsonl"))
    return tmp_path / "audit.jsonl"


def call(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["keys", *map(str, arguments)])


def test_a_key_is_printed_once_and_alone(data: Path) -> None:
    result = call("add", "ward-3")
    assert result.exit_code == 0, result.output
    (key,) = KeyFile(data).read() or ()
    assert digest(result.stdout.removesuffix("\n")) == key.sha256
    assert "only time" in result.stderr
    shown = call("list").stdout + call("list", "--json").stdout
    assert result.stdout.strip() not in shown
    assert key.sha256 not in shown


def test_names_are_listed_with_who_is_an_admin_and_since_when(data: Path) -> None:
    for arguments in (["ward-3"], ["--admin", "office"]):
        assert call("add", *arguments).exit_code == 0
    rows = [line.split() for line in call("list").stdout.splitlines()]
    keys = json.loads(call("list", "--json").stdout)["keys"]
    assert [(key["name"], key["admin"]) for key in keys] == [("office", True), ("ward-3", False)]
    assert rows == [["name", "admin", "created"], ["office", "yes", keys[0]["created"]], ["ward-3", keys[1]["created"]]]


def test_a_key_may_go_into_a_file_of_its_owner_s(data: Path, tmp_path: Path) -> None:
    path = tmp_path / "office.key"
    result = call("add", "--admin", "office", "--out", path)
    assert (result.exit_code, result.stdout) == (0, "")
    (key,) = KeyFile(data).read() or ()
    assert digest(path.read_text().removesuffix("\n")) == key.sha256
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_file_that_is_there_is_left_and_no_key_made(data: Path, tmp_path: Path) -> None:
    path = tmp_path / "office.key"
    path.write_text("another's")
    result = call("add", "office", "--out", path)
    assert result.exit_code == 2
    assert "File exists" in result.stderr
    assert path.read_text() == "another's"
    assert KeyFile(data).read() is None


def test_a_key_that_cannot_be_made_leaves_no_file(data: Path, tmp_path: Path) -> None:
    call("add", "ward")
    for name, status in (("ward", 1), ("no name", 2)):
        assert call("add", name, "--out", tmp_path / "ward.key").exit_code == status
        assert not (tmp_path / "ward.key").exists()


def test_a_key_that_nobody_has_seen_is_none(data: Path) -> None:
    command = [Path(sys.executable).parent / "sigap", "keys", "add", "ward"]
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    assert ended.returncode == 1
    assert "revoked at once: No space left on device" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert KeyFile(data).read() == ()


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["add", "ward"], 1, "There is a key called ward"),
        (["add", "ward 3"], 2, "up to 63 letters"),
        (["add", ""], 2, "up to 63 letters"),
        (["revoke", "lab"], 1, "There is no key called lab"),
        (["add"], 2, ""),
        (["revoke"], 2, ""),
    ],
)
def test_what_cannot_be_done_is_said(data: Path, arguments: list[str], status: int, words: str) -> None:
    call("add", "ward")
    result = call(*arguments)
    assert result.exit_code == status
    assert words in result.stderr
    assert "Traceback" not in result.output


def test_a_damaged_file_is_named_and_left(data: Path) -> None:
    call("add", "ward")
    KeyFile(data).path.write_bytes(b"{")
    for arguments in (["list"], ["add", "lab"], ["revoke", "ward"]):
        result = call(*arguments)
        assert result.exit_code == 1
        assert "keys.json in SIGAP_DATA) is damaged" in result.stderr.replace("\n", " ")


def test_revoking_says_when_it_was_the_last(data: Path) -> None:
    for name in ("ward", "lab"):
        call("add", name)
    one = call("revoke", "ward")
    assert (one.exit_code, one.stdout, one.stderr) == (0, "Revoked ward\n", "")
    assert "the last key" in call("revoke", "lab").stderr
    assert "No keys" in call("list").stderr


def test_adding_and_revoking_are_told_in_the_audit_log(data: Path, audit: Path) -> None:
    secret = call("add", "ward").stdout.strip()
    call("revoke", "ward")
    lines = [json.loads(line) for line in audit.read_text().splitlines()]
    assert [(line["key"], line["action"], line["outcome"]) for line in lines] == [
        ("ward", "sigap keys add", "done"),
        ("ward", "sigap keys revoke", "done"),
    ]
    assert secret not in audit.read_text()


def test_no_key_is_made_that_could_not_be_told(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGAP_AUDIT_FILE", str(tmp_path / "missing" / "audit.jsonl"))
    result = call("add", "ward", "--out", tmp_path / "ward.key")
    assert (result.exit_code, result.stdout) == (1, "")
    assert KeyFile(data).read() is None
    assert not (tmp_path / "ward.key").exists()


def test_a_key_whose_making_cannot_be_told_is_revoked(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIGAP_AUDIT_FILE", "/dev/full")
    result = call("add", "ward", "--out", tmp_path / "ward.key")
    assert result.exit_code == 1
    assert "revoked at once: The server cannot write its audit log" in result.stderr
    assert KeyFile(data).read() == ()
    assert not (tmp_path / "ward.key").exists()


def refusal(toy_repository: Path, data: Path, **more: Any) -> str:
    with pytest.raises(SettingsError) as raised:
        serve(Settings(models=toy_repository, data=data, **more))
    return str(raised.value)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "gateway.local"])
def test_beyond_loopback_only_with_keys(toy_repository: Path, data: Path, host: str) -> None:
    said = refusal(toy_repository, data, host=host)
    assert "sigap keys add NAME" in said
    assert "SIGAP_AUTH=off" in said
    keys = KeyFile(data)
    keys.add("ward")
    keys.revoke("ward")
    assert refusal(toy_repository, data, host=host) == said


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_keys_that_cannot_be_trusted_open_nothing(toy_repository: Path, data: Path, host: str) -> None:
    keys = KeyFile(data)
    keys.add("ward")
    keys.path.chmod(0o644)
    assert "permissions to 600" in refusal(toy_repository, data, host=host)
    keys.path.chmod(0o600)
    keys.path.write_bytes(b"{}")
    assert "is damaged" in refusal(toy_repository, data, host=host)


def test_an_audit_log_that_cannot_be_written_is_found_at_once(toy_repository: Path, data: Path, tmp_path: Path) -> None:
    said = refusal(toy_repository, data, audit_file=tmp_path / "missing" / "audit.jsonl")
    assert said == "SIGAP_AUDIT_FILE cannot be written: No such file or directory."
