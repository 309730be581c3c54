"""The thread that sends results to the PACS: kept, then delivered, whatever dies in between."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol
from zipfile import ZipFile

import structlog

from sigap.core.errors import (
    DatabaseUnavailable,
    EngineUnavailable,
    InputError,
    KeptUnreadable,
    PacsRefused,
    PacsUnavailable,
    SigapError,
    StorageFull,
)
from sigap.dicomnet import destinations
from sigap.dicomnet.configuration import Pacs
from sigap.dicomnet.dimse import instance_uid
from sigap.jobs.answers import Answer
from sigap.jobs.deliveries import Deliveries
from sigap.jobs.delivery import Delivery
from sigap.jobs.job import Job
from sigap.jobs.problem import describe

_LOOK_AGAIN_S = 1.0
# They pass by themselves, and how long that takes says nothing about the result.
_PASSING = (PacsUnavailable, EngineUnavailable, DatabaseUnavailable, StorageFull)
# Another try would meet the same.
_LASTING = (InputError, KeptUnreadable)
_logger = structlog.stdlib.get_logger("sigap.dicomnet")

Outcome = Literal["delivered", "postponed", "failed", "released"]


class Stopped(Exception):
    """Raised within a try, to end it in order."""


class Maker(Protocol):
    """Makes a job's result in one format, as `jobs.answers.Answers` does."""

    def make(self, job: Job, encoding: str) -> Answer: ...


@dataclass(frozen=True)
class Bag:
    """What a courier works with.

    Attributes:
        deliveries: the store's.
        maker: of the objects.
        workspace: makes a new, empty folder.
        gateway: this one's id, which may change.
        observe: told of every try: destination and outcome.
        passed: told of every named point of a delivery's way; tests end the process there.
    """

    deliveries: Deliveries
    maker: Maker
    workspace: Callable[[], Path]
    gateway: Callable[[], str]
    observe: Callable[[str, Outcome], None]
    passed: Callable[[str], None]


class Courier:
    """Sends one result after the other.

    Args:
        pacs: whom to.
        bag: what it works with.
    """

    def __init__(self, pacs: Pacs, bag: Bag) -> None:
        self._pacs = pacs
        self._bag = bag
        self._bell = threading.Event()
        self._is_stopping = threading.Event()
        self._thread = threading.Thread(target=self._work, name="sigap-courier", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def wake(self) -> None:
        """A result has come."""
        self._bell.set()

    def stop(self, timeout_s: float) -> None:
        """End in order; what is being sent is sent again by whoever starts next."""
        self._is_stopping.set()
        self._bell.set()
        self._thread.join(timeout_s)

    def _work(self) -> None:
        while not self._is_stopping.is_set():
            self._bell.clear()
            try:
                has_sent = self._send_next()
            except (DatabaseUnavailable, StorageFull):
                has_sent = False
            except Exception:
                # One of ours; the next delivery must not wait for ever.
                _logger.exception("courier")
                has_sent = False
            if not has_sent:
                self._bell.wait(_LOOK_AGAIN_S)

    def _send_next(self) -> bool:
        claimed = self._bag.deliveries.claim(self._bag.gateway())
        if claimed is None:
            return False
        delivery, job = claimed
        outcome, problem = self._try(delivery, job)
        self._bag.observe(delivery.destination, outcome)
        _logger.info("delivery", destination=delivery.destination, outcome=outcome, problem=problem)
        return True

    def _try(self, delivery: Delivery, job: Job) -> tuple[Outcome, str | None]:
        deliveries = self._bag.deliveries
        try:
            self._send(delivery, job)
        except Stopped:
            deliveries.release(delivery)
            return "released", None
        except _LASTING as error:
            deliveries.fail(delivery, describe(error))
            return "failed", error.slug
        except Exception as error:  # noqa: BLE001 - the courier must outlive any delivery; the error is kept with it
            is_passing = isinstance(error, _PASSING) or getattr(error, "slug", "") == "pacs-busy"
            is_failed = deliveries.postpone(delivery, describe(error), is_counted=not is_passing)
            slug = error.slug if isinstance(error, SigapError) else type(error).__name__
            return ("failed" if is_failed else "postponed"), slug
        deliveries.succeed(delivery)
        return "delivered", None

    def _send(self, delivery: Delivery, job: Job) -> None:
        target = destinations.destination(self._pacs, delivery.destination)
        folder = self._bag.workspace()
        try:
            paths = [path for name in self._pacs.results.formats for path in self._objects(job, name, folder)]
            if not paths:
                raise PacsRefused("There is nothing to send: the PACS file names no format of results.")
            uids = [instance_uid(path) for path in paths]
            self._bag.passed("delivering")
            destinations.check_stored(destinations.send(target, paths, self._check), uids)
            self._bag.passed("delivered")
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _objects(self, job: Job, name: str, folder: Path) -> Sequence[Path]:
        """A result in one format, as files: of key images there are several."""
        self._check()
        answer = self._bag.maker.make(job, name)
        path = folder / answer.filename
        with closing(answer.file), path.open("wb") as file:
            shutil.copyfileobj(answer.file, file)
        if answer.media_type != "application/zip":
            return [path]
        unpacked = folder / name
        with ZipFile(path) as archive:
            return [Path(archive.extract(member, unpacked)) for member in sorted(archive.namelist())]

    def _check(self) -> None:
        if self._is_stopping.is_set():
            raise Stopped
