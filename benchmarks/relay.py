"""A line to a port of this machine that counts what goes over it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_BLOCK = 1 << 16


class Relay:
    """Passes connections on.

    Attributes:
        bytes: both ways, so far.
    """

    def __init__(self, listener: socket.socket, port: int) -> None:
        self.bytes = 0
        self.address = f"127.0.0.1:{listener.getsockname()[1]}"
        self._listener = listener
        self._port = port
        self._counting = threading.Lock()

    def accept(self) -> None:
        """Until the listener is closed."""
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(("127.0.0.1", self._port))
                for ends in ((near, far), (far, near)):
                    threading.Thread(target=self._pass_on, args=ends, daemon=True).start()

    def _pass_on(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError), source:
            while block := source.recv(_BLOCK):
                with self._counting:
                    self.bytes += len(block)
                target.sendall(block)
            target.shutdown(socket.SHUT_WR)


@contextmanager
def relay(port: int) -> Iterator[Relay]:
    """One to a port of loopback."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        line = Relay(listener, port)
        threading.Thread(target=line.accept, daemon=True).start()
        yield line
        listener.shutdown(socket.SHUT_RDWR)
