"""A real Orthanc of the tests' own, with its DICOMweb plugin: in a temporary folder, on free ports."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from serving import wait_until

USER, PASSWORD = "sigap", "an orthanc's password"
TITLE = "ORTHANC"
PLUGINS = ("/usr/share/orthanc/plugins", "/usr/local/share/orthanc/plugins", "/usr/lib/orthanc")


@dataclass(frozen=True)
class Orthanc:
    """A running server.

    Attributes:
        url: of its own REST interface; DICOMweb is below `/dicom-web`.
        port: of DIMSE; its AE title is TITLE.
        reports_to: the port of the modality SIGAP, where it sends the reports of storage commitment.
        client: knows the password.
    """

    url: str
    port: int
    reports_to: int
    client: httpx.Client

    @property
    def dicomweb(self) -> str:
        return f"{self.url}/dicom-web"

    def add(self, *paths: Path) -> None:
        """Store files by its own interface."""
        for path in paths:
            self.client.post("/instances", content=path.read_bytes()).raise_for_status()

    def find(self, level: str, **query: str) -> list[dict[str, Any]]:
        """What it has, with the main tags."""
        asked = {"Level": level, "Query": query, "Expand": True}
        return list(self.client.post("/tools/find", json=asked).raise_for_status().json())

    def file(self, instance: str) -> bytes:
        """An instance as it is stored."""
        return self.client.get(f"/instances/{instance}/file").raise_for_status().content

    @contextmanager
    def script(self, path: Path) -> Iterator[None]:
        """Call a Lua file's function for every series that nothing more comes for."""
        self.client.post("/tools/execute-script", content=path.read_text()).raise_for_status()
        try:
            yield
        finally:
            self.client.post("/tools/execute-script", content="OnStableSeries = nil").raise_for_status()

    def forget_all(self) -> None:
        for patient in self.client.get("/patients").json():
            self.client.delete(f"/patients/{patient}").raise_for_status()


@pytest.fixture(scope="session")
def shared_orthanc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    """One for all tests of a session."""
    program = shutil.which("Orthanc", path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin"]))
    plugin = next((path for place in PLUGINS for path in Path(place).glob("libOrthancDicomWeb.so*")), None)
    if program is None or plugin is None:
        pytest.skip("Orthanc and its DICOMweb plugin are not here; `make setup-system` installs them")
    with _running(program, plugin, tmp_path_factory.mktemp("orthanc")) as server:
        yield server


@pytest.fixture
def orthanc(shared_orthanc: Orthanc) -> Iterator[Orthanc]:
    """The server, empty."""
    shared_orthanc.forget_all()
    return shared_orthanc


@contextmanager
def _running(program: str, plugin: Path, folder: Path) -> Iterator[Orthanc]:
    http, dicom, reports = free_ports(3)
    settings = _settings(folder, plugin, http, dicom, reports)
    (folder / "orthanc.json").write_text(json.dumps(settings))
    command = [program, str(folder / "orthanc.json")]
    with (folder / "log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log, cwd=folder) as process:
        try:
            url = f"http://127.0.0.1:{http}"
            with httpx.Client(base_url=url, auth=(USER, PASSWORD), timeout=20) as client:
                wait_until(lambda: process.poll() is not None or _answers(client))
                assert process.poll() is None, (folder / "log").read_text()
                yield Orthanc(url, dicom, reports, client)
        finally:
            # It takes seconds to end in order, and its folder goes anyway.
            process.kill()


def _answers(client: httpx.Client) -> bool:
    try:
        return client.get("/system").is_success
    except httpx.TransportError:
        return False


def _settings(folder: Path, plugin: Path, http: int, dicom: int, reports: int) -> Mapping[str, Any]:
    return {
        "Name": "Sigap's tests",
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "storage"),
        "Plugins": [str(plugin)],
        "HttpPort": http,
        "DicomPort": dicom,
        "DicomAet": TITLE,
        "DicomServerEnabled": True,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": True,
        "RegisteredUsers": {USER: PASSWORD},
        "DicomModalities": {"sigap": ["SIGAP", "127.0.0.1", reports]},
        "ExecuteLuaEnabled": True,
        "StableAge": 1,
        "DicomAlwaysAllowEcho": True,
        "DicomAlwaysAllowStore": True,
        "StorageCommitmentReportsSize": 100,
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/", "EnableWado": False, "Ssl": False},
    }


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [listener.getsockname()[1] for listener in sockets]
    for listener in sockets:
        listener.close()
    return ports
