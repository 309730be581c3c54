"""The receiver with DCMTK's senders: what is accepted is safe, decided by rules, handed over once, and never lost."""

from __future__ import annotations

import errno
import itertools
import os
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.uid import UID
from pynetdicom.sop_class import CTImageStorage

import dcmtk
from certificates import Certificates
from phantoms.dicom import (
    DEFLATED,
    EXPLICIT,
    IMPLICIT,
    JPEG_LS,
    RLE,
    Identity,
    body,
    write_enhanced,
    write_localizer,
    write_secondary_capture,
    write_series,
)
from serving import wait_until
from sigap.core.errors import PacsUnavailable, SigapError
from sigap.core.study import Limits
from sigap.dicomnet import dimse, receiver, sorter, spool
from sigap.dicomnet.configuration import Conditions, Listener, ListenerTls, Pacs, Peer, PeerTls, Rule
from sigap.dicomnet.handover import GatewayAway, GatewayRefused
from sigap.dicomnet.listener import Listening
from sigap.dicomnet.spool import Handover

RULES = (
    Rule(task="liver", series=Conditions(kernel=("FC13",)), priority="batch"),
    Rule(task="hemorrhage", series=Conditions(body_part=("HEAD",))),
)
# What storescu has to be told to offer a file as it is.
OFFERS = {EXPLICIT: "-xe", IMPLICIT: "-xi", DEFLATED: "-xd", RLE: "-xr", JPEG_LS: "-xt"}
STUDY = Identity()


class FakeGateway:
    """Makes a job of every key, once.

    Attributes:
        error: raised instead.
        jobs: task and contents of the files, by key.
    """

    def __init__(self) -> None:
        self.error: SigapError | None = None
        self.jobs: dict[str, tuple[str, list[bytes]]] = {}
        self.calls = 0

    def hand_over(self, order: Handover, paths: Sequence[Path]) -> str:
        self.calls += 1
        if self.error is not None:
            raise self.error
        self.jobs.setdefault(order.key, (order.task, [path.read_bytes() for path in paths]))
        return order.key[:32]


class Reception:
    """A listener that is running."""

    def __init__(self, folder: Path, **changes: Any) -> None:
        self.settings = {"port": 0, "complete": "association", "quiet_s": 60, **changes}
        self.listener = Listener(**self.settings)
        self.gateway = FakeGateway()
        pacs = Pacs(listener=self.listener, rules=RULES)
        self.listening = Listening(pacs, self.listener, folder, limits=Limits(), gateway=self.gateway)

    def pass_time(self) -> None:
        """Let nothing come for longer than a study is awaited."""
        self.listening.arrivals._quiet_s -= 60
        wait_until(lambda: all(study.state().seen == study.digest() for study in self.listening.spool.studies()))
        self.listening.arrivals._quiet_s += 60

    @property
    def peer(self) -> Peer:
        return Peer(
            ae_title="SIGAP", host="127.0.0.1", port=self.listening.receiver.port, calling_ae_title="CT1", timeout_s=3
        )

    def send(self, *paths: Path, offer: str = "-R", title: str = "CT1", called: str = "SIGAP") -> int:
        """By DCMTK's storescu; its exit status."""
        who = ["--aetitle", title, "--call", called, "127.0.0.1", str(self.peer.port)]
        return dcmtk.run("storescu", offer, *who, *paths).returncode

    def kept(self) -> list[bytes]:
        return [path.read_bytes() for study in self.listening.spool.studies() for path in study.files().values()]

    def handed(self) -> list[tuple[str, int]]:
        return sorted((task, len(files)) for task, files in self.gateway.jobs.values())

    def until_handed(self, *expected: tuple[str, int]) -> None:
        try:
            wait_until(lambda: self.handed() == list(expected))
        except AssertionError:
            pytest.fail(f"handed over: {self.handed()}, kept: {len(self.kept())}")


@contextmanager
def reception(folder: Path, **changes: Any) -> Iterator[Reception]:
    here = Reception(folder, **changes)
    here.listening.open()
    try:
        yield here
    finally:
        here.listening.close()


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sorter, "LOOK_AGAIN_S", 0.02)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Reception]:
    with reception(tmp_path / "received") as here:
        yield here


