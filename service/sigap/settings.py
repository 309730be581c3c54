"""Everything that can be configured, from SIGAP_* variables: read once, at the composition root.

docs/settings.md describes each of them; a test holds both lists equal.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from sigap.core.study import Limits

PREFIX = "SIGAP_"
_MIB = 1 << 20
# Peak memory of a request is at most three times its voxels as int16 (docs/benchmarks).
_MEMORY_PER_VOLUME_BYTE = 3
_UNPACKED_PER_VOLUME_BYTE = 4


class SettingsError(Exception):
    """The SIGAP_* variables cannot be used; the message names each of them and its fault, never its value."""


def _default_models() -> Path:
    """`./model_repository`, or the one of the checkout that this package lies in."""
    here = Path("model_repository")
    checkout = Path(__file__).resolve().parents[2] / "model_repository"
    return checkout if not here.is_dir() and checkout.is_dir() else here


def _default_data() -> Path:
    """The user's own place for data that programs make (XDG Base Directory Specification)."""
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "sigap"


class Settings(BaseSettings):
    """One field a variable: `host` is `SIGAP_HOST`. An empty variable counts as unset."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_ignore_empty=True, extra="forbid", frozen=True, hide_input_in_errors=True
    )

    host: str = Field(
        "127.0.0.1", description="Address to listen on. Beyond loopback only with keys, or with SIGAP_AUTH=off."
    )
    port: int = Field(8000, ge=0, le=65535, description="TCP port to listen on; 0 takes a free one.")
    engine: Literal["torchscript", "triton"] = Field(
        "torchscript", description="What runs the models: `torchscript` in this process, `triton` on Triton servers."
    )
    triton_url: str | None = Field(
        None, description="`host:port[,host:port…]` of the Triton servers' gRPC services; for SIGAP_ENGINE=triton."
    )
    models: Path = Field(
        default_factory=_default_models, description="The model repository: a folder with one folder for each task."
    )
    data: Path = Field(
        default_factory=_default_data,
        description="Folder for uploads, results and the database; private to its owner.",
    )
    database_url: SecretStr | None = Field(
        None,
        description="`postgresql://user:password@host/name` for several gateways; unset: SQLite in SIGAP_DATA for one.",
    )
    auth: Literal["off"] | None = Field(
        None, description="`off`: no key is asked for; anybody who reaches the address may use it and sees all jobs."
    )
    max_upload_mb: int = Field(2048, ge=1, description="Largest request body, in MiB; a larger one gets 413.")
    memory_mb: int = Field(
        6144,
        ge=3,
        description="Memory meant for studies, in MiB, beside the model; a volume over a third of it gets 413.",
    )
    queue_length: int = Field(
        8, ge=1, description="Studies of each priority that may wait or be uploaded beside one that runs; more get 503."
    )
    quota_gb: float = Field(
        50.0,
        gt=0,
        le=1e9,
        allow_inf_nan=False,
        description="Disk space for uploads and results together, in GiB; more gets 507.",
    )
    request_timeout_s: float = Field(
        900.0, gt=0, allow_inf_nan=False, description="Longest time from a request's arrival to its answer; then 504."
    )
    retention_hours: float = Field(
        24.0,
        gt=0,
        allow_inf_nan=False,
        description="How long an ended job keeps its result, its upload and its record.",
    )
    pacs: Path | None = Field(
        None, description="TOML file that names DICOMweb servers, DIMSE peers, the receiver and its rules."
    )
    audit_file: Path | None = Field(
        None, description="Audit log: one JSON line for each use of a key is added to this file. Unset: none is kept."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="What is logged, at least.")

    @field_validator("log_level", mode="before")
    @classmethod
    def _lower(cls, level: object) -> object:
        return level.lower() if isinstance(level, str) else level

    @field_validator("data", "models", "pacs", "audit_file")
    @classmethod
    def _expand_home(cls, path: Path | None) -> Path | None:
        return None if path is None else path.expanduser()

    @field_validator("database_url")
    @classmethod
    def _check_database(cls, url: SecretStr | None) -> SecretStr | None:
        if url is not None and not _is_database(url.get_secret_value()):
            raise ValueError(
                "it must look like postgresql://user:password@host:5432/name, with each / ? # @ : of the password "
                "written as %2F %3F %23 %40 %3A"
            )
        return url

    @field_validator("triton_url")
    @classmethod
    def _check_triton(cls, url: str | None) -> str | None:
        if url is not None and not all(map(_is_host_and_port, url.split(","))):
            raise ValueError(
                "it must look like host:port or host:port,host:port, without http://. Triton's gRPC port is 8001 "
                "unless it was told another"
            )
        return url

    @model_validator(mode="after")
    def _check_engine(self) -> Self:
        if self.engine == "triton" and self.triton_url is None:
            raise ValueError("SIGAP_ENGINE=triton needs SIGAP_TRITON_URL, the host:port of a Triton server's gRPC.")
        return self

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine reaches the address that is listened on."""
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    @property
    def max_upload_bytes(self) -> int:
        return self.max_upload_mb * _MIB

    @property
    def quota_bytes(self) -> int:
        return int(self.quota_gb * 1024 * _MIB)

    @property
    def memory_bytes(self) -> int:
        return self.memory_mb * _MIB

    @property
    def database_address(self) -> str | None:
        """The URL with its password; None: SQLite."""
        return None if self.database_url is None else self.database_url.get_secret_value()

    @property
    def triton_addresses(self) -> tuple[str, ...]:
        """Of each Triton server, each once."""
        return tuple(dict.fromkeys(part.strip() for part in (self.triton_url or "").split(",") if part.strip()))

    @property
    def retention_s(self) -> float:
        return self.retention_hours * 3600

    @property
    def limits(self) -> Limits:
        """Caps on what an upload may unpack to, with all of the memory."""
        return self.limits_within(self.memory_bytes)

    def limits_within(self, memory_bytes: int) -> Limits:
        """The same with a part of it."""
        volume_bytes = memory_bytes // _MEMORY_PER_VOLUME_BYTE
        return Limits(volume_bytes=volume_bytes, unpacked_bytes=_UNPACKED_PER_VOLUME_BYTE * volume_bytes)

    def shown(self) -> dict[str, str]:
        """Every variable and its value, as `sigap config` prints them; a secret's own type (SecretStr) masks it."""
        return {variable(name): "" if value is None else str(value) for name, value in self}


