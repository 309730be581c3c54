"""DCMTK's programs: senders for the receiver, and a receiver for the sender."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from orthanc import free_ports
from serving import wait_until
from sigap.dicomnet.configuration import Peer


def program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} of DCMTK is not here; `make setup-system` installs it, or says what to install")
    return found


def run(name: str, *arguments: str | Path | int) -> subprocess.CompletedProcess[str]:
    """One of its programs, to its end."""
    command = [program(name), *map(str, arguments)]
    return subprocess.run(command, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


@contextmanager
def storescp(folder: Path, peer: Peer | None = None, *options: str) -> Iterator[Peer]:
    """DCMTK's receiver on a free port; what it gets lies in the folder."""
    (port,) = free_ports(1)
    folder.mkdir(exist_ok=True)
    peer = (peer or Peer(ae_title="STORESCP", host="127.0.0.1", port=1)).model_copy(update={"port": port})
    command = [program("storescp"), "--output-directory", str(folder), "--aetitle", peer.ae_title, *options, str(port)]
    with (folder.parent / "storescp.log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as scp:
        try:
            wait_until(lambda: scp.poll() is not None or _listens(port))
            assert scp.poll() is None, (folder.parent / "storescp.log").read_text()
            yield peer
        finally:
            scp.kill()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