@pytest.mark.parametrize("syntax", OFFERS, ids=lambda syntax: UID(syntax).name)
def test_what_dcmtk_sends_arrives_as_it_is_and_is_handed_over_once(
    desk: Reception, tmp_path: Path, syntax: str
) -> None:
    sent = write_series(tmp_path / "sent", body((3, 16, 16)), syntax=UID(syntax), identity=STUDY)
    assert desk.send(*sent, offer=OFFERS[syntax]) == 0
    desk.until_handed(("liver", 3))
    pixels = {str(dataset.SOPInstanceUID): dataset.PixelData for dataset in map(dcmread, sent)}
    for path in desk.listening.spool.studies()[0].files().values():
        dataset = dcmread(path)
        assert dataset.PixelData == pixels[str(dataset.SOPInstanceUID)]
        assert dataset.file_meta.TransferSyntaxUID == syntax
    calls = desk.gateway.calls
    assert desk.send(*sent, offer=OFFERS[syntax]) == 0
    wait_until(lambda: len(desk.kept()) == 3)
    assert (calls, desk.gateway.calls) == (1, 1)


def test_dcmsend_brings_a_study_of_several_series_and_rules_pick_among_them(desk: Reception, tmp_path: Path) -> None:
    folder = tmp_path / "sent"
    soft = write_series(folder / "soft", body((4, 16, 16)), identity=STUDY)
    bone = {"ConvolutionKernel": "FC80", "BodyPartExamined": "HEAD"}
    other = STUDY.another_series()
    write_series(folder / "bone", body((5, 16, 16)), identity=other, tags=bone)
    write_localizer(folder / "scout", identity=STUDY.another_series())
    write_enhanced(folder / "enhanced" / "e.dcm", body((3, 16, 16)), identity=Identity())
    who = ["--aetitle", "CT1", "--call", "SIGAP", "--scan-directories", "--recurse"]
    done = dcmtk.run("dcmsend", *who, "127.0.0.1", desk.peer.port, folder)
    assert done.returncode == 0, done.stdout
    desk.until_handed(("hemorrhage", 5), ("liver", 1), ("liver", 4))
    assert len(desk.kept()) == len(soft) + 5 + 1 + 1


def test_only_who_may_send_is_heard(tmp_path: Path) -> None:
    sent = write_series(tmp_path / "sent", body((1, 16, 16)))
    echo = ["--call", "SIGAP", "127.0.0.1"]
    with reception(tmp_path / "received", calling_ae_titles=("CT1",)) as here:
        assert dcmtk.run("echoscu", "--aetitle", "CT1", *echo, here.peer.port).returncode == 0
        assert dcmtk.run("echoscu", "--aetitle", "STRANGER", *echo, here.peer.port).returncode != 0
        assert here.send(*sent, title="STRANGER") != 0
        assert here.send(*sent, called="OTHER") != 0
        assert here.kept() == []
        assert here.send(*sent) == 0
    with reception(tmp_path / "elsewhere", addresses=("10.0.0.0/8",)) as here:
        assert here.send(*sent) != 0
        assert here.kept() == []


def test_nothing_but_ct_is_accepted_so_sigap_s_own_results_never_come_back(desk: Reception, tmp_path: Path) -> None:
    page = write_secondary_capture(tmp_path / "page.dcm")
    assert desk.send(page) != 0
    assert desk.kept() == []


@contextmanager
def sender(desk: Reception) -> Iterator[Any]:
    with dimse.association(desk.peer, [(CTImageStorage, [EXPLICIT])]) as opened:
        yield opened


def test_an_association_that_is_aborted_keeps_what_was_accepted_and_waits_for_the_rest(
    tmp_path: Path,
) -> None:
    sent = write_series(tmp_path / "sent", body((6, 16, 16)))
    with reception(tmp_path / "received") as here:
        with sender(here) as opened:
            assert [opened.send_c_store(dcmread(path)).Status for path in sent[:4]] == [0] * 4
            opened.abort()
        wait_until(lambda: not here.listening.arrivals._open)
        assert len(here.kept()) == 4
        here.listening.sorter.look()
        assert here.handed() == []
        assert here.send(*sent[4:]) == 0
        here.until_handed(("liver", 6))


