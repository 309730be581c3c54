"""A job store as a gateway has it, over a clock that stands until it is set."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

from sqlalchemy import delete

from phantoms.results import liver_model
from sigap.jobs.database import Database
from sigap.jobs.folder import DataFolder, JobFolder
from sigap.jobs.intake import Accepted
from sigap.jobs.job import Job, Order, new_id
from sigap.jobs.lease import Lease
from sigap.jobs.leases import Leases
from sigap.jobs.storage import Storage
from sigap.jobs.store import JobStore
from sigap.jobs.tables import DELIVERIES, FOLDERS, GATEWAYS, JOBS
from sigap.jobs.upload import Upload

QUEUE_LENGTH = 3
QUOTA_BYTES = 10_000
MODEL = replace(liver_model(), name="toy")
BATCH, ROUTINE, EMERGENCY = (Order("toy", priority) for priority in ("batch", "routine", "emergency"))


class Clock:
    """Seconds since 1970, as told."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


class Office:
    """One gateway's view of a storage; several may share one.

    Attributes:
        leases: of this gateway, which has joined.
    """

    def __init__(self, storage: Storage, clock: Clock) -> None:
        self.storage = storage
        self.clock = clock
        self.store = JobStore(storage, queue_length=QUEUE_LENGTH)
        self.leases = Leases(storage)
        self.leases.register()

    def beside(self) -> Office:
        """Another gateway on the same storage."""
        return Office(self.storage, self.clock)

    def enter(self, order: Order = ROUTINE, size: int = 0) -> str:
        job_id = new_id()
        self.store.enter(job_id, order, gateway=self.leases.gateway, size=size)
        return job_id

    def upload(self, job_id: str, *contents: bytes) -> str:
        """Write files; returns their digest."""
        reserve = partial(self.store.reserve, job_id)
        with Upload(self.storage.data.job(job_id), reserve, 0) as upload:
            for content in contents:
                file = upload.receive("study")
                file.write(content)
                file.complete()
            return upload.complete()

    def send(self, order: Order = ROUTINE, content: bytes = b"a study") -> Accepted:
        """Everything from the entry to the queue, as one who posts a study has it done."""
        job_id = self.enter(order)
        sha256 = self.upload(job_id, content)
        return self.store.accept(job_id, order, sha256, MODEL)

    def submit(self, order: Order = ROUTINE, content: bytes = b"a study") -> Job:
        return self.send(order, content).job

    def claim(self) -> Lease:
        lease = self.leases.claim()
        assert lease is not None, "no job is due"
        return lease

    def succeed(self, lease: Lease, result: bytes = b"a result") -> None:
        """Keep a result and end the job, as a run does."""
        name, folder = f"result-{lease.job.token}", self.folder(lease.job)
        lease.reserve(folder.size(), len(result))
        made = self.storage.data.workspace(self.leases.gateway)
        (made / "report.json").write_bytes(result)
        folder.take_result(made, name)
        assert lease.job.fingerprint is not None
        lease.succeed(name, fingerprint=lease.job.fingerprint, slices=4)

    def answer(self, order: Order = ROUTINE, content: bytes = b"a study") -> Job:
        """A job that has succeeded."""
        job = self.submit(order, content)
        self.succeed(self.claim())
        return self.get(job)

    def bury(self, problem: str = "why") -> Job:
        """A dead letter."""
        job = self.submit(content=b"a study that fails")
        for _ in range(3):
            self.claim().postpone({"detail": problem}, is_counted=True)
            self.clock.now += 30
        return self.get(job)

    def get(self, job: Job) -> Job:
        return self.store.get(job.id)

    def folder(self, job: Job) -> JobFolder:
        assert job.folder is not None
        return self.storage.data.job(job.folder)

    def folders(self) -> set[str]:
        """What lies on the disk; the store must know the same."""
        there = {path.name for path in (self.storage.data.path / "jobs").iterdir()}
        assert there == set(self.store.folders())
        return there

    def used_bytes(self) -> int:
        return self.store.tally().used_bytes


@contextmanager
def opened_office(data: Path, database_url: str | None = None) -> Iterator[Office]:
    """An office whose storage is its own until the end; what lay in a PostgreSQL database is forgotten."""
    clock = Clock()
    storage = Storage(Database(data, database_url), DataFolder(data), QUOTA_BYTES, clock)
    with storage.opened():
        with storage.database.transaction() as connection:
            for table in (DELIVERIES, JOBS, FOLDERS, GATEWAYS):
                connection.execute(delete(table))
        yield Office(storage, clock)
