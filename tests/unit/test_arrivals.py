"""When a study is complete: by quiet, or by the orderly end of its associations."""

from __future__ import annotations

import pytest

from sigap.dicomnet.arrivals import Arrivals


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def arrivals(clock: Clock, *, ends_with_association: bool) -> Arrivals:
    return Arrivals(30.0, ends_with_association=ends_with_association, monotonic=clock)


@pytest.mark.parametrize("ends_with_association", [False, True])
def test_nothing_for_a_while_completes_a_study(clock: Clock, ends_with_association: bool) -> None:
    here = arrivals(clock, ends_with_association=ends_with_association)
    here.note("one", "study")
    clock.now += 29
    here.note("one", "study")
    clock.now += 29
    assert not here.is_complete("study")
    clock.now += 1
    assert here.is_complete("study")


@pytest.mark.parametrize(("ends_with_association", "is_complete"), [(False, False), (True, True)])
def test_the_end_of_an_association_does_so_only_where_that_is_said(
    clock: Clock, ends_with_association: bool, is_complete: bool
) -> None:
    here = arrivals(clock, ends_with_association=ends_with_association)
    here.note("one", "study")
    here.end("one", is_orderly=True)
    assert here.is_complete("study") is is_complete


def test_an_aborted_association_ends_nothing(clock: Clock) -> None:
    here = arrivals(clock, ends_with_association=True)
    here.note("one", "study")
    here.end("one", is_orderly=False)
    assert not here.is_complete("study")
    clock.now += 30
    assert here.is_complete("study")


def test_another_association_that_brings_the_same_study_is_awaited(clock: Clock) -> None:
    here = arrivals(clock, ends_with_association=True)
    here.note("one", "study")
    here.note("two", "study")
    here.end("one", is_orderly=True)
    assert not here.is_complete("study")
    here.end("two", is_orderly=True)
    assert here.is_complete("study")
    here.note("three", "study")
    assert not here.is_complete("study")


def test_after_a_restart_everything_has_just_come(clock: Clock) -> None:
    here = arrivals(clock, ends_with_association=True)
    assert not here.is_complete("study")
    clock.now += 30
    assert here.is_complete("study")
