"""`make chaos`: studies are sent while every gateway is killed again and again; each must be answered, once, and right.

As a hospital's IT would: 20 studies of both tasks, kill -9 for every gateway at three random moments, start them again;
with SQLite and one gateway, then with PostgreSQL and three.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import httpx
import numpy as np
from gateways import gateway
from scans import Scan, samples, toys

from crashing import Part
from nursery import Answered, Living, nursery, orphans
from postgres import Postgres, _kept_folder, _programs

KILLS = 3
_GATEWAYS = 3
_SENDERS = 4
_PAUSE_S = 0.1
# A scan that is not answered by then will never be.
_PATIENCE_S = 600.0

Start = Callable[[Part], AbstractContextManager[Living]]


@dataclass(frozen=True)
class Case:
    """Where the gateways live.

    Attributes:
        name: for people.
        start: starts one of them.
        part: what each does.
        count: how many there are.
    """

    name: str
    start: Start
    part: Part
    count: int


class Fleet:
    """All gateways of a case: killed together, started again together.

    Attributes:
        living: those of now; other ones after the next start.
    """

    def __init__(self, case: Case) -> None:
        self._case = case
        self._stack = ExitStack()
        self.living: Sequence[Living] = ()

    def start(self) -> None:
        """Start them and wait until each of them answers."""
        self.living = [self._stack.enter_context(self._case.start(self._case.part)) for _ in range(self._case.count)]
        for living in self.living:
            living.client.get("/health/ready").raise_for_status()

    def kill(self) -> None:
        for living in self.living:
            living.kill()
        self._stack.close()

    def send(self, number: int, scan: Scan) -> str:
        """Post a scan until a gateway has promised to answer it; returns the job's id."""
        form = {"files": (scan.name, scan.content)}
        headers = {"Prefer": "respond-async", "Idempotency-Key": f"scan {number}"}
        give_up = time.monotonic() + _PATIENCE_S
        while time.monotonic() < give_up:
            address = self.living[number % len(self.living)].client.base_url
            try:
                answer = httpx.post(f"{address}/segment/{scan.task}", files=form, headers=headers, timeout=60)
            except httpx.TransportError:
                answer = None
            if answer is not None and answer.status_code != httpx.codes.SERVICE_UNAVAILABLE:
                return str(answer.raise_for_status().json()["id"])
            time.sleep(_PAUSE_S)
        raise TimeoutError(f"scan {number} was never accepted")

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()


def main() -> int:
    """The exit status is 1 where a study was lost, answered twice or wrong, or a file left."""
    options = _options()
    random = np.random.default_rng(options.seed)
    print(f"seed {options.seed}", flush=True)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sigap-chaos-")))
        if options.small:
            start: Start = stack.enter_context(nursery()).gateway
            scans = toys()
        else:
            start, scans = gateway, samples()
        url = options.database_url or stack.enter_context(_postgresql())
        quiet = Case("undisturbed", start, _part(folder, "quiet", None), 1)
        cases = [
            Case("SQLite, one gateway", start, _part(folder, "sqlite", None), 1),
            Case(f"PostgreSQL, {_GATEWAYS} gateways", start, _part(folder, "postgresql", url), _GATEWAYS),
        ]
        wanted, spent_s = undisturbed(quiet, scans)
        print(f"undisturbed: {len(wanted)} results in {spent_s:.0f} s", flush=True)
        faults = [fault for case in cases for fault in disturbed(case, scans, wanted, spent_s / case.count, random)]
    return 1 if faults else 0


def undisturbed(case: Case, scans: Sequence[Scan]) -> tuple[list[Answered], float]:
    """What every scan's answer must be, and how long all take."""
    with Fleet(case) as fleet:
        started = time.perf_counter()
        ids = _sent(fleet, scans)
        _wait_for_all(fleet)
        spent_s = time.perf_counter() - started
        return [fleet.living[0].answer(job_id) for job_id in ids], spent_s


def disturbed(
    case: Case, scans: Sequence[Scan], wanted: Sequence[Answered], spent_s: float, random: np.random.Generator
) -> list[str]:
    """Send the scans, kill all gateways several times meanwhile, and compare.

    Returns:
        What is wrong.
    """
    started = time.perf_counter()
    with Fleet(case) as fleet, ThreadPoolExecutor(1) as pool:
        sending = pool.submit(_sent, fleet, scans)
        for number in range(1, KILLS + 1):
            # All lives together are too short for all the work.
            time.sleep(random.uniform(0.02, 0.9 / KILLS) * spent_s)
            states = Counter(job["state"] for job in fleet.living[0].jobs())
            print(
                f"{case.name}: kill {number} at {time.perf_counter() - started:.1f} s, {_counted(states)}", flush=True
            )
            fleet.kill()
            fleet.start()
        ids = sending.result()
        _wait_for_all(fleet)
        faults = list(_faults(case, fleet, ids, wanted))
        runs = Counter(f"by run {job['attempts']}" for job in fleet.living[0].jobs())
    spent_s = time.perf_counter() - started
    told = f"{case.name}: {len(ids)} results, {len(faults)} faults, in {spent_s:.0f} s: {_counted(runs)}"
    print(told, *faults, sep="\n  ", flush=True)
    return faults


def _sent(fleet: Fleet, scans: Sequence[Scan]) -> list[str]:
    with ThreadPoolExecutor(_SENDERS) as pool:
        return list(pool.map(fleet.send, range(len(scans)), scans))


def _wait_for_all(fleet: Fleet) -> None:
    give_up = time.monotonic() + _PATIENCE_S
    while any(job["state"] in ("queued", "running") for job in fleet.living[0].jobs()):
        if time.monotonic() > give_up:
            return
        time.sleep(_PAUSE_S)


def _faults(case: Case, fleet: Fleet, ids: Sequence[str], wanted: Sequence[Answered]) -> Iterator[str]:
    jobs = fleet.living[0].jobs()
    if sorted(job["id"] for job in jobs) != sorted(ids):
        yield f"{len(jobs)} jobs, {len(set(ids))} promised"
    for job in jobs:
        if job["state"] != "succeeded" or job["reused"]:
            yield f"job {job['id']}: {job['state']}, reused: {job['reused']}"
    for number, (job_id, answer) in enumerate(zip(ids, wanted, strict=True)):
        if any(living.answer(job_id) != answer for living in fleet.living):
            yield f"scan {number}: another answer than undisturbed"
    yield from orphans(Path(case.part.data), case.part.database_url)


def _counted(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {what}" for what, count in sorted(counts.items())) or "nothing accepted"


def _part(folder: Path, name: str, database_url: str | None) -> Part:
    (folder / name).mkdir()
    return Part(str(folder / name / "data"), database_url, batch_s=0.05)


@contextmanager
def _postgresql() -> Iterator[str]:
    programs = _programs()
    if programs is None:
        raise SystemExit("PostgreSQL is not here; `make setup-system` installs it, or says what to install")
    with _kept_folder(programs) as (folder, pipe):
        server = Postgres(programs, folder)
        server.create(pipe)
        server.start()
        yield server.url(server.create_database())


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Kill gateways at random moments; nothing may be lost.")
    parser.add_argument("--small", action="store_true", help="toy studies, and gateways that start at once")
    parser.add_argument("--seed", type=int, default=6, help="decides when they are killed")
    parser.add_argument("--database-url", help="an empty PostgreSQL database; else a server is started for it")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
