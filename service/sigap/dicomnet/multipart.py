"""multipart/related bodies of DICOM files (PS3.18 8.6.1.2), streamed both ways: no file is ever whole in memory."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from sigap.core.errors import PacsUnavailable
from sigap.dicomnet.transport import not_dicomweb

_BLOCK = 1 << 18


class Incoming(Protocol):
    """A file while its bytes arrive, as `jobs.upload.IncomingFile` is one."""

    @property
    def path(self) -> Path: ...

    def write(self, block: memoryview | bytes) -> None: ...

    def complete(self) -> None: ...

    def close(self) -> None: ...


class PartsReader:
    """Writes each part of a body into a file.

    Args:
        content_type: of the answer.
        begin: gives the next file.
        ended: told of each file that is complete.

    Raises:
        PacsUnavailable: it is no multipart/related body.
    """

    def __init__(self, content_type: str, begin: Callable[[], Incoming], ended: Callable[[Path], None]) -> None:
        kind, options = parse_options_header(content_type)
        if kind != b"multipart/related":
            raise not_dicomweb(f"the media type {kind.decode('latin-1')[:60] or 'none'} where images were asked for")
        if not options.get(b"boundary"):
            raise not_dicomweb("images without a boundary")
        self._begin = begin
        self._ended = ended
        self._file: Incoming | None = None
        self._is_complete = False
        try:
            self._parser = MultipartParser(
                options[b"boundary"],
                {
                    "on_headers_finished": self._on_headers_finished,
                    "on_part_data": self._on_part_data,
                    "on_part_end": self._on_part_end,
                    "on_end": self._on_end,
                },
            )
        except FormParserError as error:
            raise not_dicomweb("a boundary that is too long") from error

    def feed(self, block: bytes) -> None:
        """Take the next bytes of the body.

        Raises:
            PacsUnavailable: they break its form.
        """
        try:
            self._parser.write(block)
        except FormParserError as error:
            raise not_dicomweb("a multipart body that is malformed") from error

    def complete(self) -> None:
        """The body has ended.

        Raises:
            PacsUnavailable: before its closing boundary: a part of it is missing.
        """
        if not self._is_complete:
            raise PacsUnavailable(
                "The PACS broke its answer off in the middle. Try again later.", slug="pacs-incomplete"
            )

    def close(self) -> None:
        """Close a file that was being written when the transfer failed."""
        if self._file is not None:
            self._file.close()

    def _on_headers_finished(self) -> None:
        self._file = self._begin()

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        assert self._file is not None  # noqa: S101 - headers come before data; narrows the type
        self._file.write(memoryview(data)[start:end])

    def _on_part_end(self) -> None:
        if self._file is not None:
            self._file.complete()
            path, self._file = self._file.path, None
            self._ended(path)

    def _on_end(self) -> None:
        self._is_complete = True


class Parts:
    """A body of files, read while it is sent.

    Args:
        paths: the files.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = paths
        self._boundary = secrets.token_hex(16)

    @property
    def headers(self) -> dict[str, str]:
        """What the request says of its body."""
        head, tail = len(self._head()), len(self._tail())
        size = sum(head + path.stat().st_size + 2 for path in self._paths) + tail
        kind = f'multipart/related; type="application/dicom"; boundary={self._boundary}'
        return {"Content-Type": kind, "Content-Length": str(size)}

    def __iter__(self) -> Iterator[bytes]:
        for path in self._paths:
            yield self._head()
            with path.open("rb") as file:
                while block := file.read(_BLOCK):
                    yield block
            yield b"\r\n"
        yield self._tail()

    def _head(self) -> bytes:
        return f"--{self._boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode()

    def _tail(self) -> bytes:
        return f"--{self._boundary}--\r\n".encode()
