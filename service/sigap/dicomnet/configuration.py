"""Whom Sigap may talk to, as the administrator has written it down in the TOML file that SIGAP_PACS names.

A client can choose among these names, and can never give an address. Secrets lie in files of their own; here are their
paths only.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    ValidationInfo,
    model_validator,
)

from sigap.encoders.formats import FORMATS

_FOLDER = "folder"
_RESULTS = ("seg", "sr", "sc")


class PacsFileError(Exception):
    """The file cannot be used; the message names each faulty entry, never a secret."""


def _beside_the_file(path: Path, info: ValidationInfo) -> Path:
    """A relative path starts at the configuration's own folder."""
    folder: Path = (info.context or {}).get(_FOLDER, Path())
    return folder / path.expanduser()


def _readable(path: Path, info: ValidationInfo) -> Path:
    whole = _beside_the_file(path, info)
    try:
        with whole.open("rb"):
            return whole
    except OSError as error:
        raise ValueError(f"the file cannot be read: {error.strerror}") from None


def _check_title(title: str) -> str:
    if not re.fullmatch(r"[ -\[\]-~]{1,16}", title) or title != title.strip():
        raise ValueError("an AE title has 1 to 16 printable ASCII characters, no backslash, no space at an end")
    return title


def _check_url(url: str) -> str:
    try:
        parts = urlsplit(url)
        is_plain = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        is_plain = False
    # What is wrong with it is not said, and it is not repeated: it may be a password.
    if not is_plain or "@" in url or "?" in url or "#" in url:
        raise ValueError("write http:// or https://, a host and a path; no user, password or query")
    return url.rstrip("/")


def _check_network(network: str) -> str:
    try:
        ip_network(network)
    except ValueError:
        raise ValueError("write an IP address or a network such as 10.1.0.0/16") from None
    return network


def _check_pattern(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"this is no regular expression: {error}") from None
    return pattern


def _check_format(name: str) -> str:
    if name not in FORMATS or FORMATS[name].media_type not in ("application/dicom", "application/zip") or name == "zip":
        raise ValueError("results are sent as DICOM objects: seg, sr, sc or rtstruct")
    return name


def _check_range(ends: tuple[float, float]) -> tuple[float, float]:
    if not ends[0] <= ends[1]:
        raise ValueError("write the least first, then the largest")
    return ends


ReadableFile = Annotated[Path, AfterValidator(_readable)]
# Of the receiver: whoever else reads the configuration may not have it.
ReceiverFile = Annotated[Path, AfterValidator(_beside_the_file)]
Title = Annotated[str, AfterValidator(_check_title)]
Url = Annotated[str, AfterValidator(_check_url)]
Network = Annotated[str, AfterValidator(_check_network)]
Pattern = Annotated[str, AfterValidator(_check_pattern)]
Range = Annotated[tuple[float, float], AfterValidator(_check_range)]
FormatName = Annotated[str, AfterValidator(_check_format)]
Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]
Port = Annotated[int, Field(ge=1, le=65535)]
Seconds = Annotated[float, Field(gt=0, le=86_400, allow_inf_nan=False)]


