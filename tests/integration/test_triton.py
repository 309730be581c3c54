"""The Triton engine against real servers: what comes, goes, breaks and hangs there; no answer is half an answer."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import numpy as np
import pytest
from numpy.typing import NDArray
from tritonclient.utils import InferenceServerException

import toy
from serving import wait_until
from sigap.core.contract import Model
from sigap.core.errors import DeadlineExceeded, EngineUnavailable, ModelReplaced, UnknownTask
from sigap.engines.triton import TritonEngine
from sigap.engines.triton import engine as engine_module
from sigap.engines.triton import server as server_module
from sigap.engines.triton import servers as servers_module
from sigap.engines.triton.failures import CallFailed, ServerBusy, call_failed
from triton_server import House, add_version, engine_over, servers

Slices = NDArray[np.uint8]
SIDE = 16
# Shades of a volume of `toy.Slow`, one batch each: known answers, each of some dozen milliseconds.
SHADES = range(10, 34)
QUEUE = "dynamic_batching { default_queue_policy { max_queue_size: 1 } }\n"


@pytest.fixture(autouse=True)
def _watchful(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look more often than in a hospital: each change would else cost a test two seconds."""
    monkeypatch.setattr(servers_module, "_LOOK_EVERY_S", 0.2)
    monkeypatch.setattr(servers_module, "_LOOK_FOR_LOST_EVERY_S", 0.1)


