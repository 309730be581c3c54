"""`make bundle-check`: install the bundle where no network is, start what was installed, and run the smoke tests on it.

The whole check runs in a network namespace of its own (`unshare`): there is a loopback interface in it and nothing
else, so an installer that asks for anything gets nothing.
"""

from __future__ import annotations

import fcntl
import os
import socket
import struct
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from build import ROOT, system

from sigap import __version__

_SIOCSIFFLAGS, _IFF_UP = 0x8914, 1
_INSIDE = "SIGAP_BUNDLE_CHECK_IS_INSIDE"


def main() -> None:
    """Check the newest bundle in dist/; the exit status says how it went."""
    if _INSIDE not in os.environ:
        command = ["unshare", "--map-root-user", "--net", sys.executable, __file__]
        sys.exit(subprocess.run(command, env=os.environ | {_INSIDE: "1"}, check=False).returncode)
    _bring_loopback_up()
    interfaces = [name for _, name in socket.if_nameindex()]
    if interfaces != ["lo"]:
        sys.exit(f"There is a network here: {interfaces}")
    archive = ROOT / "dist" / f"sigap-{__version__}-{system()}.tar"
    with tempfile.TemporaryDirectory(prefix="sigap-bundle-") as folder:
        place = Path(folder)
        with tarfile.open(archive) as tar:
            tar.extractall(place, filter="data")
        (bundle,) = place.iterdir()
        _refuses_a_changed_file(bundle, place / "refused")
        _run([bundle / "install"], PREFIX=str(place / "sigap"))
        print("Installed without a network; a second time, as an upgrade:")
        _run([bundle / "install"], PREFIX=str(place / "sigap"))
        _smoke_test(place / "sigap", place / "data")


def _bring_loopback_up() -> None:
    with socket.socket() as handle:
        fcntl.ioctl(handle, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", _IFF_UP))


def _run(command: list[Path], **variables: str) -> None:
    """With nothing of this environment, whose pip may know other places to look in."""
    environment = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "PYTHON": sys.executable, **variables}
    subprocess.run([str(part) for part in command], env=environment, check=True)


def _refuses_a_changed_file(bundle: Path, prefix: Path) -> None:
    """Damage one file: nothing may be installed."""
    weights = next(bundle.glob("model_repository/*/*/model.pt"))
    content = weights.read_bytes()
    weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    try:
        _run([bundle / "install"], PREFIX=str(prefix))
    except subprocess.CalledProcessError:
        if prefix.exists():
            sys.exit("A damaged bundle was installed in part.")
    else:
        sys.exit("A damaged bundle was installed.")
    finally:
        weights.write_bytes(content)


def _smoke_test(installed: Path, data: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    serve = [installed / "environment" / "bin" / "sigap", "serve", "--port", str(port)]
    settings = {"SIGAP_MODELS": str(installed / "models"), "SIGAP_DATA": str(data), "PATH": os.environ["PATH"]}
    server = subprocess.Popen([str(part) for part in serve], env=settings, stderr=subprocess.DEVNULL)
    try:
        # By the tests of this checkout, in its environment: they look at the address alone.
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no_skips", "tests/smoke"]
        environment = os.environ | {"SIGAP_URL": f"http://127.0.0.1:{port}", "PYTHONPATH": str(ROOT / "tests")}
        tested = subprocess.run(command, cwd=ROOT, env=environment, check=False)
    finally:
        server.terminate()
        server.wait()
    sys.exit(tested.returncode)


if __name__ == "__main__":
    main()
