"""The courier: what it sends, what it makes of every answer, and what it leaves on the disk."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest

from faulty_pacs import FaultyPacs, faulty_pacs
from office import ROUTINE, Office
from phantoms.dicom import body, write_series
from serving import wait_until
from sigap.core.errors import EngineUnavailable, KeptUnreadable
from sigap.dicomnet import courier as courier_module
from sigap.dicomnet.configuration import Pacs, Results, Source
from sigap.dicomnet.courier import Bag, Courier
from sigap.jobs.answers import Answer
from sigap.jobs.deliveries import Deliveries
from sigap.jobs.job import Job


@dataclass
class Made:
    """Makes answers of DICOM files: one is a SEG, several a zip of key images."""

    paths: list[Path]
    error: Exception | None = None
    asked: list[str] = field(default_factory=list)

    def make(self, job: Job, encoding: str) -> Answer:
        self.asked.append(encoding)
        if self.error is not None:
            raise self.error
        content = io.BytesIO(self.paths[0].read_bytes())
        if encoding == "sc":
            content = io.BytesIO()
            with ZipFile(content, "w") as archive:
                for number, path in enumerate(self.paths[1:]):
                    archive.write(path, f"sc-{number:03}.dcm")
            content.seek(0)
        media_type = "application/zip" if encoding == "sc" else "application/dicom"
        return Answer(content, 0, media_type, f"{encoding}.dcm")


@dataclass
class Desk:
    office: Office
    pacs: FaultyPacs
    made: Made
    observed: list[tuple[str, str]]
    courier: Courier
    job: Job

    def until(self, *outcomes: str) -> dict[str, Any]:
        """Until this is what came of it; the job's delivery as clients see it."""
        wait_until(lambda: [outcome for _, outcome in self.observed][-len(outcomes) :] == list(outcomes))
        (delivery,) = self.office.get(self.job).as_json()["deliveries"]
        return dict(delivery)


@pytest.fixture
def desk(office: Office, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    monkeypatch.setattr(courier_module, "_LOOK_AGAIN_S", 0.01)
    paths = write_series(tmp_path / "objects", body((3, 16, 16)))
    job = office.answer(replace(ROUTINE, send_to=("archive",)))
    with faulty_pacs(paths) as pacs:
        made, observed = Made(paths), list[tuple[str, str]]()
        bag = Bag(
            deliveries=Deliveries(office.storage),
            maker=made,
            workspace=lambda: office.storage.data.workspace(office.leases.gateway),
            gateway=lambda: office.leases.gateway,
            observe=lambda destination, outcome: observed.append((destination, outcome)),
            passed=lambda _: None,
        )
        results = Results.model_construct(formats=("seg", "sc"))
        named = Pacs.model_construct(
            sources={"archive": Source(url=pacs.url, timeout_s=0.3)}, peers={}, results=results
        )
        courier = Courier(named, bag)
        yield Desk(office, pacs, made, observed, courier, job)
        courier.stop(5)
        assert not list((office.storage.data.path / "work").glob("*/*"))


def test_all_objects_go_in_one_request_byte_for_byte(desk: Desk) -> None:
    desk.courier.start()
    assert desk.until("delivered")["state"] == "delivered"
    (sent,) = desk.pacs.stored
    assert all(path.read_bytes() in sent for path in desk.made.paths)
    assert desk.observed == [("archive", "delivered")]
    assert desk.made.asked == ["seg", "sc"]


@pytest.mark.parametrize(
    ("make_it", "slug"),
    [
        (lambda desk: setattr(desk.pacs, "fault", "401"), "pacs-forbidden"),
        (lambda desk: desk.pacs.refusals.update(all_uids(desk, 0xA700)), "pacs-busy"),
        (lambda desk: setattr(desk.made, "error", EngineUnavailable("No memory.")), "engine-unavailable"),
    ],
    ids=["forbidden", "out of resources", "no memory"],
)
def test_what_may_pass_is_tried_again(desk: Desk, make_it: Callable[[Desk], object], slug: str) -> None:
    make_it(desk)
    desk.courier.start()
    delivery = desk.until("postponed")
    assert (delivery["state"], delivery["problem"]["type"]) == ("waiting", f"urn:sigap:problem:{slug}")
    desk.pacs.fault, desk.made.error = "", None
    desk.pacs.refusals.clear()
    desk.office.clock.now += 2
    assert desk.until("postponed", "delivered")["problem"] is None


def test_one_object_that_is_refused_gives_the_delivery_up_at_the_third_time(desk: Desk) -> None:
    desk.pacs.refusals = dict(list(all_uids(desk, 0xC000).items())[:1])
    desk.courier.start()
    for count in (1, 2):
        assert desk.until(*["postponed"] * count)["state"] == "waiting"
        desk.office.clock.now += 300
    delivery = desk.until("postponed", "postponed", "failed")
    assert (delivery["state"], delivery["attempts"]) == ("failed", 3)
    assert "1 of 3 objects (reason C000" in delivery["problem"]["detail"]


@pytest.mark.parametrize("error", [KeptUnreadable("Damaged."), ValueError("/secret/place")])
def test_what_cannot_be_made_is_given_up_and_tells_no_secret(desk: Desk, error: Exception) -> None:
    desk.made.error = error
    desk.courier.start()
    if isinstance(error, ValueError):
        for count in (1, 2):
            desk.until(*["postponed"] * count)
            desk.office.clock.now += 300
    wait_until(lambda: desk.observed[-1:] == [("archive", "failed")])
    (delivery,) = desk.office.get(desk.job).as_json()["deliveries"]
    assert delivery["state"] == "failed"
    assert "secret" not in str(delivery)


def test_a_destination_that_is_configured_no_more_waits_for_a_person(desk: Desk) -> None:
    desk.courier._pacs.sources.clear()
    desk.courier.start()
    delivery = desk.until("failed")
    assert "There is no such destination" in delivery["problem"]["detail"]


def all_uids(desk: Desk, reason: int) -> dict[str, int]:
    return {str(head.SOPInstanceUID): reason for head, _ in desk.pacs.files}
