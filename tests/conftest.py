"""Fixtures that every layer of tests shares."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

# As the engine sets it, which comes too late here: toy imports torch first.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import toy
from certificates import certificates
from office import Office, opened_office
from orthanc import orthanc, shared_orthanc
from postgres import Postgres, database_url, postgres
from triton_server import _mortal, own_triton, slow, slow_repository, triton, tritonserver

__all__ = [
    "ROOT",
    "_mortal",
    "certificates",
    "database_url",
    "orthanc",
    "own_triton",
    "postgres",
    "shared_orthanc",
    "slow",
    "slow_repository",
    "triton",
    "tritonserver",
]

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def samples() -> Path:
    """The folder of real studies; not part of the repository."""
    folder = Path(os.environ.get("SIGAP_SAMPLES", ROOT.parent / "shared" / "samples"))
    if not folder.is_dir():
        pytest.skip("the sample studies are not here; set SIGAP_SAMPLES to their folder")
    return folder


@pytest.fixture(scope="session")
def toy_repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model repository with the one task `toy`."""
    return toy.write_repository(tmp_path_factory.mktemp("repository"))


@pytest.fixture(scope="session")
def job_database(postgres: Postgres) -> str:
    """The URL of one database for all tests of the job store: a new one for each would cost a second each."""
    return postgres.url(postgres.create_database())


@pytest.fixture(params=["SQLite", "PostgreSQL"])
def office(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Office]:
    """An empty job store over each database."""
    url = None
    if request.param == "PostgreSQL":
        url = request.getfixturevalue("job_database")
        request.getfixturevalue("postgres").start()
    with opened_office(tmp_path / "data", url) as office:
        yield office


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """A developer's own SIGAP_* variables must not decide what a test sees."""
    for name in os.environ:
        if name.startswith("SIGAP_") and name != "SIGAP_SAMPLES":
            monkeypatch.delenv(name)
