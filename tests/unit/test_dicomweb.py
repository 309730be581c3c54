"""The DICOMweb client against a server that misbehaves: whole or not at all, and a sentence that says why."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from faulty_pacs import FaultyPacs, faulty_pacs
from phantoms.dicom import (
    CORONAL,
    Identity,
    body,
    write_enhanced,
    write_localizer,
    write_report,
    write_secondary_capture,
    write_series,
)
from sigap.cli.pulled import folder_sink
from sigap.core.errors import GeometryRefused, InputError, PacsRefused, PacsUnavailable, SigapError, TooLarge
from sigap.core.study import Limits
from sigap.dicomnet import destinations, dicomweb
from sigap.dicomnet.configuration import Source
from sigap.dicomnet.dicomweb import DicomWeb
from sigap.dicomnet.pull import choose_series, pull_series

STUDY = Identity()


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write_series(tmp_path_factory.mktemp("series"), body(), identity=STUDY)


@pytest.fixture
def pacs(paths: list[Path]) -> Iterator[FaultyPacs]:
    with faulty_pacs(paths) as pacs:
        yield pacs


def pull(
    pacs: FaultyPacs, folder: Path, *, series: str | None = None, limits: Limits = Limits(), limit_bytes: int = 1 << 30
) -> int:
    study = str(pacs.files[0][0].StudyInstanceUID)
    with DicomWeb(Source(url=pacs.url, timeout_s=0.3)) as client, folder_sink(folder / "out") as sink:
        chosen = choose_series(client, study, series)
        return pull_series(client, study, chosen, sink, limits=limits, limit_bytes=limit_bytes)


def digests(folder: Path) -> list[str]:
    return sorted(hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir())


@pytest.mark.parametrize("fault", ["", "pages"])
@pytest.mark.parametrize("is_named", [False, True])
def test_a_series_comes_byte_for_byte(
    pacs: FaultyPacs, paths: list[Path], tmp_path: Path, fault: str, is_named: bool
) -> None:
    pacs.fault = fault
    assert pull(pacs, tmp_path, series=STUDY.series if is_named else None) == 12
    assert digests(tmp_path / "out") == digests(paths[0].parent)


@pytest.mark.parametrize(
    ("fault", "slug"),
    [
        ("401", "pacs-forbidden"),
        ("500", "pacs-unavailable"),
        ("redirect", "pacs-unavailable"),
        ("html", "pacs-not-dicomweb"),
        ("html that says it is JSON", "pacs-not-dicomweb"),
        ("hangs", "pacs-unavailable"),
        ("one page for ever", "pacs-not-dicomweb"),
        ("slow", "pacs-unavailable"),
        ("cut", "pacs-incomplete"),
        ("no closing boundary", "pacs-incomplete"),
        ("one image less", "pacs-incomplete"),
    ],
)
def test_what_a_pacs_does_wrong_is_said_and_leaves_nothing(
    pacs: FaultyPacs, tmp_path: Path, fault: str, slug: str
) -> None:
    pacs.fault = fault
    with pytest.raises(PacsUnavailable) as raised:
        pull(pacs, tmp_path)
    assert raised.value.slug == slug
    assert "127.0.0.1" not in raised.value.message
    assert "PHANTOM" not in raised.value.message
    assert not list(tmp_path.iterdir())


def test_pages_count_together(pacs: FaultyPacs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pacs.fault = "pages"
    whole = len(json.dumps(pacs.instances(STUDY.series)))
    # Each of the three pages has room, and all of them together have none.
    monkeypatch.setattr(dicomweb, "_LARGEST_JSON_BYTES", whole * 2 // 3)
    with pytest.raises(PacsUnavailable, match="more JSON"):
        pull(pacs, tmp_path, series=STUDY.series)


def test_a_redirect_is_not_followed(pacs: FaultyPacs, tmp_path: Path) -> None:
    pacs.fault = "redirect"
    with pytest.raises(PacsUnavailable):
        pull(pacs, tmp_path)
    assert len(pacs.asked) == 1


def test_an_image_that_the_pacs_holds_broken_is_bad_input(pacs: FaultyPacs, tmp_path: Path) -> None:
    pacs.files[0] = (pacs.files[0][0], pacs.files[0][1][:200])
    with pytest.raises(InputError):
        pull(pacs, tmp_path)


def test_a_pacs_that_is_not_there_is_away(tmp_path: Path, paths: list[Path]) -> None:
    with faulty_pacs(paths) as gone:
        pass
    with pytest.raises(PacsUnavailable) as raised:
        pull(gone, tmp_path)
    assert raised.value.slug == "pacs-unavailable"


def test_images_of_another_series_are_not_taken(pacs: FaultyPacs, tmp_path: Path) -> None:
    other = write_series(tmp_path / "other", body(), identity=STUDY.another_series())
    # What it lists and what it gives are two things.
    pacs.files = [(head, path.read_bytes()) for (head, _), path in zip(pacs.files, other, strict=True)]
    with pytest.raises(PacsUnavailable, match="another series"):
        pull(pacs, tmp_path / "pulled")


def test_a_study_that_the_pacs_has_not_is_the_client_s_mistake(pacs: FaultyPacs) -> None:
    with DicomWeb(Source(url=pacs.url)) as client:
        for study, series in (("1.2.3", None), (STUDY.study, "1.2.3")):
            with pytest.raises(InputError) as raised:
                choose_series(client, study, series)
            assert raised.value.slug == "unknown-study"


@pytest.mark.parametrize(
    ("limits", "limit_bytes", "slug"),
    [(Limits(members=11), 1 << 30, "too-many-files"), (Limits(), 10_000, "upload-too-large")],
)
def test_caps_hold_as_for_uploads(
    pacs: FaultyPacs, tmp_path: Path, limits: Limits, limit_bytes: int, slug: str
) -> None:
    with pytest.raises(TooLarge) as raised:
        pull(pacs, tmp_path, limits=limits, limit_bytes=limit_bytes)
    assert raised.value.slug == slug


def test_what_ends_an_exchange_is_asked_for_between_blocks(pacs: FaultyPacs) -> None:
    def stop() -> None:
        raise InterruptedError

    with DicomWeb(Source(url=pacs.url), stop) as client, pytest.raises(InterruptedError):
        client.search("studies", {})


def study_with(folder: Path, *extra: list[Path]) -> list[Path]:
    thin = write_series(folder / "thin", body(), identity=STUDY, tags={"SeriesDescription": "thin"})
    return [*thin, *(path for paths in extra for path in paths)]


def test_the_one_axial_ct_of_a_study_is_found(tmp_path: Path) -> None:
    others = [
        write_localizer(tmp_path / "scout", identity=STUDY.another_series()),
        write_series(tmp_path / "coronal", body(), identity=STUDY.another_series(), orientation=CORONAL),
        [write_secondary_capture(tmp_path / "page.dcm", identity=STUDY.another_series())],
        [write_report(tmp_path / "report.dcm", identity=STUDY.another_series())],
    ]
    with faulty_pacs(study_with(tmp_path, *others)) as pacs:
        assert pull(pacs, tmp_path) == 12


def test_an_enhanced_object_says_in_its_groups_how_it_lies(tmp_path: Path) -> None:
    coronal = write_enhanced(tmp_path / "c.dcm", body(), identity=STUDY.another_series(), orientation=CORONAL)
    axial = write_enhanced(tmp_path / "a.dcm", body(), identity=STUDY)
    with faulty_pacs([coronal, axial]) as pacs:
        assert pull(pacs, tmp_path) == 1
    assert (tmp_path / "out" / "000001.dcm").read_bytes() == axial.read_bytes()


def test_several_are_listed_and_one_can_be_named(tmp_path: Path) -> None:
    thick_uid = STUDY.another_series()
    thick = write_series(tmp_path / "thick", body((4, 32, 40)), identity=thick_uid, tags={"ConvolutionKernel": "FC52"})
    with faulty_pacs(study_with(tmp_path, thick)) as pacs:
        with pytest.raises(GeometryRefused) as raised:
            pull(pacs, tmp_path)
        assert pull(pacs, tmp_path, series=thick_uid.series) == 4
    (reason,) = raised.value.verdict.refusals
    assert reason.code == "several_series"
    assert reason.numbers["series"] == [
        {
            "series_uid": STUDY.series,
            "description": "thin",
            "slices": 12,
            "plane": "axial",
            "modality": "CT",
            "kernel": "FC13",
            "thickness_mm": 5.0,
        },
        {
            "series_uid": thick_uid.series,
            "description": None,
            "slices": 4,
            "plane": "axial",
            "modality": "CT",
            "kernel": "FC52",
            "thickness_mm": 5.0,
        },
    ]


def test_a_study_without_ct_is_refused(tmp_path: Path) -> None:
    report = write_report(tmp_path / "report.dcm", identity=STUDY)
    with faulty_pacs([report]) as pacs, pytest.raises(GeometryRefused, match="modality SR") as raised:
        pull(pacs, tmp_path)
    assert [reason.code for reason in raised.value.verdict.refusals] == ["not_ct"]


def test_files_are_stored_as_they_are(pacs: FaultyPacs, paths: list[Path]) -> None:
    stored = destinations.send(Source(url=pacs.url), paths)
    assert stored.accepted == {str(head.SOPInstanceUID) for head, _ in pacs.files}
    assert not stored.failures
    (sent,) = pacs.stored
    assert all(path.read_bytes() in sent for path in paths)


@pytest.mark.parametrize("count", [1, 12])
@pytest.mark.parametrize(("reason", "slug"), [(0xA700, "pacs-busy"), (0x0110, "pacs-busy"), (0xC123, "pacs-refused")])
def test_every_instance_s_own_failure_is_read(
    pacs: FaultyPacs, paths: list[Path], count: int, reason: int, slug: str
) -> None:
    uids = [str(head.SOPInstanceUID) for head, _ in pacs.files]
    pacs.refusals = dict.fromkeys(uids[:count], reason)
    stored = destinations.send(Source(url=pacs.url), paths)
    assert stored.failures == pacs.refusals
    with pytest.raises(PacsRefused, match=f"did not take {count} of 12 objects .reason {reason:04X}") as raised:
        destinations.check_stored(stored, uids)
    assert raised.value.slug == slug


def test_an_instance_that_a_store_response_does_not_name_is_not_stored(pacs: FaultyPacs, paths: list[Path]) -> None:
    stored = destinations.send(Source(url=pacs.url), paths)
    with pytest.raises(PacsRefused, match="1 of 13"):
        destinations.check_stored(stored, [*stored.accepted, "1.2.3"])


@pytest.mark.parametrize(("fault", "kind"), [("413", PacsRefused), ("401", PacsUnavailable)])
def test_a_store_that_is_refused_as_a_whole(
    pacs: FaultyPacs, paths: list[Path], fault: str, kind: type[SigapError]
) -> None:
    pacs.fault = fault
    with pytest.raises(kind):
        destinations.send(Source(url=pacs.url), paths)


def test_credentials_are_read_at_each_use_and_a_missing_secret_is_said(pacs: FaultyPacs, tmp_path: Path) -> None:
    secret = tmp_path / "token"
    secret.write_text("s3cret\n")
    source = Source(url=pacs.url, token_file=secret)
    destinations.echo(source)
    secret.unlink()
    with pytest.raises(PacsUnavailable) as raised:
        destinations.echo(source)
    assert raised.value.slug == "pacs-secret"
    assert str(tmp_path) not in raised.value.message
