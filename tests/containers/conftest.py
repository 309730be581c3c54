"""One stack for all tests here: building and starting it takes minutes."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from stack import Stack, stack_from_nothing


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with stack_from_nothing(tmp_path_factory.mktemp("stack")) as stack:
        yield stack


@pytest.fixture
def client(stack: Stack) -> Iterator[httpx.Client]:
    stack.wait_until_ready()
    with stack.address.client() as client:
        yield client
