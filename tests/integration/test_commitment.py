"""Storage commitment: Orthanc's report on an association of its own, others' on the same one, and none at all."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pydicom import Dataset
from pynetdicom import AE, evt
from pynetdicom.sop_class import CTImageStorage, StorageCommitmentPushModel, StorageCommitmentPushModelInstance

from orthanc import TITLE, Orthanc
from phantoms.dicom import body, write_series
from sigap.core.errors import PacsRefused, PacsUnavailable
from sigap.dicomnet import destinations, dimse
from sigap.dicomnet.commitment import commit
from sigap.dicomnet.configuration import Commitment, Peer


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    return write_series(tmp_path, body((2, 16, 16)))


def orthanc_as_peer(orthanc: Orthanc) -> Peer:
    commitment = Commitment(port=orthanc.reports_to, timeout_s=15)
    return Peer(ae_title=TITLE, host="127.0.0.1", port=orthanc.port, commitment=commitment)


def test_orthanc_answers_for_what_it_has_stored(orthanc: Orthanc, paths: list[Path]) -> None:
    stored = destinations.send(orthanc_as_peer(orthanc), paths)
    destinations.check_stored(stored, [dimse.instance_uid(path) for path in paths])
    assert len(orthanc.find("Instance")) == 2


def test_orthanc_does_not_answer_for_what_it_has_not(orthanc: Orthanc, paths: list[Path]) -> None:
    peer = orthanc_as_peer(orthanc)
    dimse.store(peer, paths[:1])
    assert peer.commitment is not None
    with pytest.raises(PacsRefused, match="does not commit to 1"):
        commit(peer, peer.commitment, paths)


@contextmanager
def peer_that(answer: Callable[[evt.Event], tuple[int, Dataset | None]]) -> Iterator[Peer]:
    entity = AE(ae_title="PEER")
    entity.add_supported_context(CTImageStorage)
    entity.add_supported_context(StorageCommitmentPushModel)
    handlers = [(evt.EVT_C_STORE, lambda _: 0x0000), (evt.EVT_N_ACTION, answer)]
    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
    try:
        port = server.server_address[1]
        yield Peer(ae_title="PEER", host="127.0.0.1", port=port, timeout_s=5, commitment=Commitment(timeout_s=0.5))
    finally:
        server.shutdown()


def test_a_peer_that_does_not_report_has_not_committed(paths: list[Path]) -> None:
    with peer_that(lambda _: (0x0000, None)) as peer, pytest.raises(PacsUnavailable) as raised:
        destinations.send(peer, paths)
    assert raised.value.slug == "pacs-uncommitted"


def test_a_peer_that_refuses_the_request_has_refused(paths: list[Path]) -> None:
    with peer_that(lambda _: (0x0110, None)) as peer, pytest.raises(PacsRefused, match="0110"):
        destinations.send(peer, paths)


@pytest.mark.parametrize(
    ("failed", "forgotten", "event_type", "after_s"),
    [
        (0, 0, 1, 0.1),
        (1, 0, 2, 0.1),
        pytest.param(0, 1, 1, 0.1, id="of the second instance not a word"),
        pytest.param(0, 0, 1, 2.0, id="after a longer silence than the peer may else keep"),
    ],
)
def test_a_report_on_the_same_association_is_heard(
    paths: list[Path], failed: int, forgotten: int, event_type: int, after_s: float
) -> None:
    def answer(event: evt.Event) -> tuple[int, Dataset | None]:
        said = Dataset()
        said.TransactionUID = event.action_information.TransactionUID
        references = list(event.action_information.ReferencedSOPSequence)
        said.ReferencedSOPSequence, said.FailedSOPSequence = references[failed + forgotten :], references[:failed]
        where = (StorageCommitmentPushModel, StorageCommitmentPushModelInstance)
        threading.Timer(after_s, event.assoc.send_n_event_report, (said, event_type, *where)).start()
        return 0x0000, None

    with peer_that(answer) as hasty:
        peer = hasty.model_copy(update={"timeout_s": 1, "commitment": Commitment(timeout_s=10)})
        if failed or forgotten:
            with pytest.raises(PacsRefused, match="does not commit to 1"):
                destinations.send(peer, paths)
        else:
            assert not destinations.send(peer, paths).failures
