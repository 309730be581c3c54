"""A gateway and the command line over a real Triton: whole studies, and what clients see when it goes away."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import nibabel
import numpy as np
import pytest
from typer.testing import CliRunner, Result

import toy
from phantoms.nifti import gzipped, nifti_bytes
from serving import serving, wait_until
from sigap.api.app import create_app
from sigap.cli import app as command_line
from sigap.cli import options
from sigap.engines.engine import Engine
from sigap.engines.triton import TritonEngine
from sigap.engines.triton import servers as servers_module
from sigap.settings import Settings
from triton_server import House

SLICES = 48


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers_module, "_LOOK_EVERY_S", 0.2)
    monkeypatch.setattr(servers_module, "_LOOK_FOR_LOST_EVERY_S", 0.1)
    monkeypatch.setattr(servers_module, "_PATIENCE_S", 0.5)


def study() -> bytes:
    """[i, j, k]: grey all over, so that `toy.Slow` takes its time, around a block that is bright enough to be body."""
    voxels = np.full((24, 20, SLICES), -100, np.int16)
    voxels[6:18, 5:15, 4:-4] = 100
    return gzipped(nifti_bytes(voxels))


@dataclass(frozen=True)
class Served:
    engine: Engine
    client: httpx.Client

    def post(self, task: str = "slow", **headers: str) -> httpx.Response:
        return self.client.post(
            f"/segment/{task}",
            files={"files": ("ct.nii.gz", study())},
            headers={"Cache-Control": "no-cache", **headers},
        )

    def job(self, response: httpx.Response) -> dict[str, Any]:
        job: dict[str, Any] = self.client.get(response.headers["location"]).json()
        return job

    def report(self, response: httpx.Response) -> dict[str, Any]:
        """Of a job that has ended."""
        wait_until(lambda: self.job(response)["state"] in {"succeeded", "failed", "dead"})
        report: dict[str, Any] = self.client.get(f"{response.headers['location']}/result").raise_for_status().json()
        return report


@contextmanager
def gateway(house: House, data: Path) -> Iterator[Served]:
    """Without a model repository of its own."""
    with closing(TritonEngine([house.process.address], timeout_s=60)) as engine:
        engine.wait_until_known(1 if not house.process.is_running() else 60)
        with serving(create_app(Settings(data=data, models=data / "none"), engine)) as client:
            client.timeout = httpx.Timeout(120)
            yield Served(engine, client)


def numbers(report: dict[str, Any]) -> tuple[Any, ...]:
    return report["labels"], report["lesions"], report["measures"]


def test_a_study_is_answered_without_a_repository(triton: House, slow: str, tmp_path: Path) -> None:
    with gateway(triton, tmp_path) as served:
        report = served.post().raise_for_status().json()
        model = served.engine.model(slow)
        assert report["provenance"]["engine"] == "triton"
        assert report["model"] == {"name": "slow", "version": "1", "sha256": model.sha256}
        assert report["labels"][0]["voxels"] == 12 * 10 * (SLICES - 8)
        listed = {entry["name"]: entry for entry in served.client.get("/models").json()["models"]}
        assert listed[slow]["model_card"]["text"] is None
        assert listed[slow]["labels"][0]["thresholds"] == [0.3, 0.5, 0.7]
        assert served.client.get("/health/ready").status_code == 200
        assert f'sigap_model_info{{sha256="{model.sha256}",task="slow",version="1"}} 1.0' in (
            served.client.get("/metrics").text
        )


def test_a_gateway_without_its_triton_says_so_and_goes_on_when_it_comes(own_triton: House, tmp_path: Path) -> None:
    own_triton.process.kill()
    with gateway(own_triton, tmp_path) as served:
        for response in (served.post(), served.client.get("/health/ready")):
            assert (response.status_code, response.json()["type"]) == (503, "urn:sigap:problem:engine-unavailable")
            assert response.headers["retry-after"]
        assert served.client.get("/health/live").status_code == 200
        assert served.client.get("/models").json()["models"] == []
        (task,) = [
            parameter["schema"]
            for parameter in served.client.get("/openapi.json").json()["paths"]["/segment/{task}"]["post"]["parameters"]
            if parameter["name"] == "task"
        ]
        assert "enum" not in task
        own_triton.start()
        wait_until(lambda: served.client.get("/health/ready").status_code == 200)
        assert served.post().status_code == 200
        assert served.post("nothing").status_code == 404


def test_a_triton_killed_in_mid_job_costs_no_job_and_no_slice(own_triton: House, tmp_path: Path) -> None:
    with gateway(own_triton, tmp_path) as served:
        whole = numbers(served.post().raise_for_status().json())
        accepted = served.post(prefer="respond-async")
        wait_until(lambda: served.job(accepted)["slices_done"] > 0)
        own_triton.process.kill()
        wait_until(lambda: served.job(accepted)["state"] == "queued")
        unready = served.client.get("/health/ready")
        assert (unready.status_code, "slow" in unready.json()["detail"]) == (503, True)
        assert 'sigap_model_ready{task="slow"} 0.0' in served.client.get("/metrics").text
        # Known, and away: one that waits is accepted, one that would be waited for is not.
        later = served.post(prefer="respond-async")
        assert (served.post().status_code, later.status_code) == (503, 202)
        own_triton.start()
        assert numbers(served.report(accepted)) == whole
        assert served.job(accepted)["attempts"] > 1
        assert numbers(served.report(later)) == whole


def test_a_job_whose_model_is_replaced_is_answered_by_one_version(triton: House, tmp_path: Path) -> None:
    with triton.serving("swapped", module=toy.Slow()), gateway(triton, tmp_path) as served:
        before = served.post("swapped").raise_for_status().json()
        accepted = served.post("swapped", prefer="respond-async")
        wait_until(lambda: served.job(accepted)["slices_done"] > 0)
        triton.add("swapped", version="2", module=toy.Inverted(), versions=1)
        report = served.report(accepted)
        answered = served.post("swapped").raise_for_status().json()
        assert [document["model"]["version"] for document in (before, answered)] == ["1", "2"]
        expected = before if report["model"]["version"] == "1" else answered
        assert numbers(report) == numbers(expected)
        assert report["model"] == expected["model"]
        assert numbers(before) != numbers(answered)


# On the command line


@pytest.fixture
def over_triton(triton: House, slow: str, monkeypatch: pytest.MonkeyPatch) -> House:
    monkeypatch.setenv("SIGAP_ENGINE", "triton")
    monkeypatch.setenv("SIGAP_TRITON_URL", triton.process.address)
    return triton


def sigap(*arguments: object) -> Result:
    return CliRunner().invoke(command_line, [str(argument) for argument in arguments])


def test_the_command_line_asks_triton(over_triton: House, tmp_path: Path) -> None:
    listed = sigap("models")
    assert listed.exit_code == 0, listed.output
    assert "slow" in listed.stdout
    path = tmp_path / "ct.nii.gz"
    path.write_bytes(study())
    result = sigap("segment", "slow", path, "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert nibabel.load(tmp_path / "out" / "mask.nii.gz").shape == (24, 20, SLICES)
    assert sigap("segment", "nothing", path, "--out", tmp_path / "other").exit_code == 2
    mixed = sigap("segment", "slow", path, "--out", tmp_path / "other", "--models", tmp_path)
    assert mixed.exit_code == 2
    assert "--models" in mixed.stderr


def test_the_command_line_says_that_there_is_no_triton(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(options, "_FIRST_ANSWER_S", 0.3)
    monkeypatch.setenv("SIGAP_ENGINE", "triton")
    monkeypatch.setenv("SIGAP_TRITON_URL", "127.0.0.1:1")
    path = tmp_path / "ct.nii.gz"
    path.write_bytes(study())
    for arguments in (("models",), ("segment", "slow", path, "--out", tmp_path / "out")):
        result = sigap(*arguments)
        assert result.exit_code == 1
        assert "Triton server" in result.stderr or "inference server" in result.stderr


WITHOUT = "import sys; sys.modules[{!r}] = None; from sigap.cli import main; main()"


def without(module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A call of the command line where a package is not installed."""
    command = [sys.executable, "-c", WITHOUT.format(module), *arguments]
    return subprocess.run(command, env=dict(os.environ), capture_output=True, text=True, check=False)


def test_torch_is_not_needed_beside_triton(over_triton: House, tmp_path: Path) -> None:
    path = tmp_path / "ct.nii.gz"
    path.write_bytes(study())
    ended = without("torch", "segment", "slow", str(path), "--out", str(tmp_path / "out"))
    assert ended.returncode == 0, ended.stderr
    assert (tmp_path / "out" / "report.json").exists()


@pytest.mark.parametrize(
    ("module", "engine", "arguments"),
    [
        ("torch", "torchscript", ("segment", "liver", "here", "--out", "out")),
        ("tritonclient", "triton", ("serve", "--port", "0")),
    ],
)
def test_a_missing_package_is_named_with_what_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str, engine: str, arguments: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here").mkdir()
    monkeypatch.setenv("SIGAP_ENGINE", engine)
    monkeypatch.setenv("SIGAP_TRITON_URL", "127.0.0.1:1")
    monkeypatch.setenv("SIGAP_DATA", str(tmp_path / "data"))
    ended = without(module, *arguments)
    assert ended.returncode == 1, ended.stderr
    assert f"pip install 'sigap[{module.removesuffix('client')}]'" in ended.stderr
    assert "Traceback" not in ended.stderr
