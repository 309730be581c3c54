"""Programs of other people's that judge and read our DICOM objects; `make setup` installs them with the tests."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest


def find(name: str) -> str:
    """A program of the virtual environment, or of the system."""
    path = shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not here; `make setup` installs it")
    return path


def run(name: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [find(name), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)


def faults(path: Path) -> list[str]:
    """What dciodvfy calls an error in a file (dicom3tools)."""
    ended = run("dciodvfy", path)
    lines = (ended.stdout + ended.stderr).splitlines()
    assert lines, "it says at least what kind of object it is"
    return [line for line in lines if line.startswith("Error")]
