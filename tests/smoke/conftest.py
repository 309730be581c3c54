"""What the smoke tests are pointed at: SIGAP_URL, or gateways that they start themselves."""

from __future__ import annotations

import os
from collections.abc import Iterator

import httpx
import pytest

from conftest import ROOT
from deployed import Address, started, wait_until_ready

# Read here: each test has the SIGAP_* variables of whoever runs it taken away.
GIVEN = Address.of(os.environ)


@pytest.fixture(scope="session", params=["given"] if GIVEN else ["torchscript"])
def address(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Address]:
    """A deployed stack, or a gateway with the engine of that name and the shipped weights."""
    if GIVEN is not None:
        yield GIVEN
        return
    models = {"SIGAP_MODELS": str(ROOT / "model_repository"), "SIGAP_ENGINE": request.param}
    with started(tmp_path_factory.mktemp("data"), **models) as own:
        yield own


@pytest.fixture(scope="session")
def client(address: Address) -> Iterator[httpx.Client]:
    with address.client() as client:
        wait_until_ready(client)
        yield client
