"""A real Triton of the tests' own: from its wheel, on this machine's CPU, models loaded when a test wants them."""

from __future__ import annotations

import re
import shutil
import subprocess
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
# Of Triton, which may hang when a model is loaded: some seconds are enough, but on a busy machine.
_LOAD_S, _TRIES = 45.0, 3


class House:
    """A server whose models come and go.

    Attributes:
        process: the server.
        repository: its model repository.
    """

    def __init__(self, process: TritonProcess) -> None:
        self.process = process
        self.repository = process.repository
        self._http = httpx.Client(base_url=process.http, timeout=_LOAD_S)

    def start(self) -> None:
        """Bring it up, under the same addresses."""
        self.process.start(patience_s=_LOAD_S, tries=_TRIES)

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
        """Where a busy machine gives a stub no turn for a second, Triton gives it up and waits for its end: help it."""
        for _ in range(_TRIES):
            try:
                return self._http.post(f"/v2/repository/models/{task}/load")
            except httpx.ReadTimeout:
                self.process.kill_stubs(f"{task}_")
        raise AssertionError(f"Triton does not load {task}")

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
    def serving(self, task: str, **parts: Any) -> Iterator[None]:
        """A toy task of one test's own: what stays behind would be in every later engine's list."""
        self.add(task, **parts)
        try:
            yield
        finally:
            self.remove(task)

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
    extra, versions = parts.pop("config", ""), parts.pop("versions", 2)
    toy.write_repository(repository, task=task, **parts)
    named = re.findall(r"^(parameters \{ key: \"sha256\.(\d+)\".*\n)", before, re.MULTILINE)
    kept = "".join(line for line, number in named if number != parts.get("version", "1"))
    text = config.read_text().replace("num_versions: 2", f"num_versions: {versions}")
    config.write_text(text + extra + kept)


@pytest.fixture(scope="session")
def tritonserver() -> Path:
    """The unpacked server."""
    if reason := triton_wheel.why_not_here():
        pytest.skip(reason)
    try:
        return triton_wheel.unpacked()
    except subprocess.CalledProcessError:
        pytest.skip("the wheel with Triton could not be fetched: see pip's words above, and try again with a network")


@pytest.fixture(scope="session")
def triton(tritonserver: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """The one server of a session, without models until a test brings them. Nobody kills it."""
    with _house(tritonserver, tmp_path_factory.mktemp("triton")) as house:
        yield house


@pytest.fixture(scope="session")
def slow_repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The task `slow`, the same bytes for every server that has it; requests of single slices are waited for."""
    repository = tmp_path_factory.mktemp("slow")
    add_version(
        repository, "slow", module=toy.Slow(), config="dynamic_batching { max_queue_delay_microseconds: 50000 }\n"
    )
    return repository


@pytest.fixture
def slow(triton: House, slow_repository: Path) -> str:
    """The name of a task of the session's server that takes its time; nobody changes it."""
    triton.add_folder(slow_repository / "slow")
    return "slow"


@pytest.fixture(scope="session")
def _mortal(tritonserver: Path, slow_repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with _house(tritonserver, tmp_path_factory.mktemp("mortal"), slow_repository / "slow") as house:
        yield house


@pytest.fixture
def own_triton(_mortal: House) -> House:
    """A server with the task `slow` that the test may kill; it is there when the test begins."""
    if not _mortal.process.is_running():
        _mortal.start()
    return _mortal


@contextmanager
def _house(tritonserver: Path, folder: Path, *models: Path) -> Iterator[House]:
    repository = folder / "repository"
    repository.mkdir(parents=True)
    for model in models:
        shutil.copytree(model, repository / model.name)
    options = ("--model-control-mode=explicit", *(f"--load-model={model.name}" for model in models))
    process = TritonProcess(tritonserver, repository, folder / "log", *options)
    house = House(process)
    house.start()
    try:
        yield house
    finally:
        house.close()
