"""Storage Commitment Push Model (PS3.4 annex J): the peer answers for what it has stored."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydicom import Dataset
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian, generate_uid
from pynetdicom import AE, evt
from pynetdicom.sop_class import StorageCommitmentPushModel  # type: ignore[attr-defined]  # made when imported

from sigap.core.errors import PacsRefused, PacsUnavailable
from sigap.dicomnet.configuration import Commitment, Peer
from sigap.dicomnet.dimse import association, instance_identity

# PS3.4 table J.3-1 and PS3.6 A.1.
_REQUEST, _ALL_COMMITTED = 1, 1
_INSTANCE = UID("1.2.840.10008.1.20.1.1")
_SYNTAXES = [ExplicitVRLittleEndian, ImplicitVRLittleEndian]
_LOOK_AGAIN_S = 0.2


def commit(peer: Peer, wanted: Commitment, paths: Sequence[Path], check: Callable[[], None] = lambda: None) -> None:
    """Ask the peer to answer for instances that it has stored, and wait for its report.

    The report comes on the association of the request, or on one that the peer opens to `wanted.port`.

    Args:
        peer: who has stored them.
        wanted: where its report is awaited, and how long.
        paths: the files that it was sent.
        check: called while the report is awaited; what it raises ends the wait.

    Raises:
        PacsUnavailable: there is no report in time, or the peer cannot be asked.
        PacsRefused: it does not answer for all of them, or knows no storage commitment.
    """
    report = _Report(generate_uid(prefix=None))
    contexts, handlers = [(StorageCommitmentPushModel, _SYNTAXES)], [(evt.EVT_N_EVENT_REPORT, report.take)]
    # While it waits for the report nobody says a word.
    silence_s = peer.timeout_s + wanted.timeout_s
    with (
        _listening(peer, wanted, report),
        association(peer, contexts, handlers, silence_s=silence_s) as opened,
    ):
        asked = _request(report.transaction, paths)
        status, _ = opened.send_n_action(asked, _REQUEST, StorageCommitmentPushModel, _INSTANCE)
        if "Status" not in status:
            raise PacsUnavailable("The PACS ended the association in the middle.", slug="pacs-incomplete")
        if status.Status != 0:
            raise PacsRefused(f"The PACS does not commit to what it has stored (status {status.Status:04X}).")
        report.wait(wanted.timeout_s, check)
    # Only now: an association that is aborted could end before the peer has the answer to its report.
    report.judge()


class _Report:
    """What a peer says of one transaction."""

    def __init__(self, transaction: str) -> None:
        self.transaction = transaction
        self._has_come = threading.Event()
        self._failed = 0
        self._is_good = False

    def take(self, event: evt.Event) -> tuple[int, Dataset | None]:
        """An N-EVENT-REPORT, on whichever association; another transaction's is not ours."""
        said = event.event_information
        if str(said.get("TransactionUID", "")) != self.transaction:
            return 0x0110, None
        self._failed = len(said.get("FailedSOPSequence", ()))
        self._is_good = event.event_type == _ALL_COMMITTED and not self._failed
        self._has_come.set()
        return 0x0000, None

    def wait(self, timeout_s: float, check: Callable[[], None]) -> None:
        for _ in range(int(timeout_s / _LOOK_AGAIN_S) + 1):
            check()
            if self._has_come.wait(_LOOK_AGAIN_S):
                break
        else:
            raise PacsUnavailable(
                "The PACS has not said in time whether it keeps the results.", slug="pacs-uncommitted"
            )

    def judge(self) -> None:
        if not self._is_good:
            raise PacsRefused(f"The PACS does not commit to {self._failed} of the objects that it was sent.")


@contextmanager
def _listening(peer: Peer, wanted: Commitment, report: _Report) -> Iterator[None]:
    """Take the report of a peer that opens an association of its own for it."""
    if wanted.port is None:
        yield
        return
    entity = AE(ae_title=peer.calling_ae_title)
    entity.require_called_aet = True
    entity.require_calling_aet = [peer.ae_title]
    entity.add_supported_context(StorageCommitmentPushModel, _SYNTAXES, scu_role=True, scp_role=True)
    handlers: list[Any] = [(evt.EVT_N_EVENT_REPORT, report.take)]
    try:
        server = entity.start_server(("", wanted.port), block=False, evt_handlers=handlers)
    except OSError as error:
        raise PacsUnavailable(
            "The port for reports of storage commitment is taken. Try again later or tell the administrator.",
            slug="pacs-uncommitted",
        ) from error
    assert server is not None  # noqa: S101 - of a call that does not block
    try:
        yield
    finally:
        server.shutdown()


def _request(transaction: str, paths: Sequence[Path]) -> Dataset:
    asked = Dataset()
    asked.TransactionUID = transaction
    references = []
    for path in paths:
        entry = Dataset()
        entry.ReferencedSOPClassUID, entry.ReferencedSOPInstanceUID = instance_identity(path)
        references.append(entry)
    asked.ReferencedSOPSequence = references
    return asked
