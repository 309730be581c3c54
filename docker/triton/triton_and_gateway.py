"""`make triton`: a real Triton and a gateway in front of it on this machine, without containers. Ctrl-C ends both."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import triton_wheel
from triton_process import TritonProcess

_ROOT = Path(__file__).parent.parent.parent
_GATEWAY_S = 40.0


def main() -> int:
    """Run both until one of them ends or somebody ends them; the exit status is the gateway's."""
    for ending in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ending, signal.default_int_handler)
    models = Path(os.environ.get("SIGAP_MODELS") or _ROOT / "model_repository")
    with suppress(KeyboardInterrupt), tempfile.TemporaryDirectory(prefix="sigap-triton-") as folder:
        log = Path(folder) / "triton.log"
        triton = TritonProcess(triton_wheel.unpacked(), models, log, threads=os.cpu_count() or 1)
        print("Triton is being started …", file=sys.stderr)
        try:
            triton.start()
            print(f"Triton serves {models.name} on {triton.address} (gRPC), {triton.http} (HTTP).", file=sys.stderr)
            with _gateway(triton) as gateway:
                while gateway.poll() is None and triton.is_running():
                    time.sleep(0.2)
                if triton.is_running():
                    return gateway.returncode
            print(f"Triton has ended:\n{log.read_text(errors='replace')[-4000:]}", file=sys.stderr)
            return 1
        finally:
            triton.stop()
    return 0


@contextmanager
def _gateway(triton: TritonProcess) -> Iterator[subprocess.Popen[bytes]]:
    environment = {**os.environ, "SIGAP_ENGINE": "triton", "SIGAP_TRITON_URL": triton.address}
    # In a session of its own: a terminal's Ctrl-C beside the SIGTERM below would be a second signal, a forced end.
    gateway = subprocess.Popen([sys.executable, "-m", "sigap.cli", "serve"], env=environment, start_new_session=True)
    try:
        yield gateway
    finally:
        gateway.terminate()
        try:
            gateway.wait(_GATEWAY_S)
        except (subprocess.TimeoutExpired, KeyboardInterrupt):
            gateway.kill()


if __name__ == "__main__":
    sys.exit(main())
