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
_REQUEST = 1
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
    report = _Report(generate_uid(prefix=None), [instance_identity(path) for path in paths])
    contexts, handlers = [(StorageCommitmentPushModel, _SYNTAXES)], [(evt.EVT_N_EVENT_REPORT, report.take)]
    # While it waits for the report nobody says a word.
    silence_s = peer.timeout_s + wanted.timeout_s
    with (
        _listening(peer, wanted, report),
        association(peer, contexts, handlers, silence_s=silence_s) as opened,
    ):
        status, _ = opened.send_n_action(report.asked(), _REQUEST, StorageCommitmentPushModel, _INSTANCE)
        if "Status" not in status:
            raise PacsUnavailable("The PACS ended the association in the middle.", slug="pacs-incomplete")
        if status.Status != 0:
            raise PacsRefused(f"The PACS does not commit to what it has stored (status {status.Status:04X}).")
        report.wait(wanted.timeout_s, check)
    # Only now: an association that is aborted could end before the peer has the answer to its report.
    report.judge()


class _Report:
    """What a peer says of one transaction.

    Args:
        transaction: its UID.
        instances: SOP class and SOP instance UID of what it is about.
    """

    def __init__(self, transaction: str, instances: Sequence[tuple[str, str]]) -> None:
        self._transaction = transaction
        self._instances = instances
        self._has_come = threading.Event()
        self._committed: set[str] = set()

    def asked(self) -> Dataset:
        """The action information of PS3.4 table J.3-2."""
        asked = Dataset()
        asked.TransactionUID = self._transaction
        asked.ReferencedSOPSequence = [Dataset() for _ in self._instances]
        for entry, identity in zip(asked.ReferencedSOPSequence, self._instances, strict=True):
            entry.ReferencedSOPClassUID, entry.ReferencedSOPInstanceUID = identity
        return asked

    def take(self, event: evt.Event) -> tuple[int, Dataset | None]:
        """An N-EVENT-REPORT, on whichever association; another transaction's is not ours."""
        said = event.event_information
        if str(said.get("TransactionUID", "")) != self._transaction:
            return 0x0110, None
        # Whatever the report calls itself: kept is what it names as kept, and not as failed too.
        self._committed = _instances_in(said, "ReferencedSOPSequence") - _instances_in(said, "FailedSOPSequence")
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
        missing = [uid for _, uid in self._instances if uid not in self._committed]
        if missing:
            raise PacsRefused(f"The PACS does not commit to {len(missing)} of the objects that it was sent.")


def _instances_in(said: Dataset, sequence: str) -> set[str]:
    return {str(entry.get("ReferencedSOPInstanceUID", "")) for entry in said.get(sequence) or ()}


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