def variable(name: str) -> str:
    """The environment variable of a field."""
    return PREFIX + name.upper()


def read_settings(**overrides: object) -> Settings:
    """Settings from the environment; `overrides` (a command line's options) win.

    Raises:
        SettingsError: a variable has a value that cannot be used.
    """
    try:
        return Settings(**{name: value for name, value in overrides.items() if value is not None})  # type: ignore[arg-type]  # checked by pydantic
    except ValidationError as error:
        raise SettingsError("\n".join(_sentence(fault) for fault in error.errors(include_input=False))) from error


def unknown_variables(environment: Mapping[str, str] = os.environ) -> dict[str, str | None]:
    """SIGAP_* variables that are no setting, each with the setting that it may be a misspelling of.

    They are warned of, not refused: an orchestrator sets some of its own for a service of this name, such as
    SIGAP_SERVICE_HOST.
    """
    known = [variable(name) for name in Settings.model_fields]
    strangers = sorted(name for name in environment if name.upper().startswith(PREFIX) and name.upper() not in known)
    return {name: next(iter(difflib.get_close_matches(name.upper(), known, 1, 0.8)), None) for name in strangers}


def _sentence(fault: Mapping[str, object]) -> str:
    place = fault["loc"]
    names = ", ".join(variable(str(name)) for name in place) if isinstance(place, tuple) else ""
    message = str(fault["msg"]).removeprefix("Value error, ")
    return f"{names}: {message}" if names else message


def _is_database(url: str) -> bool:
    """Whether it can be PostgreSQL's. What is wrong is not said: it may be a part of the password."""
    try:
        parts = urlsplit(url)
        return parts.scheme == "postgresql" and bool(parts.path.strip("/")) and (parts.port or 0) >= 0
    except ValueError:
        return False


def _is_host_and_port(text: str) -> bool:
    try:
        parts = urlsplit(f"//{text.strip()}")
        return bool(parts.hostname) and bool(parts.port) and parts.netloc == text.strip() and "@" not in text
    except ValueError:
        return False
