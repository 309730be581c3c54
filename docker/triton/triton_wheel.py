"""A real Triton server for machines without containers: taken out of a wheel, checked by its hash, unpacked once.

`python docker/triton/triton_wheel.py` makes it ready under .cache/triton. The wheel (nvidia-pytriton) is unpacked,
never installed: its requirements are not ours. It brings the server and its Python backend, release 24.10, for Linux on
x86-64 with glibc 2.35 or newer; `backend/model.py` beside this file makes that serve TorchScript models.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

REQUIREMENT = "nvidia-pytriton==0.7.0"
SHA256 = "21f063ff93bb426d0c06b7a55e7eb9efcfe62c0dddd9a908e9877e18710128df"
_HERE = Path(__file__).parent
CACHE = _HERE.parent.parent / ".cache" / "triton"
_STUB = "triton_python_backend_stub"


def why_not_here() -> str | None:
    """What keeps the wheel from running on this machine."""
    libc, version = platform.libc_ver()
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        return "the Triton wheel is for Linux on x86-64"
    if libc != "glibc" or tuple(map(int, version.split(".")[:2])) < (2, 35):
        return "the Triton wheel needs glibc 2.35 or newer"
    return None


def unpacked(cache: Path = CACHE) -> Path:
    """The folder `tritonserver` of the wheel, downloaded and unpacked where it is not yet.

    Raises:
        RuntimeError: it does not run on this machine.
        subprocess.CalledProcessError: pip could not download it, or its hash is another one.
    """
    if reason := why_not_here():
        raise RuntimeError(reason)
    folder = cache / f"{SHA256[:12]}-python{sys.version_info.major}.{sys.version_info.minor}"
    if not folder.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as place:
            _unpack(_download(Path(place)), Path(place) / "wheel")
            # Whole or not at all: an interrupted call leaves nothing that looks ready.
            (Path(place) / "wheel").rename(folder)
    server = folder / "pytriton" / "tritonserver"
    backend = server / "backends" / "pytorch"
    backend.mkdir(exist_ok=True)
    shutil.copyfile(_HERE / "backend" / "model.py", backend / "model.py")
    return server


def _download(place: Path) -> Path:
    wanted = place / "requirements.txt"
    wanted.write_text(f"{REQUIREMENT} --hash=sha256:{SHA256}\n")
    options = ("--quiet", "--no-deps", "--only-binary=:all:", "--require-hashes", "--disable-pip-version-check")
    command = [sys.executable, "-m", "pip", "download", *options, "--dest", str(place), "--requirement", str(wanted)]
    subprocess.run(command, check=True, stdout=sys.stderr)
    return next(place.glob("nvidia_pytriton-*.whl"))


def _unpack(wheel: Path, folder: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    server = folder / "pytriton" / "tritonserver"
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    # A copy, since links out of the backend's folder are refused, and there, since both look for their libraries
    # four folders up.
    stub = shutil.copy(server / "python_backend_stubs" / python / _STUB, server / "backends" / "python" / _STUB)
    for program in (server / "bin" / "tritonserver", Path(stub)):
        program.chmod(0o755)
    shutil.rmtree(server / "python_backend_stubs")


if __name__ == "__main__":
    print(os.path.relpath(unpacked()))