def test_a_study_that_stays_half_is_handed_over_when_nothing_more_comes(tmp_path: Path) -> None:
    sent = write_series(tmp_path / "sent", body((6, 16, 16)))
    with reception(tmp_path / "received", complete="quiet") as here:
        assert here.send(*sent[:4]) == 0
        here.pass_time()
        here.until_handed(("liver", 4))
        # A late image joins its series, which is handed over anew as a whole.
        assert here.send(*sent[4:]) == 0
        here.pass_time()
        here.until_handed(("liver", 4), ("liver", 6))


def test_other_pixels_under_the_same_uid_are_kept_beside_them(desk: Reception, tmp_path: Path) -> None:
    (path,) = write_series(tmp_path / "sent", body((1, 16, 16)))
    dataset = dcmread(path)
    with sender(desk) as opened:
        assert opened.send_c_store(dataset).Status == 0
        assert opened.send_c_store(dataset).Status == 0
        assert len(desk.kept()) == 1
        dataset.PixelData = bytes(len(dataset.PixelData))
        assert opened.send_c_store(dataset).Status == 0
    desk.until_handed(("liver", 2))


def test_a_damaged_image_goes_with_its_series_unless_it_comes_again_whole(desk: Reception, tmp_path: Path) -> None:
    sent = write_series(tmp_path / "sent", body((6, 16, 16)), identity=STUDY)
    other = write_series(
        tmp_path / "other", body((2, 16, 16)), identity=STUDY.another_series(), tags={"ConvolutionKernel": "X"}
    )
    whole = dcmread(sent[0])
    damaged = dcmread(sent[0])
    del damaged.PixelData
    with sender(desk) as opened:
        for dataset in (damaged, *map(dcmread, [*sent[1:], *other])):
            assert opened.send_c_store(dataset).Status == 0
    # A part of the series is not handed over as if it were the whole: the job will say what is wrong.
    desk.until_handed(("liver", 6))
    with sender(desk) as opened:
        assert opened.send_c_store(whole).Status == 0
    desk.until_handed(("liver", 6), ("liver", 6))
    assert len(desk.kept()) == 9
    latest = list(desk.gateway.jobs.values())[-1][1]
    assert all(b"\xe0\x7f\x10\x00" in content for content in latest)


def test_what_comes_after_a_study_was_dismissed_brings_it_back(desk: Reception, tmp_path: Path) -> None:
    early = write_series(tmp_path / "early", body((2, 16, 16)), identity=STUDY, tags={"ConvolutionKernel": "X"})
    assert desk.send(*early) == 0
    wait_until(lambda: any(study.state().needs_person for study in desk.listening.spool.studies()))
    (study,) = desk.listening.spool.studies()
    with study.changing() as held:
        held[0] = replace(held[0], is_dismissed=True)
    desk.listening.sorter.look()
    assert study.state().is_dismissed
    assert desk.send(*write_series(tmp_path / "late", body((4, 16, 16)), identity=STUDY.another_series())) == 0
    desk.until_handed(("liver", 4))


