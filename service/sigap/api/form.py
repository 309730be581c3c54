"""The upload: a multipart form, streamed to the job's folder as it arrives.

Starlette's own form parser takes 1,000 files, spools them to its own place and bounds no file's size; this one counts.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.concurrency import run_in_threadpool
from starlette.types import Receive

from sigap.api.problems import HungUp, MalformedForm, NotAForm, UploadStalled
from sigap.core.errors import DeadlineExceeded, TooLarge, UnreadableInput
from sigap.jobs.upload import IncomingFile, Upload

FIELD = "files"
STALL_S = 60.0
# The server hands over 64 KiB at a time: a thread for each of them costs more than what it does.
_PORTION = 1 << 20
_HOW_TO = f'Send the study as a multipart form, in the field "{FIELD}", for example: curl -F {FIELD}=@study.zip'
_LONGEST_NAME = 255
_PLAIN_ENCODINGS = (b"", b"7bit", b"8bit", b"binary")


def boundary_of(headers: Mapping[str, str]) -> bytes:
    """The form's boundary, from headers alone: refuses before a byte is read.

    Raises:
        NotAForm: the body is of another type, or compressed as a whole.
        UnreadableInput: there is no body, or a form that has no files.
        MalformedForm: a multipart form without a boundary.
    """
    kind, options = parse_options_header(headers.get("content-type", ""))
    if kind in (b"", b"application/x-www-form-urlencoded"):
        raise UnreadableInput(f"There is no file in the request. {_HOW_TO}", slug="no-file")
    if kind != b"multipart/form-data":
        raise NotAForm(f"The body is not a multipart form. {_HOW_TO}")
    if headers.get("content-encoding", "identity") != "identity":
        raise NotAForm("The body is compressed as a whole. Send it as it is; files inside the form may be compressed.")
    if not options.get(b"boundary"):
        raise MalformedForm("The Content-Type names no boundary. Let your HTTP library write that header.")
    return options[b"boundary"]


def check_declared_size(headers: Mapping[str, str], limit_bytes: int) -> None:
    """Refuse what says itself that it is too large.

    Raises:
        TooLarge: Content-Length is over the limit.
    """
    if declared_size(headers) > limit_bytes:
        raise _over(limit_bytes)


def declared_size(headers: Mapping[str, str]) -> int:
    """What Content-Length says; 0 where it says nothing."""
    declared = headers.get("content-length", "")
    return int(declared) if declared.isdecimal() else 0


async def receive_form(
    receive: Receive, form: UploadForm, *, limit_bytes: int, deadline: float, stall_s: float = STALL_S
) -> None:
    """Stream a request's body into a form, counting its bytes whether they were declared or not.

    Args:
        receive: the request's.
        form: takes the bytes.
        limit_bytes: of the whole body.
        deadline: on `time.monotonic`'s clock.
        stall_s: longest wait for the next bytes.

    Raises:
        HungUp: the client closed the connection.
        UploadStalled: nothing came for `stall_s`.
        DeadlineExceeded: the deadline has passed.
        TooLarge: the body is over its limit.
        UnreadableInput: there is no body.
        SigapError: what `UploadForm` raises.
    """
    count, has_more, blocks = 0, True, bytearray()
    while has_more:
        message = await _next_message(receive, deadline, stall_s)
        blocks += message.get("body", b"")
        has_more = message.get("more_body", False)
        if count + len(blocks) > limit_bytes:
            raise _over(limit_bytes)
        if len(blocks) >= _PORTION or not has_more:
            count += len(blocks)
            await run_in_threadpool(form.feed, bytes(blocks))
            blocks.clear()
    if count == 0:
        raise UnreadableInput(f"There is no file in the request. {_HOW_TO}", slug="no-file")
    await run_in_threadpool(form.complete)


async def _next_message(receive: Receive, deadline: float, stall_s: float) -> Any:
    left = deadline - time.monotonic()
    try:
        async with asyncio.timeout(max(0.0, min(left, stall_s))):
            message = await receive()
    except TimeoutError as error:
        if left <= stall_s:
            raise DeadlineExceeded("The upload took longer than this server allows.") from error
        raise UploadStalled(f"Nothing has arrived for {stall_s:.0f} seconds. Send the study again.") from error
    if message["type"] == "http.disconnect":
        raise HungUp("The client closed the connection.")
    return message


def _over(limit_bytes: int) -> TooLarge:
    return TooLarge(
        f"The upload is larger than the {limit_bytes / (1 << 20):,.0f} MiB that this server takes. "
        "Send one series at a time, compressed (.nii.gz, .zip).",
        slug="upload-too-large",
    )


class UploadForm:
    """Writes each file of a form into a job's upload, under our own names.

    Args:
        boundary: of the multipart body.
        upload: where the files go.
        max_files: parts, at most.
    """

    def __init__(self, boundary: bytes, upload: Upload, *, max_files: int) -> None:
        self._upload = upload
        self._max_files = max_files
        self._file: IncomingFile | None = None
        self._headers: dict[bytes, bytes] = {}
        self._header_name = b""
        self._header_value = b""
        self._is_ended = False
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._headers.clear,
                    "on_header_field": self._on_header_field,
                    "on_header_value": self._on_header_value,
                    "on_header_end": self._on_header_end,
                    "on_headers_finished": self._on_headers_finished,
                    "on_part_data": self._on_part_data,
                    "on_part_end": self._on_part_end,
                    "on_end": self._on_end,
                },
            )
        except FormParserError as error:
            raise MalformedForm("The form's boundary is longer than a boundary may be.") from error

    def feed(self, block: bytes) -> None:
        """Take the next bytes of the body.

        Raises:
            MalformedForm: they break the form.
            UnreadableInput: a field is not one of files.
            TooLarge: too many files.
            StorageFull: no room.
        """
        try:
            self._parser.write(block)
        except FormParserError as error:
            raise MalformedForm("The multipart form is malformed. Let your HTTP library write it.") from error

    def complete(self) -> None:
        """The body has ended.

        Raises:
            MalformedForm: in the middle of the form.
            UnreadableInput: without a file.
        """
        if not self._is_ended:
            raise MalformedForm("The multipart form ends too early: its closing boundary is missing. Send it again.")
        if not self._upload.count:
            raise UnreadableInput(f"There is no file in the form. {_HOW_TO}", slug="no-file")

    def close(self) -> None:
        """Close a file that was being written when the upload failed."""
        if self._file is not None:
            self._file.close()

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header_name += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def _on_header_end(self) -> None:
        self._headers[self._header_name.lower()] = self._header_value
        self._header_name = self._header_value = b""

    def _on_headers_finished(self) -> None:
        raw = self._headers.get(b"content-disposition", b"")
        disposition, options = parse_options_header(raw.decode("latin-1"))
        if disposition != b"form-data" or b"name" not in options:
            raise MalformedForm("A part of the form does not say which field it is (Content-Disposition).")
        if b"filename" not in options and b"filename*" in raw.lower():
            raise MalformedForm("A file of the form is named by filename* alone. RFC 7578, 4.2, wants filename.")
        if options[b"name"] != FIELD.encode() or not options.get(b"filename"):
            raise UnreadableInput(
                f'The form has a part that is not a file in the field "{FIELD}". {_HOW_TO}', slug="no-file"
            )
        if self._headers.get(b"content-transfer-encoding", b"").strip().lower() not in _PLAIN_ENCODINGS:
            raise MalformedForm("A part of the form has a Content-Transfer-Encoding; send its bytes as they are.")
        if self._upload.count >= self._max_files:
            raise TooLarge(
                f"The form has more than {self._max_files:,} files. Send one series at a time.", slug="too-many-files"
            )
        self._file = self._upload.receive(options[b"filename"].decode("utf-8", "replace")[:_LONGEST_NAME])

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        assert self._file is not None  # noqa: S101 - headers come before data; narrows the type
        self._file.write(memoryview(data)[start:end])

    def _on_part_end(self) -> None:
        if self._file is not None:
            self._file.complete()
            self._file = None

    def _on_end(self) -> None:
        self._is_ended = True
