"""Settings: typed, documented, complete, and no surprise at start."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from conftest import ROOT
from sigap.settings import Settings, SettingsError, read_settings, unknown_variables, variable

DOCUMENT = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
VARIABLE = re.compile(r"\bSIGAP_[A-Z0-9_]+\b")


def test_the_document_describes_every_setting_and_no_other() -> None:
    rows = re.findall(r"^\| `(SIGAP_[A-Z_]+)` \|", DOCUMENT, re.MULTILINE)
    assert sorted(rows) == sorted(variable(name) for name in Settings.model_fields)


@pytest.mark.parametrize("name", sorted(set(Settings.model_fields) - {"models", "data"}))
def test_the_document_names_the_default(name: str) -> None:
    row = next(line for line in DOCUMENT.splitlines() if line.startswith(f"| `{variable(name)}` |"))
    default = Settings.model_fields[name].default
    assert row.split("|")[2].strip() == ("" if default is None else f"`{default}`")


def test_the_code_knows_no_other_variable() -> None:
    known = {variable(name) for name in Settings.model_fields} | {
        "SIGAP_SERVICE_HOST"
    }  # an orchestrator's, as an example
    for path in (ROOT / "service" / "sigap").rglob("*.py"):
        assert set(VARIABLE.findall(path.read_text(encoding="utf-8"))) <= known, path.name


def test_without_variables_everything_has_a_value_that_works() -> None:
    settings = read_settings()
    assert (settings.host, settings.port, settings.engine, settings.auth) == ("127.0.0.1", 8000, "torchscript", None)
    assert settings.limits.volume_bytes == 2 << 30


def test_variables_win_over_defaults_and_arguments_over_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGAP_PORT", "9000")
    monkeypatch.setenv("SIGAP_LOG_LEVEL", "WARNING")
    monkeypatch.setenv("SIGAP_QUEUE_LENGTH", "")
    settings = read_settings(port=None)
    assert (settings.port, settings.log_level, settings.queue_length) == (9000, "warning", 8)
    assert read_settings(port=9001).port == 9001


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "gateway.local", "1.2.3"])
def test_an_address_that_others_reach_is_known(host: str) -> None:
    assert not read_settings(host=host).is_loopback


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.9", "::1", "localhost"])
def test_an_address_that_only_this_machine_reaches_is_known(host: str) -> None:
    assert read_settings(host=host).is_loopback


def test_a_bad_value_is_named_by_its_variable_and_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGAP_PORT", "tcp://10.0.0.1:80")
    monkeypatch.setenv("SIGAP_MAX_UPLOAD_MB", "0")
    with pytest.raises(SettingsError) as raised:
        read_settings()
    assert [line.split(":")[0] for line in str(raised.value).splitlines()] == ["SIGAP_PORT", "SIGAP_MAX_UPLOAD_MB"]
    assert "10.0.0.1" not in str(raised.value)


@pytest.mark.parametrize(
    "bad",
    [
        {"quota_gb": "nan"},
        {"quota_gb": "1e300"},
        {"request_timeout_s": 0},
        {"engine": "magic"},
        {"auth": "on"},
        {"retention_hours": 0},
    ],
)
def test_values_that_make_no_sense_are_refused(bad: dict[str, object]) -> None:
    with pytest.raises(SettingsError):
        read_settings(**bad)


def test_misspelt_variables_are_found() -> None:
    found = unknown_variables({"SIGAP_MAX_UPLOADS_MB": "1", "SIGAP_SERVICE_HOST": "x", "SIGAP_PORT": "1", "HOME": "/"})
    assert found == {"SIGAP_MAX_UPLOADS_MB": "SIGAP_MAX_UPLOAD_MB", "SIGAP_SERVICE_HOST": None}


def test_all_settings_are_shown_and_secrets_masked() -> None:
    settings = read_settings(database_url="postgresql://sigap:hunter2@database/sigap")
    shown = settings.shown()
    assert {variable(name) for name in Settings.model_fields} == set(shown)
    assert "hunter2" not in str(shown) + repr(settings)
    assert settings.database_address == "postgresql://sigap:hunter2@database/sigap"


@pytest.mark.parametrize(
    "url", ["mysql://sigap:hunter2@database/sigap", "postgresql://sigap:hunter2@database", "hunter2"]
)
def test_a_database_that_is_no_postgresql_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(SettingsError, match="SIGAP_DATABASE_URL: it must look like postgresql://") as raised:
        read_settings(database_url=url)
    assert "hunter2" not in str(raised.value)


def test_data_lies_where_the_user_s_data_belongs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert read_settings().data == tmp_path / "sigap"


@pytest.mark.parametrize(
    "url",
    ["http://triton:8001", "triton", "triton:", "triton:http", ":8001", "a:1,,b:2", "user@triton:8001", "a:99999"],
)
def test_an_address_of_triton_that_cannot_be_one_is_refused(url: str) -> None:
    with pytest.raises(SettingsError, match="SIGAP_TRITON_URL: it must look like host:port"):
        read_settings(engine="triton", triton_url=url)


def test_addresses_of_triton_are_told_apart() -> None:
    settings = read_settings(engine="triton", triton_url="triton-a:8001, 10.0.0.7:9001,[fd00::1]:8001,triton-a:8001")
    assert settings.triton_addresses == ("triton-a:8001", "10.0.0.7:9001", "[fd00::1]:8001")


def test_the_triton_engine_needs_an_address() -> None:
    with pytest.raises(SettingsError, match="SIGAP_TRITON_URL"):
        read_settings(engine="triton")