class _Entry(BaseModel):
    """An unknown key is refused: a misspelt one must not look obeyed."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Source(_Entry):
    """A DICOMweb server: studies are pulled from it, results stored to it.

    Attributes:
        ca_file: trusted instead of the system's authorities.
        certificate_file, key_file: this side's own, where the server asks for one.
        timeout_s: longest silence.
    """

    url: Url
    username: str | None = None
    password_file: ReadableFile | None = None
    token_file: ReadableFile | None = None
    ca_file: ReadableFile | None = None
    certificate_file: ReadableFile | None = None
    key_file: ReadableFile | None = None
    timeout_s: Seconds = 30.0

    @model_validator(mode="after")
    def _check_pairs(self) -> Self:
        if (self.username is None) != (self.password_file is None):
            raise ValueError("username and password_file go together")
        if self.username is not None and self.token_file is not None:
            raise ValueError("give either username and password_file or token_file")
        _check_key(self.certificate_file, self.key_file)
        return self


class PeerTls(_Entry):
    """TLS towards a DIMSE peer.

    Attributes:
        ca_file: who must have signed the peer's certificate.
        certificate_file, key_file: this side's own, where the peer asks for one.
        checks_host: whether the certificate must name the host; certificates of modalities often do not.
    """

    ca_file: ReadableFile
    certificate_file: ReadableFile | None = None
    key_file: ReadableFile | None = None
    checks_host: bool = True

    @model_validator(mode="after")
    def _check_pairs(self) -> Self:
        _check_key(self.certificate_file, self.key_file)
        return self


class Commitment(_Entry):
    """The peer answers for what it has stored (Storage Commitment Push Model, PS3.4 annex J).

    Attributes:
        port: where this side listens for its report, for as long as a delivery waits for it; without it the report
            must come on the association of the request.
        timeout_s: longest wait for the report.
    """

    port: Port | None = None
    timeout_s: Seconds = 60.0


class Peer(_Entry):
    """A DIMSE application entity that results are sent to by C-STORE."""

    ae_title: Title
    host: str = Field(min_length=1)
    port: Port
    calling_ae_title: Title = "SIGAP"
    timeout_s: Seconds = 30.0
    tls: PeerTls | None = None
    commitment: Commitment | None = None


class ListenerTls(_Entry):
    """TLS of the receiver.

    Attributes:
        client_ca_file: who must have signed a sender's certificate; unset: senders need none.
    """

    certificate_file: ReceiverFile
    key_file: ReceiverFile
    client_ca_file: ReceiverFile | None = None


class Listener(_Entry):
    """The receiver, `sigap listen`.

    Attributes:
        calling_ae_titles: who may send; empty: everybody from an allowed address.
        addresses: from where.
        complete: `quiet`: a study is complete when nothing has come for `quiet_s`; `association`: also at once when an
            association that brought it is released in order and no other one is open.
        folder: where received files wait; unset: `received` in SIGAP_DATA.
        quota_gb: more than so much in it is refused as out of resources.
        keep_hours: how long a study that is handed over stays, so that a late image joins it.
        gateway: the address of `sigap serve`.
        key_file: holds an access key for it.
        gateway_ca_file: trusted for it instead of the system's authorities.
    """

    ae_title: Title = "SIGAP"
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 11112
    calling_ae_titles: tuple[Title, ...] = ()
    addresses: tuple[Network, ...] = ("127.0.0.0/8", "::1/128")
    complete: Literal["quiet", "association"] = "quiet"
    quiet_s: Seconds = 30.0
    folder: Path | None = None
    quota_gb: float = Field(20.0, gt=0, le=1e9, allow_inf_nan=False)
    keep_hours: float = Field(24.0, ge=0, allow_inf_nan=False)
    associations: int = Field(8, ge=1, le=100)
    gateway: Url = "http://127.0.0.1:8000"
    key_file: ReceiverFile | None = None
    gateway_ca_file: ReceiverFile | None = None
    tls: ListenerTls | None = None

    def check_files(self) -> None:
        """Make sure that its files are there.

        Raises:
            PacsFileError: one cannot be read; its entry is named.
        """
        named = {"key_file": self.key_file, "gateway_ca_file": self.gateway_ca_file}
        if self.tls is not None:
            named |= {f"tls.{name}": getattr(self.tls, name) for name in ListenerTls.model_fields}
        for name, path in named.items():
            try:
                if path is not None:
                    path.open("rb").close()
            except OSError as error:
                raise PacsFileError(f"listener.{name}: the file cannot be read: {error.strerror}.") from error


class Conditions(_Entry):
    """What a series must be; all that is given must hold. A tag that is missing fulfils only an empty `body_part`.

    Attributes:
        body_part: one of these in Body Part Examined, in any case; an empty one: the tag is missing.
        description: regular expressions, one of which is found in Series Description, in any case.
        modality: CT, and nothing else is ever segmented; written out for whoever reads the rules.
        kernel: regular expressions, one of which is found in Convolution Kernel.
        thickness_mm: least and largest Slice Thickness.
        contrast: whether Contrast/Bolus Agent is there.
        image_type: words that Image Type must all hold.
        least_slices: so many slices at least.
    """

    body_part: tuple[str, ...] = ()
    description: tuple[Pattern, ...] = ()
    modality: Literal["CT"] = "CT"
    kernel: tuple[Pattern, ...] = ()
    thickness_mm: Range | None = None
    contrast: bool | None = None
    image_type: tuple[str, ...] = ()
    least_slices: Annotated[int, Field(ge=1)] = 1


class Rule(_Entry):
    """A series that fulfils the conditions is segmented for the task, and the result goes to the destinations."""

    task: str = Field(min_length=1, max_length=255)
    series: Conditions = Field(default_factory=Conditions)
    send_to: tuple[Name, ...] = ()
    priority: Literal["emergency", "routine", "batch"] | None = None


class Results(_Entry):
    """As what results are sent; unset: SEG, SR and key images."""

    formats: tuple[FormatName, ...] = tuple(name for name in _RESULTS if name in FORMATS)


class Pacs(_Entry):
    """The whole file."""

    sources: Mapping[Name, Source] = {}
    peers: Mapping[Name, Peer] = {}
    results: Results = Field(default_factory=Results)
    listener: Listener | None = None
    rules: tuple[Rule, ...] = ()

    @model_validator(mode="after")
    def _check_names(self) -> Self:
        both = sorted(self.sources.keys() & self.peers.keys())
        if both:
            raise ValueError(f"{both[0]} is the name of a source and of a peer; a result's destination must be one")
        for number, rule in enumerate(self.rules, 1):
            unknown = [name for name in rule.send_to if self.destination(name) is None]
            if unknown:
                raise ValueError(f"rule {number} sends to {unknown[0]}, which is neither a source nor a peer")
        return self

    def destination(self, name: str) -> Source | Peer | None:
        """Where results can be sent."""
        return self.sources.get(name) or self.peers.get(name)


def read_pacs(path: Path | None) -> Pacs:
    """The configuration; without a file there is nobody to talk to.

    Raises:
        PacsFileError: it cannot be read, or an entry of it cannot be used.
    """
    if path is None:
        return Pacs()
    try:
        with path.open("rb") as file:
            document = tomllib.load(file)
    except OSError as error:
        raise PacsFileError(f"The file cannot be read: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise PacsFileError(f"It is not TOML: {error}.") from error
    try:
        return Pacs.model_validate(document, context={_FOLDER: path.parent})
    except ValidationError as error:
        faults = error.errors(include_input=False, include_url=False)
        raise PacsFileError("\n".join(_sentence(fault) for fault in faults)) from error


def _check_key(certificate: Path | None, key: Path | None) -> None:
    if (certificate is None) != (key is None):
        raise ValueError("certificate_file and key_file go together")


def _sentence(fault: Any) -> str:
    place = ".".join(str(part + 1) if isinstance(part, int) else part for part in fault["loc"] if part != "[key]")
    message = fault["msg"].removeprefix("Value error, ")
    if fault["type"] == "extra_forbidden":
        message = "there is no such key"
    return f"{place}: {message}." if place else f"{message}."
