"""QIDO-RS, WADO-RS and STOW-RS (PS3.18, 10.4 to 10.6), as much of them as Sigap needs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from sigap.core.errors import InputError, PacsRefused, TooLarge
from sigap.dicomnet.configuration import Source
from sigap.dicomnet.multipart import Incoming, Parts, PartsReader
from sigap.dicomnet.transport import check_status, http_client, mapped_transport_errors, media_type, not_dicomweb

_JSON = ("application/dicom+json", "application/json")
# Of all pages of an answer.
_LARGEST_JSON_BYTES = 64 << 20
_MOST_PAGES = 1000
# As stored, whatever that is: what the server would make of it is not what the scanner has sent.
_AS_STORED = 'multipart/related; type="application/dicom"; transfer-syntax=*'

_FAILED_SOP_SEQUENCE = "00081198"
_REFERENCED_SOP_SEQUENCE = "00081199"
_REFERENCED_SOP_INSTANCE_UID = "00081155"
_FAILURE_REASON = "00081197"


@dataclass(frozen=True)
class Stored:
    """What became of instances that were sent.

    Attributes:
        accepted: their SOP Instance UIDs.
        failures: reasons (PS3.3 C.14-2) by SOP Instance UID of those that were not taken; None: none was given.
    """

    accepted: frozenset[str]
    failures: Mapping[str, int | None]


class DicomWeb:
    """A client of one server.

    Args:
        source: which.
        check: called between blocks; what it raises ends the exchange.
    """

    def __init__(self, source: Source, check: Callable[[], None] = lambda: None) -> None:
        self._url = source.url
        self._client = http_client(source)
        self._check = check

    def search(self, resource: str, query: Mapping[str, str | Sequence[str]]) -> list[Mapping[str, Any]]:
        """All matches of a QIDO-RS query, page by page where the server gives pages; or all headers of a resource.

        Args:
            resource: its path below the server's address.
            query: matching and return keys.

        Raises:
            PacsUnavailable: there is no answer, or none that can be used.
        """
        found: list[Mapping[str, Any]] = []
        room = _LARGEST_JSON_BYTES
        for _ in range(_MOST_PAGES):
            params = {**query, "offset": str(len(found))} if found else dict(query)
            page, has_more, size = self._page(resource, params, room)
            found += page
            room -= size
            if not page or not has_more:
                return found
            if page == found[-2 * len(page) : -len(page)]:
                raise not_dicomweb("the same page again and again")
        raise not_dicomweb("pages without an end")

    def _page(
        self, resource: str, params: Mapping[str, str | Sequence[str]], room: int
    ) -> tuple[list[Mapping[str, Any]], bool, int]:
        """Matches, whether there are more of them, and how many bytes these were."""
        with self._stream("GET", resource, params=params, headers={"Accept": _JSON[0]}) as response:
            if response.status_code == httpx.codes.NO_CONTENT:
                return [], False, 0
            if response.status_code == httpx.codes.NOT_FOUND:
                raise unknown_study()
            check_status(response)
            document, size = self._json(response, room)
            # PS3.18 8.3.4.4: with a warning 299 there are results that were not returned.
            has_more = "299" in response.headers.get("warning", "")
        if not isinstance(document, list) or not all(isinstance(entry, dict) for entry in document):
            raise not_dicomweb("JSON that is no list of matches")
        return document, has_more, size

    def retrieve(
        self,
        resource: str,
        *,
        begin: Callable[[], Incoming],
        ended: Callable[[Path], None],
        limit_bytes: int,
    ) -> None:
        """Stream the instances of a resource into files, as they are stored (WADO-RS).

        Args:
            resource: its path below the server's address.
            begin: gives the next file.
            ended: told of each file that is complete.
            limit_bytes: of the whole answer.

        Raises:
            InputError: the server has no such resource.
            PacsUnavailable: it is away, slow, breaks off, or answers with something else.
            TooLarge: over the limit.
        """
        with self._stream("GET", resource, headers={"Accept": _AS_STORED}) as response:
            if response.status_code in (httpx.codes.NOT_FOUND, httpx.codes.GONE):
                raise unknown_study()
            check_status(response)
            parts = PartsReader(response.headers.get("content-type", ""), begin, ended)
            try:
                count = 0
                for block in response.iter_bytes():
                    self._check()
                    count += len(block)
                    if count > limit_bytes:
                        raise _over(limit_bytes)
                    parts.feed(block)
                parts.complete()
            finally:
                parts.close()

    def store(self, paths: Sequence[Path]) -> Stored:
        """Send DICOM files (STOW-RS).

        Raises:
            PacsUnavailable: there is no answer that says what became of them.
            PacsRefused: the server does not take the request as a whole.
        """
        body = Parts(paths)
        headers = {**body.headers, "Accept": _JSON[0]}
        with self._stream("POST", "studies", headers=headers, content=iter(body)) as response:
            # 202: some were not taken; 409: none was. Which of them, and why, stands in the body (PS3.18 10.5.3).
            if response.status_code in (400, 413, 415):
                raise PacsRefused(f"The PACS does not take the results (HTTP {response.status_code}).")
            if response.status_code != httpx.codes.CONFLICT:
                check_status(response)
            return _stored(self._json(response, _LARGEST_JSON_BYTES)[0])

    def close(self) -> None:
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self.close()

    @contextmanager
    def _stream(self, method: str, resource: str, **more: Any) -> Iterator[httpx.Response]:
        """An answer to be read in the block; httpx's errors are mapped, wherever in it they arise."""
        with mapped_transport_errors(), self._client.stream(method, f"{self._url}/{resource}", **more) as response:
            yield response

    def _json(self, response: httpx.Response, room: int) -> tuple[Any, int]:
        """A document of at most `room` bytes, and how many it has."""
        kind = media_type(response.headers)
        if kind not in _JSON:
            raise not_dicomweb(f"the media type {kind[:60] or 'none'} where JSON was asked for")
        body = bytearray()
        for block in response.iter_bytes():
            self._check()
            body += block
            if len(body) > room:
                raise not_dicomweb("more JSON than a study can need")
        try:
            return json.loads(body), len(body)
        except (ValueError, RecursionError) as error:
            raise not_dicomweb("JSON that cannot be read") from error


