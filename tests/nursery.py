"""Tests' and benchmarks' side of `crashing`: gateways that live, what they answer, and what they leave."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np

import crashing
from crashing import Part
from phantoms.nifti import gzipped, nifti_bytes
from serving import wait_until
from sigap.jobs.storage import storage
from sigap.jobs.store import JobStore

ORGAN_HU, LESION_HU, AIR_HU = 100, 200, -1000
PATIENCE_S = 60.0


def study(number: int = 0, slices: int = 12) -> bytes:
    """A NIfTI file of 1 mm voxels; each number makes another one: a lesion in an organ, both somewhere else."""
    voxels = np.full((slices, 24, 24), AIR_HU, np.int16)
    voxels[1:-1, 2:22, 2:22] = ORGAN_HU
    row, column = 3 + number % 10, 3 + number // 10 % 10
    voxels[2:-2, row : row + 6, column : column + 7] = LESION_HU
    voxels[0, 0, :2] += [number % 100, number // 100]
    return gzipped(nifti_bytes(voxels.transpose(2, 1, 0), np.eye(4)))


@dataclass(frozen=True)
class Answered:
    """A result, but for its times: equal for equal studies, whatever happened on the way."""

    report: str
    mask: bytes

    @classmethod
    def of(cls, report: dict[str, Any], mask: bytes) -> Answered:
        provenance = {name: value for name, value in report["provenance"].items() if name != "created"}
        kept = {name: value for name, value in report.items() if name != "timings_ms"}
        return cls(json.dumps({**kept, "provenance": provenance}, sort_keys=True), mask)


@dataclass(frozen=True)
class Living:
    """A gateway's process, and a client of it."""

    part: Part
    pid: int
    client: httpx.Client
    wait: Callable[[], int]

    def post(
        self, content: bytes, *, task: str = "liver", key: str | None = None, is_async: bool = True
    ) -> httpx.Response:
        headers = {"Prefer": "respond-async"} if is_async else {}
        headers |= {} if key is None else {"Idempotency-Key": key}
        return self.client.post(f"/segment/{task}", files={"files": ("ct.nii.gz", content)}, headers=headers)

    def accept(self, content: bytes, **more: Any) -> str:
        """Post a study; the id of its job."""
        answer = self.post(content, **more)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])

    def job(self, job_id: str) -> dict[str, Any]:
        return dict(self.client.get(f"/jobs/{job_id}").raise_for_status().json())

    def jobs(self) -> list[dict[str, Any]]:
        return list(self.client.get("/jobs?limit=1000").raise_for_status().json()["jobs"])

    def end_of(self, job_id: str) -> dict[str, Any]:
        """The job when it has ended."""
        give_up = time.monotonic() + PATIENCE_S
        while (job := self.job(job_id))["state"] in ("queued", "running"):
            assert time.monotonic() < give_up, job
            time.sleep(0.02)
        return job

    def answer(self, job_id: str) -> Answered:
        report = self.client.get(f"/jobs/{job_id}/result?format=json").raise_for_status().json()
        return Answered.of(report, self.client.get(f"/jobs/{job_id}/result?format=nifti").raise_for_status().content)

    def wait_until_held(self) -> None:
        """Until it has come to the point where it waits."""
        wait_until(self.part.beside("held").exists)

    def go_on(self) -> None:
        """Let it, and every other that waits beside the same data folder, go on from there."""
        self.part.beside("go").touch()

    def signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        self.wait()


class Nursery:
    """Starts gateways."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    @contextmanager
    def gateway(self, part: Part) -> Iterator[Living]:
        """One that is killed at the end, if it still lives. What it logs lies beside its data folder."""
        born = self._ask(asdict(part))
        ended: list[int] = []

        def wait() -> int:
            if not ended:
                ended.append(self._ask({"wait": born["pid"]})["status"])
            return ended[0]

        with httpx.Client(base_url=f"http://127.0.0.1:{born['port']}", timeout=PATIENCE_S) as client:
            living = Living(part, born["pid"], client, wait)
            try:
                yield living
            finally:
                # Its number stays its own until it was waited for.
                if not ended:
                    living.kill()

    def _ask(self, question: Mapping[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        return dict(json.loads(self._process.stdout.readline()))


@contextmanager
def nursery() -> Iterator[Nursery]:
    """One for many gateways; at its end all are gone."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SIGAP_")}
    environment |= {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, crashing.__file__]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, env=environment, text=True, **pipes) as process:
        yield Nursery(process)


def orphans(data: Path, database_url: str | None = None) -> list[str]:
    """What lies in the data folder, or is missing there, against what the store knows; nothing while nothing runs."""
    opened = storage(data, database_url, quota_bytes=1)
    with closing(opened.database):
        known = JobStore(opened, queue_length=1).folders()
    here = {path.name: path for path in (data / "jobs").iterdir()}
    wrong = [f"jobs/{name}" for name in here.keys() ^ known.keys()]
    for name, result in known.items():
        results = {path.name for path in (data / "jobs" / name).glob("result-*")}
        wrong += [f"jobs/{name}/{stale}" for stale in results ^ ({result} - {None})]
    return sorted(wrong) + [str(path.relative_to(data)) for path in (data / "work").glob("*/*")]
