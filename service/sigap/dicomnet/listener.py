"""`sigap listen`: receiver, spool and sorter, put together."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from sigap.core.study import Limits
from sigap.dicomnet.arrivals import Arrivals
from sigap.dicomnet.configuration import Listener, Pacs
from sigap.dicomnet.handover import HandoverClient
from sigap.dicomnet.receiver import Receiver
from sigap.dicomnet.sorter import Gateway, Sorter
from sigap.dicomnet.spool import Spool

_STOP_S = 10.0
_GIB = 1 << 30


class Listening:
    """Opened and closed with the process.

    Args:
        pacs: the PACS file, with a receiver in it.
        folder: where received files wait, unless the file says so.
        limits: caps on what a header may announce.
        gateway: takes the studies; tests bring their own.
        passed: told of every named point of an instance's way; tests end the process there.
    """

    def __init__(
        self,
        pacs: Pacs,
        listener: Listener,
        folder: Path,
        *,
        limits: Limits,
        gateway: Gateway | None = None,
        passed: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.spool = spool_of(listener, folder)
        self.arrivals = Arrivals(listener.quiet_s, ends_with_association=listener.complete == "association")
        self.receiver = Receiver(listener, self.spool, self.arrivals, passed)
        self.sorter = Sorter(
            self.spool,
            self.arrivals,
            listener,
            pacs.rules,
            gateway=gateway or HandoverClient(listener),
            limits=limits,
        )
        self._stack = ExitStack()

    def open(self) -> None:
        """Claim the folder and listen.

        Raises:
            BlockingIOError: another receiver uses the folder.
            OSError: the folder or the address cannot be used.
        """
        with ExitStack() as stack:
            stack.enter_context(self.spool.opened())
            self.receiver.start()
            stack.callback(self.receiver.stop)
            self.sorter.start()
            stack.callback(self.sorter.stop, _STOP_S)
            self._stack = stack.pop_all()

    def close(self) -> None:
        """Stop; what was accepted waits on the disk."""
        self._stack.close()


def spool_of(listener: Listener, folder: Path) -> Spool:
    """The receiver's folder; nothing is opened yet."""
    return Spool(listener.folder or folder, int(listener.quota_gb * _GIB))