def unknown_study() -> InputError:
    """The PACS was asked for something that it does not have."""
    return InputError("The PACS has no such study or series. Check study_uid and series_uid.", slug="unknown-study")


def texts(entry: Mapping[str, Any], tag: str) -> tuple[str, ...]:
    """The values of an element in the DICOM JSON model (PS3.18 annex F), as texts; () where it is missing or odd."""
    element = entry.get(tag)
    values = element.get("Value") if isinstance(element, dict) else None
    if not isinstance(values, list):
        return ()
    return tuple(str(value) for value in values if isinstance(value, (str, int, float)))


def text(entry: Mapping[str, Any], tag: str) -> str | None:
    """Its first value."""
    return next((value.strip() for value in texts(entry, tag) if value.strip()), None)


def item(entry: Mapping[str, Any], tag: str) -> Mapping[str, Any]:
    """The first item of a sequence; empty where it is missing."""
    element = entry.get(tag)
    values = element.get("Value") if isinstance(element, dict) else None
    return values[0] if isinstance(values, list) and values and isinstance(values[0], dict) else {}


def _stored(document: Any) -> Stored:
    if isinstance(document, list) and len(document) == 1:
        document = document[0]
    if not isinstance(document, dict):
        raise not_dicomweb("a store response that is no data set")
    accepted = frozenset(uid for uid, _ in _references(document, _REFERENCED_SOP_SEQUENCE))
    return Stored(accepted, dict(_references(document, _FAILED_SOP_SEQUENCE)))


def _references(document: Mapping[str, Any], sequence: str) -> Iterator[tuple[str, int | None]]:
    element = document.get(sequence)
    items = element.get("Value") if isinstance(element, dict) else None
    for item in items if isinstance(items, list) else ():
        uid = text(item, _REFERENCED_SOP_INSTANCE_UID) if isinstance(item, dict) else None
        if uid is not None:
            reason = text(item, _FAILURE_REASON)
            yield uid, int(reason) if reason is not None and reason.isdecimal() else None


def _over(limit_bytes: int) -> TooLarge:
    return TooLarge(
        f"The series is larger than the {limit_bytes / (1 << 20):,.0f} MiB that this server takes.",
        slug="upload-too-large",
    )
