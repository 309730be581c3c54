"""The receiver's folder: what its sender was told is safe is on the disk, and stays until it was handed over."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom.dataset import FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from sigap.core.study import Limits
from sigap.dicomnet import spool as module
from sigap.dicomnet.arrivals import Arrivals
from sigap.dicomnet.configuration import Listener
from sigap.dicomnet.sorter import Sorter
from sigap.dicomnet.spool import Handover, Spool, StudyState


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    here = Spool(tmp_path / "received", 1 << 20)
    with here.opened():
        yield here


def meta(sop: str) -> FileMetaDataset:
    about = FileMetaDataset()
    about.MediaStorageSOPClassUID, about.MediaStorageSOPInstanceUID = CTImageStorage, sop
    about.TransferSyntaxUID = ExplicitVRLittleEndian
    return about


def keep(spool: Spool, content: bytes) -> module.SpooledStudy:
    return spool.keep("1.2.3", meta("1.2.3.4"), memoryview(content))


def test_an_image_that_is_there_already_is_synced_before_its_sender_is_told(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = keep(spool, b"image")
    synced: list[Path] = []
    monkeypatch.setattr(module, "sync", synced.append)
    # Whoever has brought it on another association may not have come so far.
    keep(spool, b"image")
    assert study.files_folder in synced
    assert len(study.files()) == 1


def test_a_study_is_not_deleted_with_an_image_that_nobody_has_seen(spool: Spool) -> None:
    study = keep(spool, b"one")
    seen = study.digest()
    keep(spool, b"two")
    assert not spool.forget(study, seen)
    assert len(study.files()) == 2
    assert spool.forget(study, study.digest())
    assert spool.studies() == []


def test_an_image_that_comes_while_its_study_is_being_forgotten_is_kept(spool: Spool) -> None:
    study = keep(spool, b"one")
    with study.changing() as held:
        done = Handover("liver", "1.2.3.5", "key", tuple(study.files()), job="a" * 32)
        held[0] = StudyState(seen=study.digest(), handovers=(done,))

    class Interrupted(Arrivals):
        def is_complete(self, study_id: str) -> bool:
            keep(spool, b"late")
            return True

    arrivals = Interrupted(0.0, ends_with_association=False)
    Sorter(spool, arrivals, Listener(keep_hours=0), (), gateway=NoGateway(), limits=Limits()).look()
    assert len(study.files()) == 2


class NoGateway:
    def hand_over(self, order: Handover, paths: object) -> str:
        raise AssertionError("nothing is to be handed over")
