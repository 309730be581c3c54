"""`sigap pacs` with a real Orthanc, by DICOMweb and by DIMSE."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from office import ROUTINE, opened_office
from orthanc import PASSWORD, TITLE, USER, Orthanc
from phantoms.dicom import Identity, body, write_localizer, write_series
from sigap.cli import app
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


@pytest.fixture
def sigap(orthanc: Orthanc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    monkeypatch.setenv("SIGAP_PACS", str(pacs_file(tmp_path, orthanc)))

    def run(*arguments: object) -> tuple[int, str]:
        ended = CliRunner().invoke(app, ["pacs", *map(str, arguments)])
        return ended.exit_code, " ".join(ended.output.split())

    return run


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
