"""C-ECHO and C-STORE to DCMTK's storescp, in clear and over TLS, and what becomes of a peer that behaves badly."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pydicom import dcmread
from pynetdicom import AE, evt
from pynetdicom.sop_class import CTImageStorage, Verification

from certificates import Certificates
from dcmtk import storescp
from phantoms.dicom import DEFLATED, EXPLICIT, IMPLICIT, JPEG_LS, RLE, body, write_series
from sigap.core.errors import InputError, PacsRefused, PacsUnavailable
from sigap.dicomnet import destinations, dimse
from sigap.dicomnet.configuration import Peer, PeerTls

PEER = Peer(ae_title="STORESCP", host="127.0.0.1", port=1, timeout_s=5)


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT, RLE, JPEG_LS, DEFLATED])
def test_files_arrive_as_they_are(tmp_path: Path, syntax: str) -> None:
    sent = write_series(tmp_path / "sent", body((2, 16, 16)), syntax=syntax)
    with storescp(tmp_path / "came", PEER, "+xa") as peer:
        stored = destinations.send(peer, sent)
    came = [dcmread(path) for path in (tmp_path / "came").iterdir()]
    uids = [dimse.instance_uid(path) for path in sent]
    destinations.check_stored(stored, uids)
    assert {str(dataset.SOPInstanceUID) for dataset in came} == set(uids)
    pixels = {str(dataset.SOPInstanceUID): dataset.PixelData for dataset in map(dcmread, sent)}
    assert all(dataset.PixelData == pixels[str(dataset.SOPInstanceUID)] for dataset in came)
    # Of the uncompressed ones the peer chooses.
    expected = EXPLICIT if syntax in (IMPLICIT, DEFLATED) else syntax
    assert {dataset.file_meta.TransferSyntaxUID for dataset in came} == {expected}


def test_a_peer_over_tls_is_known_by_its_certificate(tmp_path: Path, certificates: Certificates) -> None:
    keys = [str(certificates.key("server")), str(certificates.certificate("server"))]
    ours = certificates.certificate("client")
    tls = PeerTls(
        ca_file=certificates.certificate("server"), certificate_file=ours, key_file=certificates.key("client")
    )
    sent = write_series(tmp_path / "sent", body((2, 16, 16)))
    with storescp(tmp_path / "came", PEER.model_copy(update={"tls": tls}), "+tls", *keys, "+cf", str(ours)) as peer:
        assert not destinations.send(peer, sent).failures
        stranger = tls.model_copy(update={"ca_file": ours})
        for other in (None, stranger, tls.model_copy(update={"certificate_file": None, "key_file": None})):
            with pytest.raises(PacsUnavailable):
                dimse.echo(peer.model_copy(update={"tls": other, "timeout_s": 2}))


@contextmanager
def peer_that(handler: object, *, title: str = "STORESCP") -> Iterator[Peer]:
    entity = AE(ae_title=title)
    entity.require_called_aet = True
    for context in (CTImageStorage, Verification):
        entity.add_supported_context(context)
    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, handler)])
    try:
        yield PEER.model_copy(update={"port": server.server_address[1]})
    finally:
        server.shutdown()


def test_a_status_other_than_success_is_that_instance_s_failure(tmp_path: Path) -> None:
    statuses = iter([0x0000, 0xB000, 0xA700, 0xC000])
    sent = write_series(tmp_path, body((4, 16, 16)))
    with peer_that(lambda _: next(statuses)) as peer:
        stored = destinations.send(peer, sent)
    uids = [dimse.instance_uid(path) for path in sent]
    assert stored.accepted == set(uids[:2])
    assert dict(stored.failures) == {uids[2]: 0xA700, uids[3]: 0xC000}
    with pytest.raises(PacsRefused, match="2 of 4 objects"):
        destinations.check_stored(stored, uids)


def test_an_association_that_is_aborted_in_the_middle_says_so(tmp_path: Path) -> None:
    def abort(event: evt.Event) -> int:
        event.assoc.abort()
        return 0x0000

    with peer_that(abort) as peer, pytest.raises(PacsUnavailable) as raised:
        destinations.send(peer, write_series(tmp_path, body((2, 16, 16))))
    assert raised.value.slug == "pacs-incomplete"


def test_a_peer_that_takes_no_such_object_has_refused_it(tmp_path: Path) -> None:
    sent = write_series(tmp_path, body((2, 16, 16)), syntax=JPEG_LS)
    with peer_that(lambda _: 0x0000) as peer, pytest.raises(PacsRefused):
        destinations.send(peer, sent)


def test_one_kind_that_a_peer_does_not_take_keeps_no_other_from_it(tmp_path: Path) -> None:
    sent = write_series(tmp_path / "plain", body((2, 16, 16)))
    sent += write_series(tmp_path / "packed", body((1, 16, 16)), syntax=JPEG_LS)
    with peer_that(lambda _: 0x0000) as peer:
        stored = destinations.send(peer, sent)
    uids = [dimse.instance_uid(path) for path in sent]
    assert (stored.accepted, stored.failures) == (set(uids[:2]), {uids[2]: None})


def test_a_peer_by_another_name_rejects_us() -> None:
    with peer_that(lambda _: 0x0000, title="OTHER") as peer, pytest.raises(PacsUnavailable) as raised:
        dimse.echo(peer)
    assert raised.value.slug == "pacs-forbidden"


def test_a_peer_that_is_not_there_is_away() -> None:
    with peer_that(lambda _: 0x0000) as gone:
        pass
    with pytest.raises(PacsUnavailable):
        dimse.echo(gone)


def test_what_is_no_dicom_is_not_sent(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no DICOM")
    with pytest.raises(InputError):
        destinations.send(PEER, [tmp_path / "notes.txt"])
