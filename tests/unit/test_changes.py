"""The bell that wakes those who wait for a job."""

from __future__ import annotations

import asyncio
import threading

import pytest

from sigap.jobs.changes import Changes

PATIENCE_S = 10


async def hear(bell: asyncio.Event) -> None:
    await asyncio.wait_for(bell.wait(), PATIENCE_S)


def test_another_thread_wakes_every_waiter_of_a_job_and_no_other():
    async def wait() -> None:
        changes = Changes()
        with changes.watching("a") as first, changes.watching("a") as second, changes.watching("b") as other:
            teller = threading.Thread(target=changes.tell, args=("a",))
            teller.start()
            await asyncio.gather(hear(first), hear(second))
            teller.join()
            assert not other.is_set()

    asyncio.run(wait())


def test_a_bell_that_was_cleared_rings_again():
    async def wait() -> None:
        changes = Changes()
        with changes.watching("a") as bell:
            for _ in range(2):
                await asyncio.to_thread(changes.tell, "a")
                await hear(bell)
                bell.clear()
            await asyncio.sleep(0)
            assert not bell.is_set()

    asyncio.run(wait())


def test_waiters_are_counted_for_each_job():
    async def count() -> None:
        changes = Changes()
        with changes.watching("a"), changes.watching("b"):
            with changes.watching("a"):
                assert (changes.watchers("a"), changes.watchers("b"), changes.watchers("c")) == (2, 1, 0)
            assert changes.watchers("a") == 1
        assert (changes.watchers("a"), changes.watchers("b")) == (0, 0)

    asyncio.run(count())


def test_whoever_left_is_not_told_and_not_counted():
    async def leave() -> None:
        changes = Changes()
        with pytest.raises(TimeoutError), changes.watching("a") as bell:
            raise TimeoutError
        assert changes.watchers("a") == 0
        changes.tell("a")
        await asyncio.sleep(0)
        assert not bell.is_set()

    asyncio.run(leave())


def test_nobody_left_hears_nothing():
    changes = Changes()
    changes.tell("a")
    assert changes.watchers("a") == 0


def test_a_loop_that_is_gone_keeps_nobody_else_from_hearing():
    changes = Changes()
    watching = changes.watching("a")

    async def enter() -> None:
        watching.__enter__()

    async def wait() -> None:
        with changes.watching("a") as bell:
            changes.tell("a")
            await hear(bell)

    asyncio.run(enter())
    asyncio.run(wait())
    watching.__exit__(None, None, None)
    assert changes.watchers("a") == 0
