"""HTTP to one DICOMweb server: its credentials, its certificates, and what its errors mean to us."""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx

from sigap.core.errors import PacsUnavailable
from sigap.dicomnet.configuration import Source


def http_client(source: Source) -> httpx.Client:
    """A client that follows no redirect, since that would be an address which nobody has configured."""
    auth = None
    headers: dict[str, str] = {}
    with _readable_secrets():
        if source.username is not None and source.password_file is not None:
            auth = httpx.BasicAuth(source.username, read_secret(source.password_file))
        if source.token_file is not None:
            headers["Authorization"] = f"Bearer {read_secret(source.token_file)}"
        context = tls_context(source.ca_file, source.certificate_file, source.key_file)
    # A proxy or a netrc file of the process's surroundings is nothing that was written down for this server.
    return httpx.Client(auth=auth, headers=headers, verify=context, timeout=source.timeout_s, trust_env=False)


def tls_context(ca_file: Path | None, certificate_file: Path | None, key_file: Path | None) -> ssl.SSLContext:
    """Of the side that connects: TLS 1.2 or later (BCP 195, as PS3.15 B.12 asks)."""
    context = ssl.create_default_context(cafile=ca_file)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if certificate_file is not None:
        context.load_cert_chain(certificate_file, key_file)
    return context


def read_secret(path: Path) -> str:
    """The first line of a secret's file; read at each use, so that a new one counts at once."""
    return path.read_text(encoding="utf-8").strip().partition("\n")[0]


@contextmanager
def mapped_transport_errors() -> Iterator[None]:
    """Map what httpx raises; its messages name addresses, so none of them gets out."""
    try:
        yield
    except httpx.TimeoutException as error:
        raise PacsUnavailable("The PACS does not answer in time. Try again later.") from error
    except httpx.RemoteProtocolError as error:
        raise PacsUnavailable(
            "The PACS broke its answer off in the middle. Try again later.", slug="pacs-incomplete"
        ) from error
    except httpx.HTTPError as error:
        raise PacsUnavailable("The PACS cannot be reached. Try again later or tell the administrator.") from error


def check_status(response: httpx.Response) -> None:
    """Raise `PacsUnavailable` for everything that is no success."""
    status = response.status_code
    if status in (401, 403):
        raise PacsUnavailable(
            f"The PACS refuses Sigap's credentials (HTTP {status}). Tell the administrator.", slug="pacs-forbidden"
        )
    if not response.is_success:
        raise PacsUnavailable(f"The PACS answered with an error (HTTP {status}). Try again later.")


def not_dicomweb(what: str) -> PacsUnavailable:
    """An answer in a form that no DICOMweb server gives, as a log-in page or a proxy's error does."""
    return PacsUnavailable(
        f"The PACS answered with something that is not DICOMweb: {what}. Tell the administrator.",
        slug="pacs-not-dicomweb",
    )


def media_type(headers: Mapping[str, str]) -> str:
    """What an answer says that it is, without parameters."""
    return headers.get("content-type", "").partition(";")[0].strip().lower()


@contextmanager
def _readable_secrets() -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:
        raise PacsUnavailable(
            "A secret or certificate for the PACS cannot be read. Tell the administrator.", slug="pacs-secret"
        ) from error
