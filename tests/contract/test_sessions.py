"""POST /session: a browser's way in, and what it keeps out (CONTRACT, section 5)."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import dataclass
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any

import httpx
import pytest

from fakes import FakeEngine, FakePipeline
from serving import serving
from sigap.access import session
from sigap.access.keys import KeyFile
from sigap.api import session as route
from sigap.api.app import create_app
from sigap.settings import Settings

COOKIE = "sigap_session"


@dataclass(frozen=True)
class Locked:
    """A gateway that asks for a key, and one."""

    client: httpx.Client
    keys: KeyFile
    secret: str

    @property
    def address(self) -> str:
        return str(self.client.base_url).rstrip("/")

    def log_in(self, **headers: str) -> httpx.Response:
        return httpx.post(f"{self.address}/session", json={"key": self.secret}, headers=headers)

    def browser(self) -> httpx.Client:
        client = httpx.Client(base_url=self.client.base_url)
        client.cookies = self.log_in().cookies
        return client


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Locked]:
    data = tmp_path_factory.mktemp("data")
    keys = KeyFile(data)
    secret = keys.add("ward")
    with serving(create_app(Settings(data=data), FakeEngine(), run=FakePipeline())) as client:
        yield Locked(client, keys, secret)


def morsel(response: httpx.Response) -> Any:
    (header,) = response.headers.get_list("set-cookie")
    return SimpleCookie(header)[COOKIE]


def slug(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["type"].rpartition(":")[2]


def test_a_key_is_shown_once_and_a_cookie_stands_for_it(locked: Locked) -> None:
    response = locked.log_in()
    assert (response.status_code, response.content) == (204, b"")
    cookie = morsel(response)
    assert (cookie["httponly"], cookie["samesite"], cookie["path"], cookie["domain"]) == (True, "Strict", "/", "")
    assert int(cookie["max-age"]) == session.LASTS_S
    assert locked.secret not in str(response.headers)
    with locked.browser() as browser:
        assert browser.get("/jobs").status_code == 200
        assert browser.get("/jobs", headers={"Authorization": "Bearer wrong"}).status_code == 401


@pytest.mark.parametrize(
    ("proto", "is_secure"), [("", False), ("http", False), ("https", True), ("HTTPS , http", True)]
)
def test_behind_tls_the_cookie_is_for_tls_alone(locked: Locked, proto: str, is_secure: bool) -> None:
    response = locked.log_in(**({"X-Forwarded-Proto": proto} if proto else {}))
    assert bool(morsel(response)["secure"]) == is_secure


def test_logging_out_takes_the_cookie_away(locked: Locked) -> None:
    with locked.browser() as browser:
        response = browser.delete("/session")
        assert response.status_code == 204
        assert (morsel(response).value, morsel(response)["max-age"]) == ("", "0")
        assert browser.get("/jobs").status_code == 401


def test_a_session_has_an_end(locked: Locked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "LASTS_S", 0)
    with locked.browser() as browser:
        assert browser.get("/jobs").status_code == 401


def test_a_session_ends_with_its_key(locked: Locked) -> None:
    guest = Locked(locked.client, locked.keys, locked.keys.add("guest"))
    with guest.browser() as browser:
        assert browser.get("/jobs").status_code == 200
        locked.keys.revoke("guest")
        assert browser.get("/jobs").status_code == 401
    assert slug(guest.log_in()) == (401, "unauthorized")


def test_a_wrong_key_is_like_no_key(locked: Locked) -> None:
    response = locked.client.post("/session", json={"key": "sigap_wrong"})
    assert slug(response) == (401, "unauthorized")
    assert "set-cookie" not in response.headers
    without = locked.client.get("/jobs")
    assert response.json() | {"instance": ""} == without.json() | {"instance": ""}
    assert response.headers["www-authenticate"] == without.headers["www-authenticate"]


JSON = {"content-type": "application/json"}
BODIES: list[tuple[dict[str, Any], tuple[int, str]]] = [
    ({}, (415, "not-json")),
    ({"data": {"key": "a"}}, (415, "not-json")),
    ({"files": {"key": b"a"}}, (415, "not-json")),
    ({"content": b"{}", "headers": {"content-type": "text/plain"}}, (415, "not-json")),
    ({"content": b"", "headers": JSON}, (422, "bad-parameter")),
    ({"content": b"{", "headers": JSON}, (422, "bad-parameter")),
    ({"content": b"\xff\xfe", "headers": JSON}, (422, "bad-parameter")),
    ({"content": b"[" * 4000, "headers": JSON}, (422, "bad-parameter")),
    ({"json": None}, (415, "not-json")),
    ({"json": "key"}, (422, "bad-parameter")),
    ({"json": {}}, (422, "bad-parameter")),
    ({"json": {"key": None}}, (422, "bad-parameter")),
    ({"json": {"key": 1}}, (422, "bad-parameter")),
    ({"json": {"key": ""}}, (422, "bad-parameter")),
    ({"json": {"key": ["a"]}}, (422, "bad-parameter")),
    ({"json": {"key": "a", "name": "b"}}, (422, "bad-parameter")),
    ({"json": {"key": "k" * 1025}}, (422, "bad-parameter")),
    ({"json": {"key": "k" * 5000}}, (413, "upload-too-large")),
    ({"json": {"key": "schlüssel \x00"}}, (401, "unauthorized")),
    ({"content": b'{"key": "\\ud800"}', "headers": JSON}, (422, "bad-parameter")),
]


@pytest.mark.parametrize(("body", "expected"), BODIES)
def test_what_is_no_key(locked: Locked, body: dict[str, Any], expected: tuple[int, str]) -> None:
    response = locked.client.post("/session", **body)
    assert slug(response) == expected
    assert "set-cookie" not in response.headers


def test_a_body_that_does_not_come_is_not_waited_for(locked: Locked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(route, "_PATIENCE_S", 0.05)
    with socket.create_connection((locked.client.base_url.host, locked.client.base_url.port), timeout=20) as connection:
        head = b"POST /session HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 10\r\n\r\n"
        connection.sendall(head)
        assert connection.recv(4096).startswith(b"HTTP/1.1 408 ")


FOREIGN = [
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "cross-site", "Origin": "http://HOST"},
    {"Origin": "https://evil.example"},
    {"Origin": "http://HOST.evil.example"},
    {"Origin": "null"},
    {"Origin": ""},
]
OURS = [
    {},
    {"Sec-Fetch-Site": "same-origin"},
    {"Sec-Fetch-Site": "none"},
    {"Sec-Fetch-Site": "same-origin", "Origin": "https://proxy.example"},
    {"Origin": "http://HOST"},
    {"Origin": "https://HOST"},
]


def filled(headers: dict[str, str], locked: Locked) -> dict[str, str]:
    host = locked.address.partition("://")[2]
    return {name: value.replace("HOST", host) for name, value in headers.items()}


@pytest.mark.parametrize("headers", FOREIGN, ids=str)
def test_another_site_s_page_changes_nothing(locked: Locked, headers: dict[str, str]) -> None:
    with locked.browser() as browser:
        headers = filled(headers, locked)
        for method, path in (("DELETE", "/session"), ("DELETE", "/jobs/1"), ("POST", "/segment/toy")):
            assert slug(browser.request(method, path, headers=headers)) == (403, "cross-site")
        assert slug(locked.log_in(**headers)) == (403, "cross-site")
        # What changes nothing is not asked: nobody but this page can read the answer.
        assert browser.get("/jobs", headers=headers).status_code == 200
        # Nor is who brings a key: no browser adds that by itself.
        known = {**headers, "Authorization": f"Bearer {locked.secret}"}
        assert browser.delete("/jobs/1", headers=known).status_code == 404


@pytest.mark.parametrize("headers", OURS, ids=str)
def test_the_server_s_own_page_may(locked: Locked, headers: dict[str, str]) -> None:
    headers = filled(headers, locked)
    assert locked.log_in(**headers).status_code == 204
    with locked.browser() as browser:
        assert browser.delete("/jobs/1", headers=headers).status_code == 404


@pytest.mark.parametrize("auth", [None, "off"])
def test_where_no_key_is_asked_for_there_is_nothing_to_log_in_to(tmp_path: Path, auth: Any) -> None:
    if auth == "off":
        KeyFile(tmp_path).add("ward")
    with serving(create_app(Settings(data=tmp_path, auth=auth), FakeEngine(), run=FakePipeline())) as client:
        response = client.post("/session", json={"key": "any"})
        assert (response.status_code, response.headers.get("set-cookie")) == (204, None)
        assert client.get("/jobs", headers={"Authorization": "Bearer wrong"}).status_code == 200


@pytest.mark.parametrize("auth", [None, "off"])
@pytest.mark.parametrize("headers", FOREIGN, ids=str)
def test_another_site_s_page_changes_nothing_without_keys_either(
    tmp_path: Path, auth: Any, headers: dict[str, str]
) -> None:
    with serving(create_app(Settings(data=tmp_path, auth=auth), FakeEngine(), run=FakePipeline())) as client:
        assert slug(client.delete("/jobs/1", headers=headers)) == (403, "cross-site")
        assert client.get("/jobs", headers=headers).status_code == 200
        assert client.delete("/jobs/1").status_code == 404


HOSTS = [
    ("localhost", 200),
    ("LOCALHOST.:8000", 200),
    ("sigap.localhost:8000", 200),
    ("127.0.0.1:8000", 200),
    ("[::1]:8000", 200),
    ("[::ffff:127.0.0.1]", 200),
    ("192.0.2.7", 200),
    ("radiology-pc:8000", 200),
    ("evil.example", 401),
    ("1.2.3", 401),
    ("[::1", 401),
    ("a.b@c.d", 401),
    ("evil.example.:8000", 401),
    ("127.0.0.1.evil.example", 401),
    ("localhost.evil.example:8000", 401),
]


@pytest.mark.parametrize(("host", "status"), HOSTS)
def test_without_a_key_only_this_machine_s_names_are_answered(tmp_path: Path, host: str, status: int) -> None:
    with serving(create_app(Settings(data=tmp_path), FakeEngine(), run=FakePipeline())) as client:
        assert client.get("/jobs", headers={"Host": host}).status_code == status
        logged_in = client.post("/session", json={"key": "any"}, headers={"Host": host})
        assert logged_in.status_code == (204 if status == 200 else 401)
        assert client.get("/health/live", headers={"Host": host}).status_code == 200


def test_with_keys_off_any_name_is_answered(tmp_path: Path) -> None:
    with serving(create_app(Settings(data=tmp_path, auth="off"), FakeEngine(), run=FakePipeline())) as client:
        assert client.get("/jobs", headers={"Host": "sigap.hospital.example"}).status_code == 200


def test_beyond_loopback_nobody_is_let_in_without_a_key(tmp_path: Path) -> None:
    app = create_app(Settings(data=tmp_path, host="0.0.0.0"), FakeEngine(), run=FakePipeline())
    with serving(app) as client:
        assert client.get("/jobs").status_code == 401
        secret = KeyFile(tmp_path).add("ward")
        assert client.get("/jobs", headers={"Authorization": f"Bearer {secret}"}).status_code == 200
