"""Fixtures that every layer of tests shares."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

# As the engine sets it, which comes too late here: toy imports torch first.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import toy

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


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """A developer's own SIGAP_* variables must not decide what a test sees."""
    for name in os.environ:
        if name.startswith("SIGAP_") and name != "SIGAP_SAMPLES":
            monkeypatch.delenv(name)
