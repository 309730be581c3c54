"""A small DICOMweb server that misbehaves as told: slow, half, forbidden, a log-in page, or not there at all."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from pydicom import dcmread

BOUNDARY = "a=boundary:of/its.own"
LOGIN_PAGE = b"<!doctype html><title>Sign in</title><p>Your session has ended, PHANTOM-1."


class FaultyPacs:
    """Serves one study out of files.

    Attributes:
        fault: what is wrong; "" is nothing.
        gate: while it is cleared, a slow answer waits in its middle.
        stored: bodies of STOW-RS requests.
        asked: paths with queries, in order.
        refusals: reasons by SOP Instance UID that a store response names.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self.files = [(dcmread(path, stop_before_pixels=True), path.read_bytes()) for path in paths]
        self.fault = ""
        self.gate = threading.Event()
        self.stored: list[bytes] = []
        self.asked: list[str] = []
        self.refusals: dict[str, int] = {}
        self.url = ""

    def series(self) -> list[dict[str, Any]]:
        uids = dict.fromkeys(str(head.SeriesInstanceUID) for head, _ in self.files)
        return [self._series(uid) for uid in uids]

    def _series(self, uid: str) -> dict[str, Any]:
        heads = [head for head, _ in self.files if uid == head.SeriesInstanceUID]
        return {
            "0020000E": element("UI", uid),
            "00080060": element("CS", str(heads[0].Modality)),
            "00201209": element("IS", len(heads)),
        }

    def instances(self, series: str) -> list[dict[str, Any]]:
        return [
            {"00080018": element("UI", str(head.SOPInstanceUID))}
            for head, _ in self.files
            if series == head.SeriesInstanceUID
        ]

    def contents(self, series: str) -> list[bytes]:
        return [content for head, content in self.files if series == head.SeriesInstanceUID]


def element(vr: str, value: object) -> dict[str, Any]:
    return {"vr": vr, "Value": [value]}


@contextmanager
def faulty_pacs(paths: Sequence[Path]) -> Iterator[FaultyPacs]:
    """One on a free port of loopback."""
    pacs = FaultyPacs(paths)

    class Handler(_Handler):
        owner = pacs

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        pacs.url = f"http://127.0.0.1:{server.server_address[1]}/dicom"
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield pacs
        finally:
            pacs.gate.set()
            server.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    owner: FaultyPacs

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its own name
        """Nothing on the test's output."""

    def do_GET(self) -> None:
        pacs = self.owner
        pacs.asked.append(self.path)
        url = urlsplit(self.path)
        parts, query = url.path.strip("/").split("/")[1:], parse_qs(url.query)
        match pacs.fault:
            case "401":
                self._answer(401, b"who are you?", "text/plain")
            case "500":
                self._answer(500, b"java.lang.NullPointerException", "text/plain")
            case "redirect":
                self.send_response(302)
                self.send_header("Location", f"{pacs.url}/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()
            case "html":
                self._answer(200, LOGIN_PAGE, "text/html")
            case "html that says it is JSON":
                self._answer(200, LOGIN_PAGE, "application/dicom+json")
            case "hangs":
                pacs.gate.wait(20)
            case _:
                self._serve(parts, query)

    def _serve(self, parts: list[str], query: dict[str, list[str]]) -> None:
        pacs = self.owner
        match parts:
            case ["studies", study, "series"] if study == pacs.files[0][0].StudyInstanceUID:
                wanted = query.get("SeriesInstanceUID", [""])[0]
                found = [one for one in pacs.series() if wanted in ("", one["0020000E"]["Value"][0])]
                self._json(found, query)
            case ["studies", _, "series", series, "instances"]:
                self._json(pacs.instances(series), query)
            case ["studies", _, "series", series, "instances", uid, "metadata"]:
                head = next(head for head, _ in pacs.files if uid == head.SOPInstanceUID)
                self._answer(200, json.dumps([head.to_json_dict()]).encode(), "application/dicom+json")
            case ["studies", _, "series", series]:
                self._images(pacs.contents(series))
            case _:
                self._json([], query)

    def _json(self, matches: list[dict[str, Any]], query: dict[str, list[str]]) -> None:
        if self.owner.fault == "pages":
            offset = int(query.get("offset", ["0"])[0])
            rest = len(matches) - offset - 5
            warning = f'299 Server "There are {rest} additional results that can be requested"' if rest > 0 else ""
            self._answer(200, json.dumps(matches[offset : offset + 5]).encode(), "application/dicom+json", warning)
        elif self.owner.fault == "one page for ever":
            self._answer(200, json.dumps(matches).encode(), "application/dicom+json", '299 x "more"')
        else:
            self._answer(200, json.dumps(matches).encode(), "application/dicom+json")

    def _images(self, contents: list[bytes]) -> None:
        fault = self.owner.fault
        contents = contents[:-1] if fault == "one image less" else contents
        body = b"".join(
            f"\r\n--{BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n".encode() + content for content in contents
        )
        body += b"" if fault == "no closing boundary" else f"\r\n--{BOUNDARY}--".encode()
        if fault == "an image breaks off":
            body = body.replace(contents[0], contents[0][:-100])
        kind = f'multipart/related; type="application/dicom"; boundary="{BOUNDARY}"'
        cut = {"cut": len(body) // 2, "slow": len(body) // 2}.get(fault, len(body))
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[:cut])
        if fault == "slow":
            self.wfile.flush()
            self.owner.gate.wait(20)
            self.wfile.write(body[cut:])

    def do_POST(self) -> None:
        pacs = self.owner
        body = self.rfile.read(int(self.headers["Content-Length"]))
        pacs.stored.append(body)
        uids = [str(head.SOPInstanceUID) for head, _ in pacs.files]
        refused = [uid for uid in uids if uid in pacs.refusals]
        taken = [{"00081155": element("UI", uid)} for uid in uids if uid not in pacs.refusals]
        failed = [{"00081155": element("UI", uid), "00081197": element("US", pacs.refusals[uid])} for uid in refused]
        answer: dict[str, Any] = {"00081199": {"vr": "SQ", "Value": taken}} if taken else {}
        answer |= {"00081198": {"vr": "SQ", "Value": failed}} if failed else {}
        status = {"": 409 if failed and not taken else 202 if failed else 200, "413": 413, "401": 401}[pacs.fault]
        self._answer(status, json.dumps(answer).encode(), "application/dicom+json")

    def _answer(self, status: int, body: bytes, kind: str, warning: str = "") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        if warning:
            self.send_header("Warning", warning)
        self.end_headers()
        self.wfile.write(body)
