"""The PACS file: typed, every fault named by its entry, no secret and no value repeated."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from conftest import ROOT
from sigap.dicomnet.configuration import PacsFileError, read_pacs

WHOLE = """
[sources.archive]
url = "https://pacs.hospital.test/dicom-web/"
username = "sigap"
password_file = "secret"

[peers.workstation]
ae_title = "WORKSTATION"
host = "10.1.2.3"
port = 11112
commitment = { port = 11113 }

[listener]
calling_ae_titles = ["CT1"]
addresses = ["10.1.0.0/16", "192.168.4.7"]

[[rules]]
task = "liver"
series = { body_part = ["ABDOMEN"], kernel = ["^B[1-4]"], thickness_mm = [0.5, 3.0], contrast = true }
send_to = ["archive", "workstation"]
"""


def write(folder: Path, text: str) -> Path:
    (folder / "secret").write_text("hunter2\n")
    path = folder / "pacs.toml"
    path.write_text(text)
    return path


def refusal(folder: Path, text: str) -> str:
    with pytest.raises(PacsFileError) as raised:
        read_pacs(write(folder, text))
    assert "hunter2" not in str(raised.value)
    return str(raised.value)


def test_without_a_file_there_is_nobody_to_talk_to() -> None:
    pacs = read_pacs(None)
    assert not pacs.sources
    assert not pacs.peers
    assert pacs.listener is None


def test_a_whole_file_is_read(tmp_path: Path) -> None:
    pacs = read_pacs(write(tmp_path, WHOLE))
    assert pacs.sources["archive"].url == "https://pacs.hospital.test/dicom-web"
    assert pacs.sources["archive"].password_file == tmp_path / "secret"
    assert pacs.rules[0].series.thickness_mm == (0.5, 3.0)
    assert pacs.destination("workstation") is pacs.peers["workstation"]
    assert "hunter2" not in repr(pacs)


def test_the_examples_of_the_documentation_can_be_read(tmp_path: Path) -> None:
    examples = re.findall(r"```toml\n(.*?)```", (ROOT / "docs" / "pacs.md").read_text(), re.DOTALL)
    assert examples
    # Some formats come with a later version.
    for text in (re.sub(r"formats = .*", "", example) for example in examples):
        for name in re.findall(r'_file = "([^"]+)"', text):
            (tmp_path / name).touch()
        read_pacs(write(tmp_path, text))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[sources.a]\nurl = 'https://x'\ntimout_s = 3", "sources.a.timout_s: there is no such key"),
        ("[sources.a]\nurl = 'ftp://hunter2'", "sources.a.url: write http"),
        ("[sources.a]\nurl = 'https://user:hunter2@host/x'", "sources.a.url: write http"),
        ("[sources.a]\nurl = 'https://x'\nusername = 'u'", "sources.a: username and password_file go together"),
        ("[sources.a]\nurl = 'https://x'\ntoken_file = 'nowhere'", "sources.a.token_file: the file cannot be read"),
        ("[sources.'A b']\nurl = 'https://x'", "sources.A b: String should match"),
        ("[peers.p]\nae_title = 'SEVENTEENLETTERSX'\nhost = 'h'\nport = 104", "peers.p.ae_title: an AE title has"),
        ("[peers.p]\nae_title = 'P'\nhost = 'h'\nport = 0", "peers.p.port: Input should be greater"),
        ("[listener]\naddresses = ['10.1.2.3/8']", "listener.addresses.1: write an IP address"),
        ("[[rules]]\ntask = 'liver'\nseries = { kernel = ['('] }", "rules.1.series.kernel.1: this is no regular"),
        ("[[rules]]\ntask = 'liver'\nseries = { thickness_mm = [5, 1] }", "series.thickness_mm: write the least first"),
        ("[listener]\nquota_gb = 1e300", "listener.quota_gb: Input should be less"),
        ("[[rules]]\ntask = 'liver'\nsend_to = ['nobody']", "rule 1 sends to nobody"),
        ("[[rules]]\ntask = 'liver'\nseries = { modality = 'MR' }", "rules.1.series.modality: Input should be 'CT'"),
        ("[results]\nformats = ['json']", "results.formats.1: results are sent as DICOM"),
        ("this is no toml", "It is not TOML"),
        (
            "[sources.a]\nurl = 'https://x'\n[peers.a]\nae_title = 'P'\nhost = 'h'\nport = 104",
            "a is the name of a source and of a peer",
        ),
    ],
)
def test_a_fault_is_named_by_its_entry(tmp_path: Path, text: str, said: str) -> None:
    assert said in refusal(tmp_path, text)


def test_the_receiver_s_own_files_are_asked_for_by_the_receiver_alone(tmp_path: Path) -> None:
    text = "[listener]\nkey_file = 'key'\n[listener.tls]\ncertificate_file = 'secret'\nkey_file = 'tls.key'"
    listener = read_pacs(write(tmp_path, text)).listener
    assert listener is not None
    for missing, entry in (("key", "listener.key_file"), ("tls.key", "listener.tls.key_file")):
        with pytest.raises(PacsFileError, match=f"{entry}: the file cannot be read"):
            listener.check_files()
        (tmp_path / missing).touch()
    listener.check_files()


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(PacsFileError, match="cannot be read: No such file"):
        read_pacs(tmp_path / "pacs.toml")
