"""One Triton server as a process of this machine: started, watched, stopped, and cleaned up after."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import suppress
from pathlib import Path

_SHM = Path("/dev/shm")  # noqa: S108 - where POSIX shared memory lies
# A stub that cannot start would make the server wait for it for ever.
_START_S = 120.0
_EXIT_S = 15


class TritonProcess:
    """A server on free ports of loopback; it keeps them when it is started anew.

    Args:
        server: the folder of `triton_wheel.unpacked`.
        repository: a model repository.
        log: gets what the server says.
        options: further options of `tritonserver`.
        threads: of OpenMP, where a model names none.
    """

    def __init__(self, server: Path, repository: Path, log: Path, *options: str, threads: int = 1) -> None:
        self.repository = repository
        self._server = server
        self._log = log
        self._options = options
        self._threads = threads
        self.http_port, self.grpc_port, self.metrics_port = _free_ports(3)
        self._process: subprocess.Popen[bytes] | None = None
        self._regions: set[str] = set()

    @property
    def address(self) -> str:
        """Of its gRPC service, as SIGAP_TRITON_URL wants it."""
        return f"127.0.0.1:{self.grpc_port}"

    @property
    def http(self) -> str:
        return f"http://127.0.0.1:{self.http_port}"

    @property
    def metrics(self) -> str:
        return f"http://127.0.0.1:{self.metrics_port}/metrics"

    @property
    def pid(self) -> int:
        if self._process is None:
            raise RuntimeError("the server was not started")
        return self._process.pid

    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self, *, patience_s: float = _START_S, tries: int = 1) -> None:
        """Start it and wait until its first models are loaded. It ends with the thread that has started it.

        Args:
            patience_s: how long one try may take.
            tries: a machine so busy that a stub gets no turn for a second makes Triton give it up, and hang.

        Raises:
            RuntimeError: it ended or hangs; with the end of its log.
        """
        for _ in range(tries):
            self._launch()
            if self._is_up_within(patience_s):
                return
            said = self._log.read_text(errors="replace")[-4000:]
            self.kill()
        raise RuntimeError(f"Triton did not start:\n{said}")

    def stop(self) -> None:
        """End it in order, then whatever is left of it."""
        if self._process is None:
            return
        self._note_regions()
        if self.is_running():
            self._process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(2 * _EXIT_S)
        self.kill()

    def kill(self) -> None:
        """End it and its stubs at once, as a crash of the machine would; stubs outlive a server that died badly."""
        if self._process is None:
            return
        self._note_regions()
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._process = None
        for name in self._regions:
            (_SHM / name).unlink(missing_ok=True)
        self._regions.clear()

    def stubs(self) -> dict[str, int]:
        """The processes that run the models, by instance, e.g. `toy_0`."""
        found = {}
        for pid in _group(self.pid):
            words = _command_line(pid)
            if words and words[0].endswith("triton_python_backend_stub"):
                found[words[-2]] = pid
        return found

    def kill_stubs(self, start: str) -> None:
        """End the processes of instances whose name begins so."""
        for name, pid in self.stubs().items():
            if name.startswith(start):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def _launch(self) -> None:
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONHOME"}
        environment |= {
            "OMP_NUM_THREADS": str(self._threads),
            "OMP_WAIT_POLICY": "PASSIVE",
            # The stub finds its Python, and with it torch, by PATH alone.
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONWARNINGS": "ignore::DeprecationWarning",
        }
        # It must not outlive whoever started it, killed or not.
        tied = [program, "--pdeathsig", "TERM", "--"] if (program := shutil.which("setpriv")) else []
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [*tied, *self._command()], env=environment, stdout=log, stderr=log, start_new_session=True
            )

    def _command(self) -> list[str]:
        return [
            str(self._server / "bin" / "tritonserver"),
            f"--model-repository={self.repository}",
            f"--backend-directory={self._server / 'backends'}",
            # Else every stub is started twice.
            "--disable-auto-complete-config",
            *(f"--{service}-address=127.0.0.1" for service in ("http", "grpc", "metrics")),
            f"--http-port={self.http_port}",
            f"--grpc-port={self.grpc_port}",
            f"--metrics-port={self.metrics_port}",
            f"--exit-timeout-secs={_EXIT_S}",
            *self._options,
        ]

    def _is_up_within(self, patience_s: float) -> bool:
        give_up = time.monotonic() + patience_s
        while time.monotonic() < give_up and self.is_running():
            with suppress(OSError), urllib.request.urlopen(f"{self.http}/v2/health/live", timeout=2):
                return True
            time.sleep(0.05)
        return False

    def _note_regions(self) -> None:
        """The shared memory of its Python backend, which a bad end leaves behind. Other servers' must stay."""
        for pid in _group(self.pid):
            self._regions |= {
                word for word in _command_line(pid) if re.fullmatch(r"triton_\w+_shm_region_[\w-]+", word)
            }


def _group(leader: int) -> list[int]:
    """All processes of a group."""
    members = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if os.getpgid(int(entry.name)) == leader:
                    members.append(int(entry.name))
            except ProcessLookupError:
                continue
    return members


def _command_line(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")[:-1]
    except OSError:
        return []


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()
