"""`sigap pacs` with a real Orthanc, by DICOMweb and by DIMSE."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydicom.filereader import read_file_meta_info
from typer.testing import CliRunner

from office import ROUTINE, opened_office
from orthanc import PASSWORD, TITLE, USER, Orthanc
from phantoms.dicom import Identity, body, write_localizer, write_series
from sigap.cli import app
from sigap.dicomnet.spool import Spool, Undecided
from sigap.jobs.deliveries import Deliveries

STUDY = Identity()
Command = Callable[..., tuple[int, str]]


def pacs_file(folder: Path, orthanc: Orthanc) -> Path:
    """A PACS file with Orthanc as a source and as a peer, and a source that is away."""
    (folder / "password").write_text(f"{PASSWORD}\n")
    path = folder / "pacs.toml"
    path.write_text(
        f"""
        [sources.archive]
        url = "{orthanc.dicomweb}"
        username = "{USER}"
        password_file = "password"

        [sources.away]
        url = "http://127.0.0.1:9"

        [peers.workstation]
        ae_title = "{TITLE}"
        host = "127.0.0.1"
        port = {orthanc.port}
        """
    )
    return path


def run_pacs(*arguments: object) -> tuple[int, str]:
    """Exit status and words of `sigap pacs`."""
    ended = CliRunner().invoke(app, ["pacs", *map(str, arguments)])
    return ended.exit_code, " ".join(ended.output.split())


@pytest.fixture
def sigap(orthanc: Orthanc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    monkeypatch.setenv("SIGAP_PACS", str(pacs_file(tmp_path, orthanc)))
    return run_pacs


def test_echo_says_who_answers(sigap: Command) -> None:
    status, said = sigap("echo")
    assert status == 1
    assert "archive answers" in said
    assert "workstation answers" in said
    assert "away: The PACS cannot be reached" in said
    assert sigap("echo", "archive") == (0, "archive answers")
    status, said = sigap("echo", "nobody")
    assert status == 1
    assert "There is no such destination. This server has: archive, away, workstation" in said


@pytest.mark.parametrize("name", ["archive", "workstation"])
def test_what_is_pushed_can_be_found_and_pulled(orthanc: Orthanc, sigap: Command, tmp_path: Path, name: str) -> None:
    sent = write_series(tmp_path / "sent", body(), identity=STUDY)
    scout = write_localizer(tmp_path / "scout", identity=STUDY.another_series())
    assert sigap("push", name, tmp_path / "sent", *scout) == (0, f"{name} has taken 13 files")
    (study,) = orthanc.find("Study", StudyInstanceUID=STUDY.study)
    assert study["PatientMainDicomTags"]["PatientID"] == "PHANTOM-1"

    status, said = sigap("pull", "archive", STUDY.study, "--out", tmp_path / "pulled")
    assert (status, said) == (0, f"12 files of series {STUDY.series} in {tmp_path / 'pulled'}")
    pulled = {path.read_bytes() for path in (tmp_path / "pulled").iterdir()}
    if name == "archive":
        assert pulled == {path.read_bytes() for path in sent}
    assert sigap("pull", "archive", STUDY.study, "--out", tmp_path / "pulled")[0] == 2


def test_several_series_are_not_guessed_among(orthanc: Orthanc, sigap: Command, tmp_path: Path) -> None:
    other = STUDY.another_series()
    orthanc.add(*write_series(tmp_path / "one", body(), identity=STUDY))
    orthanc.add(*write_series(tmp_path / "two", body((3, 16, 16)), identity=other))
    status, said = sigap("pull", "archive", STUDY.study, "--out", tmp_path / "pulled")
    assert status == 1
    assert "holds 2 axial CT series" in said
    assert not (tmp_path / "pulled").exists()
    status, said = sigap("pull", "archive", STUDY.study, "--series-uid", other.series, "--out", tmp_path / "pulled")
    assert (status, said.split()[0]) == (0, "3")


def test_wrong_calls_are_usage_errors(sigap: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert sigap("pull", "archive", "../etc", "--out", tmp_path / "x")[0] == 2
    (tmp_path / "empty").mkdir()
    assert sigap("push", "archive", tmp_path / "empty")[0] == 2
    monkeypatch.delenv("SIGAP_PACS")
    status, said = sigap("echo")
    assert status == 2
    assert "SIGAP_PACS names no file" in said


def test_files_that_fail_are_named_in_a_sentence(orthanc: Orthanc, sigap: Command, tmp_path: Path) -> None:
    (tmp_path / "README").write_text("no DICOM\n")
    assert sigap("push", "archive", tmp_path / "README") == (
        1,
        f"Error: {tmp_path}/README: A file is no DICOM file that can be sent.",
    )
    orthanc.add(*write_series(tmp_path / "series", body((2, 8, 8)), identity=STUDY, spacing_mm=(5, 1, 1)))
    assert sigap("pull", "archive", STUDY.study, "--out", "/proc/study") == (
        1,
        "Error: A file could not be read or written: No such file or directory.",
    )


def test_a_folder_is_pushed_whole_or_not_at_all(
    orthanc: Orthanc, sigap: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_series(tmp_path / "study" / "first", body((2, 8, 8)), identity=STUDY)
    write_series(tmp_path / "study" / "locked", body((2, 8, 8)), identity=STUDY.another_series())
    look = os.scandir

    def scandir(path: str) -> Any:
        if path.endswith("locked"):
            raise PermissionError(errno.EACCES, "Permission denied")
        return look(path)

    monkeypatch.setattr(os, "scandir", scandir)  # root, who runs the tests in CI, may read everything
    assert sigap("push", "archive", tmp_path / "study") == (
        1,
        "Error: A file could not be read or written: Permission denied.",
    )
    assert not orthanc.find("Study", StudyInstanceUID=STUDY.study)


def test_a_received_study_that_no_rule_decides_is_chosen_from_or_dismissed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pacs.toml").write_text("[listener]\nkey_file = 'key'\n")
    monkeypatch.setenv("SIGAP_PACS", str(tmp_path / "pacs.toml"))
    monkeypatch.setenv("SIGAP_DATA", str(tmp_path / "data"))
    assert run_pacs("received") == (0, "No received study needs a choice.")
    spool = Spool(tmp_path / "data" / "received", 1 << 30)
    with spool.opened():
        for path in write_series(tmp_path / "series", body(), identity=STUDY, spacing_mm=(5, 1, 1)):
            meta = read_file_meta_info(path)
            content = path.read_bytes()[144 + meta.FileMetaInformationGroupLength :]
            study = spool.keep(STUDY.study, meta, memoryview(content))
        with study.changing() as held:
            held[0] = replace(
                held[0], seen=study.digest(), undecided=(Undecided(None, "No rule fits any series.", ()),)
            )
        status, said = run_pacs("received")
        assert status == 0
        assert study.id[:12] in said
        assert "No rule fits any series." in said
        status, said = run_pacs("choose", study.id, "liver", "9.9")
        assert status == 1
        assert f"The study has no such series. It has: {STUDY.series}." in said
        assert study.state().choices == {}
        assert run_pacs("choose", study.id[:8], "liver", STUDY.series) == (0, f"{study.id}: {STUDY.series} for liver")
        assert (study.state().choices, study.state().seen) == ({"liver": STUDY.series}, "")
        assert run_pacs("dismiss", study.id)[0] == 0
        assert study.state().is_dismissed
        assert run_pacs("choose", "0123456789", "liver", STUDY.series)[0] == 1


def test_deliveries_can_be_looked_after(sigap: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGAP_DATA", str(tmp_path / "data"))
    assert sigap("deliveries") == (0, "Every result is where it belongs.")
    with opened_office(tmp_path / "data") as office:
        job = office.answer(replace(ROUTINE, send_to=("archive", "workstation")))
        deliveries = Deliveries(office.storage)
        claimed = deliveries.claim(office.leases.gateway)
        assert claimed is not None
        deliveries.fail(claimed[0], {"detail": "The PACS has no [room]."})
        status, said = sigap("deliveries")
        assert status == 0
        assert f"{job.id[:12]} archive failed 1 The PACS has no [room]." in said
        assert f"{job.id[:12]} workstation waiting 0" in said
        listed = json.loads(sigap("deliveries", "--json")[1])["deliveries"]
        assert [(one["job"], one["state"]) for one in listed] == [(job.id, "failed"), (job.id, "waiting")]
        assert sigap("retry", job.id[:8]) == (0, f"{job.id}: 2 deliveries due now")
        assert {one.state for one in office.get(job).deliveries} == {"waiting"}
        assert sigap("retry", "f" * 32)[0] == 1