def test_a_look_between_two_late_images_hands_no_part_of_their_series_over(
    desk: Reception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What an earlier association brought was complete; the study is not, as long as another one brings more."""
    early = write_series(tmp_path / "early", body((2, 16, 16)), identity=STUDY, tags={"ConvolutionKernel": "X"})
    assert desk.send(*early) == 0
    wait_until(lambda: any(study.state().needs_person for study in desk.listening.spool.studies()))
    keep = desk.listening.spool.keep

    def keep_and_look(*instance: Any) -> object:
        kept = keep(*instance)
        desk.listening.sorter.look()
        return kept

    monkeypatch.setattr(desk.listening.spool, "keep", keep_and_look)
    assert desk.send(*write_series(tmp_path / "late", body((4, 16, 16)), identity=STUDY.another_series())) == 0
    desk.until_handed(("liver", 4))


@pytest.mark.parametrize(
    ("break_it", "status"),
    [
        (lambda dataset: delattr(dataset, "StudyInstanceUID"), 0xA900),
        (lambda dataset: setattr(dataset, "SeriesInstanceUID", ""), 0xA900),
    ],
)
def test_an_instance_that_cannot_be_placed_is_refused(
    desk: Reception, tmp_path: Path, break_it: Callable[[Any], None], status: int
) -> None:
    (path,) = write_series(tmp_path, body((1, 16, 16)))
    dataset = dcmread(path)
    break_it(dataset)
    with sender(desk) as opened:
        assert opened.send_c_store(dataset).Status == status
    assert desk.kept() == []


def test_a_full_disk_is_out_of_resources_and_loses_nothing(
    desk: Reception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = write_series(tmp_path / "sent", body((2, 16, 16)))

    def full(handle: int, content: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with sender(desk) as opened:
        assert opened.send_c_store(dcmread(first)).Status == 0
        with monkeypatch.context() as patch:
            patch.setattr(spool.os, "write", full)
            assert opened.send_c_store(dcmread(second)).Status == 0xA700
        assert len(desk.kept()) == 1
        assert not list((desk.listening.spool.path / "incoming").iterdir())
        assert opened.send_c_store(dcmread(second)).Status == 0
    desk.until_handed(("liver", 2))


def test_the_receiver_s_share_of_the_disk_is_bounded(tmp_path: Path) -> None:
    sent = write_series(tmp_path / "sent", body((3, 16, 16)))
    room = 2.5 * sent[0].stat().st_size / (1 << 30)
    with reception(tmp_path / "received", quota_gb=room) as here, sender(here) as opened:
        assert [opened.send_c_store(dcmread(path)).Status for path in sent] == [0, 0, 0xA700]


def test_a_gateway_that_is_away_is_waited_for_and_one_that_refuses_asks_for_a_person(
    desk: Reception, tmp_path: Path
) -> None:
    # Every look is ten minutes later.
    desk.listening.sorter._clock = itertools.count(0.0, 600.0).__next__
    desk.gateway.error = GatewayAway("Away.")
    assert desk.send(*write_series(tmp_path / "sent", body((2, 16, 16)))) == 0
    wait_until(lambda: desk.gateway.calls >= 3)
    (study,) = desk.listening.spool.studies()
    assert not study.state().needs_person
    desk.gateway.error = GatewayRefused("It is too large (HTTP 413).")
    wait_until(lambda: study.state().needs_person)
    assert study.state().handovers[0].problem == "It is too large (HTTP 413)."
    assert desk.handed() == []


def test_what_was_handed_over_goes_when_its_time_is_over_and_what_waits_for_a_person_stays(
    tmp_path: Path,
) -> None:
    with reception(tmp_path / "received", keep_hours=0) as here:
        assert here.send(*write_series(tmp_path / "sent", body((2, 16, 16)))) == 0
        wait_until(lambda: here.listening.spool.studies() == [])
        assert here.handed() == [("liver", 2)]
        unknown = write_series(tmp_path / "unknown", body((2, 16, 16)), tags={"ConvolutionKernel": "X"})
        assert here.send(*unknown) == 0
        wait_until(lambda: any(study.state().needs_person for study in here.listening.spool.studies()))
        here.listening.sorter.look()
        assert len(here.kept()) == 2


def test_a_client_that_is_silent_before_tls_keeps_no_other_waiting(
    tmp_path: Path, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receiver, "_HANDSHAKE_S", 30.0)
    ours = certificates.certificate("server")
    tls = ListenerTls(certificate_file=ours, key_file=certificates.key("server"))
    with (
        reception(tmp_path / "received", tls=tls) as here,
        socket.create_connection((here.peer.host, here.peer.port)),
    ):
        dimse.echo(here.peer.model_copy(update={"tls": PeerTls(ca_file=ours), "timeout_s": 10}))


def test_tls_with_certificates_on_both_sides(tmp_path: Path, certificates: Certificates) -> None:
    ours, theirs = certificates.certificate("server"), certificates.certificate("client")
    tls = ListenerTls(certificate_file=ours, key_file=certificates.key("server"), client_ca_file=theirs)
    sent = write_series(tmp_path / "sent", body((2, 16, 16)))
    with reception(tmp_path / "received", tls=tls) as here:
        known = PeerTls(ca_file=ours, certificate_file=theirs, key_file=certificates.key("client"))
        dimse.echo(here.peer.model_copy(update={"tls": known}))
        for stranger in (None, PeerTls(ca_file=ours)):
            with pytest.raises(PacsUnavailable):
                dimse.echo(here.peer.model_copy(update={"tls": stranger, "timeout_s": 1}))
        assert here.send(*sent) != 0
        keys = ["+tls", certificates.key("client"), theirs, "+cf", ours]
        who = ["--aetitle", "CT1", "--call", "SIGAP", "127.0.0.1", here.peer.port]
        assert dcmtk.run("storescu", *keys, *who, *sent).returncode == 0
        here.until_handed(("liver", 2))
