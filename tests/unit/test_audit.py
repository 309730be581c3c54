"""The audit log: every line whole and once, whatever is done to its file."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from sigap.access import audit
from sigap.access.audit import STRANGERS_A_MINUTE, AuditLog, AuditUnavailable


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "audit.jsonl"


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="ascii").splitlines()]


def requests(path: Path) -> list[str]:
    return [line["request"] for line in lines(path)]


def test_a_line_has_its_time_first_and_one_file_its_owner_alone(path: Path) -> None:
    AuditLog(path).write(key="ward", request="1\n2", status=200)
    (line,) = lines(path)
    assert list(line) == ["time", "key", "request", "status"]
    assert line["request"] == "1\n2"
    assert line["time"].endswith("Z")
    assert path.stat().st_mode & 0o777 == 0o600


def test_lines_are_only_added(path: Path) -> None:
    path.write_text('{"request": "of before"}\n')
    AuditLog(path).write(request="1")
    AuditLog(path).write(request="2")
    assert requests(path) == ["of before", "1", "2"]


def test_a_check_writes_nothing(path: Path) -> None:
    AuditLog(path).check()
    assert path.read_bytes() == b""


@pytest.mark.parametrize("is_renamed", [True, False])
def test_it_is_rotated_without_a_word(path: Path, is_renamed: bool) -> None:
    log, before = AuditLog(path), path.with_suffix(".1")
    log.write(request="1")
    if is_renamed:
        path.rename(before)
    else:
        before.write_bytes(path.read_bytes())
        os.truncate(path, 0)
    log.write(request="2")
    assert (requests(before), requests(path)) == (["1"], ["2"])


def test_what_cannot_be_written_is_owed_and_nothing_goes_on_before_it_is(tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    log = AuditLog(folder / "audit.jsonl")
    for use in (lambda: log.write(request="1"), log.check, lambda: log.write(request="2")):
        with pytest.raises(AuditUnavailable):
            use()
    folder.mkdir()
    log.check()
    assert requests(folder / "audit.jsonl") == ["1", "2"]
    log.write(request="3")
    assert requests(folder / "audit.jsonl") == ["1", "2", "3"]


def test_a_full_disk_is_an_error() -> None:
    log = AuditLog(Path("/dev/full"))
    log.check()
    with pytest.raises(AuditUnavailable):
        log.write(request="1")
    with pytest.raises(AuditUnavailable):
        log.check()


def test_a_line_that_the_disk_has_cut_is_written_again_whole(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log, write = AuditLog(path), os.write
    with monkeypatch.context() as patch:
        patch.setattr(audit.os, "write", lambda handle, line: write(handle, line[:20]))
        for _ in range(2):
            with pytest.raises(AuditUnavailable):
                log.write(request="1")
    log.write(request="2")
    whole = [json.loads(line)["request"] for line in path.read_text().splitlines() if line.endswith("}")]
    assert whole == ["1", "1", "2"]


WRITE = """
import sys; from pathlib import Path; from sigap.access.audit import AuditLog
for number in range(200): AuditLog(Path(sys.argv[1])).write(request=f"{sys.argv[2]}-{number}", filler="x" * 500)
"""


def test_several_processes_share_one_file(path: Path) -> None:
    processes = [subprocess.Popen([sys.executable, "-c", WRITE, str(path), str(number)]) for number in range(2)]
    log = AuditLog(path)
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda number: log.write(request=f"here-{number}"), range(200)))
    assert [process.wait(60) for process in processes] == [0, 0]
    assert sorted(requests(path)) == sorted(f"{who}-{number}" for who in ("0", "1", "here") for number in range(200))


def test_of_strangers_some_are_told_and_the_others_counted(path: Path) -> None:
    now = [0.0]
    log = AuditLog(path, lambda: now[0])
    for number in range(STRANGERS_A_MINUTE + 5):
        log.write(is_strangers=True, request=str(number))
    assert len(lines(path)) == STRANGERS_A_MINUTE
    log.write(request="a key's")
    log.write(request="another")
    now[0] = 60.0
    log.write(is_strangers=True, request="a minute later")
    assert [line.get("unrecorded") for line in lines(path)[STRANGERS_A_MINUTE:]] == [5, None, None]
