"""Certificates for tests of TLS, made by the real openssl."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass(frozen=True)
class Certificates:
    """A self-signed pair for each side; each is its own authority."""

    folder: Path

    def certificate(self, name: str) -> Path:
        return self.folder / f"{name}.pem"

    def key(self, name: str) -> Path:
        return self.folder / f"{name}.key"


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Of `server`, for 127.0.0.1, and of `client`."""
    program = shutil.which("openssl")
    if program is None:
        pytest.skip("openssl is not here; `make setup-system` installs it, or says what to install")
    made = Certificates(tmp_path_factory.mktemp("certificates"))
    for name in ("server", "client"):
        files = ("-keyout", str(made.key(name)), "-out", str(made.certificate(name)))
        kind = ("-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={name}")
        command = [program, "req", "-x509", *kind, "-addext", "subjectAltName=IP:127.0.0.1", *files]
        subprocess.run(command, check=True, capture_output=True)
    return made
