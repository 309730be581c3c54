"""A real Triton of the tests' own: from its wheel, on this machine's CPU, models loaded when a test wants them."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

import toy
import triton_wheel
from sigap.engines.triton import TritonEngine
from sigap.engines.triton.server import TritonServer
from triton_process import TritonProcess

PATIENCE_S = 60.0


class House:
    """A server whose models come and go.

    Attributes:
        process: the server.
        repository: its model repository.
    """

    def __init__(self, process: TritonProcess) -> None:
        self.process = process
        self.repository = process.repository
        self._http = httpx.Client(base_url=process.http, timeout=PATIENCE_S)

    def close(self) -> None:
        """The quick way: nothing of it is needed any more."""
        self._http.close()
        self.process.kill()

    def add(self, task: str, **parts: Any) -> None:
        """Write a toy task, or one more version of it, and have it loaded."""
        add_version(self.repository, task, **parts)
        self.load(task)

    def add_folder(self, folder: Path) -> None:
        """Bring a model folder in as it is."""
        if not (self.repository / folder.name).exists():
            shutil.copytree(folder, self.repository / folder.name)
            self.load(folder.name)

    def load(self, task: str) -> None:
        self.try_to_load(task).raise_for_status()

    def try_to_load(self, task: str) -> httpx.Response:
        return self._http.post(f"/v2/repository/models/{task}/load")

    def unload(self, task: str) -> None:
        """Take it out; what it was asked before is still answered."""
        self._http.post(f"/v2/repository/models/{task}/unload").raise_for_status()

    def remove(self, task: str) -> None:
        """Take it out for good."""
        self.unload(task)
        shutil.rmtree(self.repository / task)

    def statistics(self, task: str) -> dict[str, Any]:
        """Of the task's first version."""
        stats: dict[str, Any] = self._http.get(f"/v2/models/{task}/stats").raise_for_status().json()["model_stats"][0]
        return stats

    @contextmanager
    def engine(self, *, timeout_s: float = PATIENCE_S) -> Iterator[TritonEngine]:
        """A gateway's engine over this server alone."""
        with engine_over([self.process.address], timeout_s=timeout_s) as engine:
            yield engine


@contextmanager
def engine_over(addresses: list[str], *, timeout_s: float = PATIENCE_S) -> Iterator[TritonEngine]:
    """An engine that has heard of a server."""
    engine = TritonEngine(addresses, timeout_s=timeout_s)
    try:
        assert engine.wait_until_known(PATIENCE_S)
        yield engine
    finally:
        engine.close()


def servers(engine: TritonEngine) -> tuple[TritonServer, ...]:
    """What an engine knows of each of its servers."""
    return engine._servers._servers


def add_version(repository: Path, task: str, **parts: Any) -> None:
    """Write a toy task into a repository, or a new version of it, which the configuration then names too."""
    config = repository / task / "config.pbtxt"
    before = config.read_text() if config.exists() else ""
    extra = parts.pop("config", "")
    toy.write_repository(repository, task=task, **parts)
    kept = "".join(re.findall(r"^parameters \{ key: \"sha256\.\d+\".*\n", before, re.MULTILINE))
    config.write_text(config.read_text() + extra + kept)


@pytest.fixture(scope="session")
def tritonserver() -> Path:
    """The unpacked server."""
    if reason := triton_wheel.why_not_here():
        pytest.skip(reason)
    return triton_wheel.unpacked()


@pytest.fixture(scope="session")
def triton(tritonserver: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """The one server of a session, without models until a test brings them. Nobody kills it."""
    with _house(tritonserver, tmp_path_factory.mktemp("triton")) as house:
        yield house


@pytest.fixture
def own_triton(tritonserver: Path, tmp_path: Path) -> Iterator[House]:
    """A server that the test may kill; it knows the task `slow`."""
    with _house(tritonserver, tmp_path / "own", slow=toy.Slow()) as house:
        yield house


@contextmanager
def _house(tritonserver: Path, folder: Path, **tasks: Any) -> Iterator[House]:
    repository = folder / "repository"
    repository.mkdir(parents=True)
    for task, module in tasks.items():
        add_version(repository, task, module=module)
    options = ("--model-control-mode=explicit", *(f"--load-model={task}" for task in tasks))
    process = TritonProcess(tritonserver, repository, folder / "log", *options)
    process.start()
    house = House(process)
    try:
        yield house
    finally:
        house.close()
