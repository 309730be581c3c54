"""Sessions: what a token stands for, and when it does not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from sigap.access import session
from sigap.access.keys import Key, KeyFile, digest
from sigap.access.ring import KeyRing

NOW = 1_800_000_000.0
KEY = Key("ward", digest("a key"), False, "2026-11-25T08:30:00Z")


def test_a_token_stands_for_its_key_for_twelve_hours() -> None:
    token = session.begin(KEY, NOW)
    assert session.is_of(KEY, token, NOW)
    assert session.is_of(KEY, token, NOW + session.LASTS_S - 1)
    assert not session.is_of(KEY, token, NOW + session.LASTS_S)


def test_no_two_sessions_are_equal_and_none_tells_its_key() -> None:
    one, other = session.begin(KEY, NOW), session.begin(KEY, NOW)
    assert one != other
    assert KEY.name not in one
    assert KEY.sha256 not in one


def test_another_key_s_token_stands_for_nothing() -> None:
    token = session.begin(KEY, NOW)
    assert not session.is_of(replace(KEY, sha256=digest("another key")), token, NOW)


def test_a_changed_token_stands_for_nothing() -> None:
    token = session.begin(KEY, NOW)
    end, number, signature = token.split(".")
    changed = [
        f"{int(end) + 1}.{number}.{signature}",
        f"0{end}.{number}.{signature}",
        f"{end}.{'0' * 32}.{signature}",
        f"{end}.{number}.{'0' * 64}",
        f"{end}.{number}.{signature.upper()}",
        f"{end}.{number}",
        f"{token}\n",
        f"{token}.",
        "",
        "..",
        "é" * 10_000,
    ]
    assert [one for one in changed if session.is_of(KEY, one, NOW)] == []


@pytest.mark.parametrize("is_added_again", [False, True])
def test_a_session_ends_with_its_key(tmp_path: Path, is_added_again: bool) -> None:
    file, ring = KeyFile(tmp_path), KeyRing(tmp_path)
    file.add("lab")
    key = ring.key_of(file.add("ward"))
    assert key is not None
    token = session.begin(key, NOW)
    # Another gateway on the same folder knows it too.
    assert KeyRing(tmp_path).key_of_session(token, NOW) == key
    file.revoke("ward")
    if is_added_again:
        file.add("ward")
    assert ring.key_of_session(token, NOW) is None