@pytest.fixture(scope="module")
def full(triton: House) -> Iterator[str]:
    """A task with room for one batch in its queue."""
    with triton.serving("full", module=toy.Slow(), config=QUEUE):
        yield "full"


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long a server takes to start on a busy machine."""
    monkeypatch.setattr(servers_module, "_PATIENCE_S", 120.0)


@pytest.fixture
def failures(monkeypatch: pytest.MonkeyPatch) -> list[type]:
    """The kinds of all failed calls. Triton counts none that finds its queue full."""
    kinds: list[type] = []

    def noted(error: InferenceServerException) -> CallFailed | None:
        failure = call_failed(error)
        kinds.append(type(failure))
        return failure

    monkeypatch.setattr(server_module, "call_failed", noted)
    return kinds


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers_module, "_PATIENCE_S", 0.5)


def batch(shade: int, count: int = 4) -> Slices:
    return np.full((count, 1, SIDE, SIDE), shade, np.uint8)


def volume() -> Iterator[Slices]:
    return (batch(shade) for shade in SHADES)


def answers(engine: TritonEngine, model: Model, then: Callable[[int], None] = lambda _: None) -> list[tuple[int, int]]:
    """The two channels of every batch of `volume`, each of which must be of one shade; `then` is told how many came."""
    found = []
    with closing(engine.infer_all(model, volume(), check=lambda: None)) as coming:
        for place, probabilities in enumerate(coming):
            assert probabilities.shape == (4, 2, SIDE, SIDE)
            (body,), (blob,) = np.unique(probabilities[:, 0]), np.unique(probabilities[:, 1])
            found.append((int(body), int(blob)))
            then(place + 1)
    return found


EXPECTED = [(shade, 255 - shade) for shade in SHADES]
INVERTED = [(255 - shade, shade) for shade in SHADES]


# What comes and goes


def test_an_engine_that_is_there_before_its_server_finds_it(own_triton: House) -> None:
    own_triton.process.kill()
    engine = TritonEngine([own_triton.process.address], timeout_s=30)
    with closing(engine):
        assert not engine.wait_until_known(0.5)
        assert engine.models() == ()
        assert not engine.is_ready()
        with pytest.raises(EngineUnavailable, match="not been reached yet"):
            engine.model("slow")
        own_triton.start()
        wait_until(lambda: engine.is_ready("slow"))
        assert engine.is_ready()
        assert answers(engine, engine.model("slow")) == EXPECTED


def test_a_task_that_is_unloaded_is_away_and_one_that_is_loaded_again_is_back(
    triton: House, full: str, impatient: None
) -> None:
    with triton.engine() as engine:
        model = engine.model(full)
        triton.unload(full)
        with pytest.raises(EngineUnavailable):
            engine.infer(model, batch(7))
        wait_until(lambda: not engine.is_ready(full))
        assert engine.model(full) == model
        triton.load(full)
        wait_until(lambda: engine.is_ready(full))
        assert answers(engine, model) == EXPECTED


def test_a_task_that_comes_later_is_found(triton: House) -> None:
    with triton.engine() as engine:
        with pytest.raises((UnknownTask, EngineUnavailable)):
            engine.model("newcomer")
        with triton.serving("newcomer"):
            wait_until(lambda: engine.is_ready("newcomer"))


def test_a_volume_begun_with_a_version_that_stays_is_answered_by_it_to_the_end(triton: House) -> None:
    with triton.serving("stays", module=toy.Slow()), triton.engine() as engine:
        first = engine.model("stays")

        def then(count: int) -> None:
            if count == 3:
                triton.add("stays", version="2", module=toy.Inverted())
                wait_until(lambda: engine.model("stays").version == "2")

        assert answers(engine, first, then) == EXPECTED
        second = engine.model("stays")
        assert second.sha256 != first.sha256
        assert answers(engine, second) == INVERTED
        assert answers(engine, first) == EXPECTED


def test_a_volume_whose_version_is_replaced_is_told_so(triton: House) -> None:
    with triton.serving("goes", module=toy.Slow()), triton.engine() as engine:
        first, came = engine.model("goes"), []

        def then(count: int) -> None:
            came.append(count)
            if count == 3:
                triton.add("goes", version="2", module=toy.Inverted(), versions=1)

        with pytest.raises(ModelReplaced):
            answers(engine, first, then)
        assert 3 <= len(came) < len(SHADES)
        assert engine.model("goes").version == "2"
        assert answers(engine, engine.model("goes")) == INVERTED


def test_other_bytes_under_the_same_version_are_noticed(triton: House) -> None:
    with triton.serving("same_name", module=toy.Slow()), triton.engine() as engine:
        first = engine.model("same_name")

        def then(count: int) -> None:
            # All batches have been answered, by whichever of the two.
            if count == len(SHADES):
                (triton.repository / "same_name" / "1" / "model.pt").unlink()
                (triton.repository / "same_name" / "1").rmdir()
                add_version(triton.repository, "same_name", module=toy.Inverted())
                triton.load("same_name")

        with pytest.raises(ModelReplaced):
            answers(engine, first, then)
        second = engine.model("same_name")
        assert (second.version, second.sha256 == first.sha256) == ("1", False)
        assert answers(engine, second) == INVERTED


# What is broken


def test_a_broken_model_is_not_ready_and_the_others_are(triton: House, slow: str) -> None:
    add_version(triton.repository, "broken")
    (triton.repository / "broken" / "1" / "model.pt").write_bytes(b"no model")
    with triton.engine() as engine:
        assert triton.try_to_load("broken").is_error
        wait_until(lambda: not engine.is_ready())
        assert engine.is_ready(slow)
        assert not engine.is_ready("broken")
        assert answers(engine, engine.model(slow)) == EXPECTED
        triton.remove("broken")
        wait_until(engine.is_ready)


def test_a_broken_new_version_leaves_the_old_one_in_its_place(triton: House) -> None:
    with triton.serving("careful", module=toy.Slow()), triton.engine() as engine:
        model = engine.model("careful")
        add_version(triton.repository, "careful", version="2")
        (triton.repository / "careful" / "2" / "model.pt").write_bytes(b"no model")
        assert triton.try_to_load("careful").is_error
        assert answers(engine, model) == EXPECTED
        assert engine.model("careful") == model
        assert engine.is_ready("careful")


@pytest.mark.parametrize(("old", "new"), [("contract", "remark"), ('sha256.1"', 'sha256.2"')])
def test_a_model_that_is_none_of_ours_or_breaks_the_contract_is_no_task(triton: House, old: str, new: str) -> None:
    add_version(triton.repository, "stranger")
    config = triton.repository / "stranger" / "config.pbtxt"
    config.write_text(config.read_text().replace(old, new))
    triton.load("stranger")
    try:
        with triton.engine() as engine:
            assert "stranger" not in [model.name for model in engine.models()]
            # A stranger is nobody's concern, a faulty model of ours is.
            assert all(("stranger" in server.broken) == (old != "contract") for server in servers(engine))
    finally:
        triton.remove("stranger")


def test_a_model_whose_process_died_is_found_out_and_taken_back_when_it_is_loaded_anew(
    own_triton: House, impatient: None
) -> None:
    with own_triton.engine() as engine:
        model = engine.model("slow")
        (stub,) = own_triton.process.stubs().values()
        os.kill(stub, signal.SIGKILL)
        with pytest.raises(EngineUnavailable):
            engine.infer(model, batch(10))
        assert not engine.is_ready()
        own_triton.unload("slow")
        own_triton.load("slow")
        wait_until(engine.is_ready)
        assert answers(engine, model) == EXPECTED


# What goes away in mid-volume


def test_a_server_that_is_killed_in_mid_volume_and_comes_back_costs_no_slice(own_triton: House, patient: None) -> None:
    with own_triton.engine(timeout_s=300) as engine:

        def then(count: int) -> None:
            if count in {4, 12}:
                own_triton.process.kill()
                own_triton.start()

        assert answers(engine, engine.model("slow"), then) == EXPECTED


def test_a_server_that_is_killed_and_stays_away_ends_the_volume_without_an_answer(
    own_triton: House, impatient: None
) -> None:
    with own_triton.engine() as engine:
        came: list[int] = []

        def then(count: int) -> None:
            came.append(count)
            if count == 4:
                own_triton.process.kill()

        with pytest.raises(EngineUnavailable, match="does not answer"):
            answers(engine, engine.model("slow"), then)
        assert len(came) < len(SHADES)
        assert not engine.is_ready()
        assert engine.model("slow").name == "slow"


def test_of_two_servers_the_other_one_takes_over_and_the_dead_one_is_taken_back(
    triton: House, slow: str, own_triton: House
) -> None:
    with engine_over([own_triton.process.address, triton.process.address]) as engine:
        wait_until(lambda: not any(server.is_away for server in servers(engine)))
        mortal, survivor = servers(engine)
        before = survivor.answered, mortal.answered
        assert answers(engine, engine.model("slow")) == EXPECTED
        assert survivor.answered > before[0]
        assert mortal.answered > before[1]

        def then(count: int) -> None:
            if count == 4:
                own_triton.process.kill()

        assert answers(engine, engine.model("slow"), then) == EXPECTED
        assert mortal.is_away
        assert engine.is_ready("slow")
        own_triton.start()
        wait_until(lambda: not mortal.is_away)
        before = survivor.answered, mortal.answered
        assert answers(engine, engine.model("slow")) == EXPECTED
        assert mortal.answered > before[1]


def test_a_server_that_hangs_is_left_out_until_it_wakes(own_triton: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "_ASK_S", 0.3)
    monkeypatch.setattr(server_module, "_HANGS_S", 1.0)
    monkeypatch.setattr(servers_module, "_PATIENCE_S", 1.0)
    with own_triton.engine() as engine:
        model = engine.model("slow")
        os.killpg(own_triton.process.pid, signal.SIGSTOP)
        try:
            with pytest.raises(EngineUnavailable):
                engine.infer(model, batch(10))
            assert not engine.is_ready()
        finally:
            os.killpg(own_triton.process.pid, signal.SIGCONT)
        wait_until(engine.is_ready)
        assert answers(engine, model) == EXPECTED


# Time, queues, batches


def test_a_volume_that_takes_longer_than_it_may_is_ended(triton: House, slow: str) -> None:
    with triton.engine(timeout_s=0.05) as engine, pytest.raises(DeadlineExceeded):
        engine.infer(engine.model(slow), batch(255))


def test_time_in_which_the_caller_is_busy_does_not_count(triton: House, slow: str) -> None:
    with triton.engine(timeout_s=10) as engine:
        pauses = iter([6, 6])
        assert answers(engine, engine.model(slow), lambda _: time.sleep(next(pauses, 0))) == EXPECTED


def test_a_long_wait_is_interrupted_by_what_check_raises(
    triton: House, slow: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def check() -> None:
        raise KeyError("cancelled")

    monkeypatch.setattr(engine_module, "_CHECK_EVERY_S", 0.01)
    with triton.engine() as engine:
        with pytest.raises(KeyError, match="cancelled"):
            list(engine.infer_all(engine.model(slow), [batch(255)] * 3, check=check))
        assert answers(engine, engine.model(slow)) == EXPECTED


def test_requests_of_several_callers_are_put_together(triton: House, slow: str) -> None:
    with triton.engine() as engine, ThreadPoolExecutor(4) as pool:
        model = engine.model(slow)
        before = triton.statistics(slow)
        found = list(pool.map(lambda shade: engine.infer(model, batch(shade, 1)), range(10, 42)))
        assert [(int(answer[0, 0].max()), int(answer[0, 1].max())) for answer in found] == [
            (shade, 255 - shade) for shade in range(10, 42)
        ]
        after = triton.statistics(slow)
        slices, runs = (int(after[name]) - int(before.get(name, 0)) for name in ("inference_count", "execution_count"))
        assert slices == 32
        assert runs < 16


def test_a_full_queue_is_waited_for(triton: House, full: str, failures: list[type]) -> None:
    with triton.engine() as engine:
        model = engine.model(full)
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(lambda _: answers(engine, model), range(4)))
        assert found == [EXPECTED] * 4
        assert ServerBusy in failures


def test_a_queue_that_stays_full_is_told(triton: House, full: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers_module, "_PATIENCE_S", 0.05)
    with triton.engine() as engine:
        model = engine.model(full)
        with ThreadPoolExecutor(8) as pool:
            asked = [pool.submit(engine.infer, model, batch(255)) for _ in range(8)]
            failures = [call.exception() for call in asked]
        said = {str(failure) for failure in failures if failure is not None}
        assert said == {"The inference server has more to do than it can take. Try again in a moment."}
        assert None in failures


def test_a_volume_alone_never_fills_the_queue(triton: House, full: str, failures: list[type]) -> None:
    with triton.engine() as engine:
        assert answers(engine, engine.model(full)) == EXPECTED
        assert failures == []


def test_large_slices_are_not_heaped_up(triton: House, slow: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_module, "_IN_FLIGHT_BYTES", 4 * 128 * 128)
    made: list[int] = []

    def large() -> Generator[Slices, None, None]:
        for place in range(6):
            made.append(place)
            yield np.full((4, 1, 128, 128), 5, np.uint8)

    with triton.engine() as engine:
        for place, probabilities in enumerate(engine.infer_all(engine.model(slow), large(), check=lambda: None)):
            assert (probabilities[:, 0] == 5).all()
            assert len(made) == place + 1


def test_more_slices_than_a_batch_takes_are_split(triton: House, slow: str) -> None:
    slices = np.random.default_rng(0).integers(0, 256, (11, 1, SIDE, SIDE), dtype=np.uint8)
    with triton.engine() as engine:
        assert np.array_equal(engine.infer(engine.model(slow), slices), np.concatenate([slices, 255 - slices], axis=1))


def test_a_call_that_is_our_own_fault_says_so(triton: House, slow: str) -> None:
    with triton.engine() as engine, pytest.raises(ValueError, match="Triton refuses"):
        engine.infer(engine.model(slow), np.zeros((1, 2, SIDE, SIDE), np.uint8))
