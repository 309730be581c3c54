"""Sharing memory out: who gets how much, and who waits."""

from __future__ import annotations

import threading
from queue import Empty, Queue

import pytest

from serving import wait_until
from sigap.jobs.memory import Memory, Share

PATIENCE_S = 10


def test_the_first_share_is_all_there_is():
    with Memory(100).share() as share:
        assert share.bytes == 100
        assert share.is_all


def test_the_next_share_is_what_a_settled_one_leaves():
    memory = Memory(100)
    with memory.share() as first:
        first.settle(30)
        assert first.bytes == 30
        with memory.share() as second:
            assert second.bytes == 70
            assert not second.is_all
            second.settle(25)
            with memory.share() as third:
                assert third.bytes == 45


def test_all_is_free_again_once_every_share_is_given_back():
    memory = Memory(100)
    for size in (40, 100, 0):
        with memory.share() as first:
            first.settle(size)
            with memory.share() as second:
                second.settle(10)
        assert first.bytes == second.bytes == 0
    with memory.share() as last:
        assert last.is_all


def test_shares_may_be_given_back_in_any_order():
    memory = Memory(100)
    first = memory.share()
    first.settle(30)
    second = memory.share()
    second.settle(50)
    first.__exit__(None, None, None)
    with memory.share() as third:
        assert third.bytes == 50
    second.__exit__(None, None, None)
    with memory.share() as fourth:
        assert fourth.is_all


def test_a_share_is_settled_once():
    memory = Memory(100)
    with memory.share() as share:
        share.settle(30)
        share.settle(80)
        share.settle(0)
        assert share.bytes == 30
        with memory.share() as other:
            assert other.bytes == 70


def test_nobody_keeps_more_than_was_given():
    memory = Memory(100)
    with memory.share() as first:
        first.settle(60)
        with memory.share() as second:
            second.settle(1000)
            assert second.bytes == 40
            with memory.share() as third:
                assert third.bytes == 0
    with memory.share() as last:
        assert last.bytes == 100


@pytest.mark.parametrize("is_settled", [False, True])
def test_an_error_gives_the_share_back(*, is_settled: bool):
    memory = Memory(100)

    def fail() -> None:
        with memory.share() as share:
            if is_settled:
                share.settle(40)
            raise OSError("the study is broken")

    with pytest.raises(OSError, match="broken"):
        fail()
    with memory.share() as next_share:
        assert next_share.is_all


@pytest.mark.parametrize(("settled", "left"), [(30, 70), (None, 100)])
def test_nobody_begins_while_one_share_is_undecided(settled: int | None, left: int):
    memory = Memory(100)
    got: Queue[Share] = Queue()
    first = memory.share()
    other = threading.Thread(target=lambda: got.put(memory.share()), daemon=True)
    other.start()
    with pytest.raises(Empty):
        got.get(timeout=0.05)
    if settled is None:
        first.__exit__(None, None, None)
    else:
        first.settle(settled)
    assert got.get(timeout=PATIENCE_S).bytes == left
    other.join()


def test_a_run_goes_before_answers_that_wait_longer():
    memory = Memory(100)
    deciding = memory.share()
    order: list[str] = []

    def take(name: str, *, goes_first: bool) -> None:
        with memory.share(goes_first=goes_first):
            order.append(name)

    answers = [threading.Thread(target=take, args=(f"answer {n}",), kwargs={"goes_first": False}) for n in range(3)]
    run = threading.Thread(target=take, args=("run",), kwargs={"goes_first": True})
    for thread in answers:
        thread.start()
    run.start()
    wait_until(lambda: memory._first_in_line == 1)
    deciding.settle(0)
    for thread in (*answers, run):
        thread.join()
    assert order[0] == "run"
    assert len(order) == 4
