"""What the smoke tests are pointed at: SIGAP_URL, or gateways that they start themselves."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack

import httpx
import pytest

from conftest import ROOT
from deployed import Address, started, wait_until_ready
from triton_process import TritonProcess

# Read here: each test has the SIGAP_* variables of whoever runs it taken away.
GIVEN = Address.of(os.environ)


@pytest.fixture(scope="session", params=["given"] if GIVEN else ["torchscript", "triton"])
def address(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Address]:
    """A deployed stack, or a gateway with the engine of that name and the shipped weights."""
    if GIVEN is not None:
        yield GIVEN
        return
    folder, models = tmp_path_factory.mktemp(request.param), ROOT / "model_repository"
    settings = {"SIGAP_ENGINE": request.param, "SIGAP_MODELS": str(models)}
    with ExitStack() as stack:
        if request.param == "triton":
            server = TritonProcess(request.getfixturevalue("tritonserver"), models, folder / "log")
            stack.callback(server.stop)
            server.start()
            settings["SIGAP_TRITON_URL"] = server.address
        yield stack.enter_context(started(folder / "data", **settings))


@pytest.fixture(scope="session")
def client(address: Address) -> Iterator[httpx.Client]:
    with address.client() as client:
        wait_until_ready(client)
        yield client
