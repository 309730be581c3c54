"""The thread that decides about received studies when they are complete, and hands them over until they are taken."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import structlog

from sigap.core.errors import SigapError
from sigap.core.study import Limits
from sigap.dicomnet.arrivals import Arrivals
from sigap.dicomnet.configuration import Listener, Rule
from sigap.dicomnet.handover import GatewayRefused
from sigap.dicomnet.rules import Chosen, decide, files_of, read_series
from sigap.dicomnet.spool import Handover, Spool, SpooledStudy, StudyState, with_handover

LOOK_AGAIN_S = 1.0
_LONGEST_PAUSE_S = 60.0
_logger = structlog.stdlib.get_logger("sigap.dicomnet")


class Gateway(Protocol):
    """Whoever makes jobs of series, as `handover.HandoverClient` does."""

    def hand_over(self, order: Handover, paths: Sequence[Path]) -> str: ...


class Sorter:
    """Looks after the spool.

    Args:
        spool: what was received.
        arrivals: what is still arriving.
        listener: when a study is complete, and how long it is kept.
        rules: which series goes to which task.
        gateway: takes them.
        limits: caps on what a header may announce.
        clock: seconds since 1970.
    """

    def __init__(
        self,
        spool: Spool,
        arrivals: Arrivals,
        listener: Listener,
        rules: Sequence[Rule],
        *,
        gateway: Gateway,
        limits: Limits,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._spool = spool
        self._arrivals = arrivals
        self._keep_s = listener.keep_hours * 3600
        self._rules = rules
        self._gateway = gateway
        self._limits = limits
        self._clock = clock
        self._pauses: dict[str, tuple[float, float]] = {}
        self._is_stopping = threading.Event()
        self._thread = threading.Thread(target=self._work, name="sigap-sorter", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self, timeout_s: float) -> None:
        self._is_stopping.set()
        self._thread.join(timeout_s)

    def _work(self) -> None:
        while not self._is_stopping.wait(LOOK_AGAIN_S):
            self.look()

    def look(self) -> None:
        """Go through all studies once."""
        for study in self._spool.studies():
            if self._is_stopping.is_set():
                return
            try:
                self._look_at(study)
            except Exception:
                # A study that cannot be dealt with must not keep the others; it stays where it is.
                _logger.exception("received study")

    def _look_at(self, study: SpooledStudy) -> None:
        state = study.state()
        if state.seen != study.digest():
            if not self._arrivals.is_complete(study.id):
                return
            state = self._decide(study)
        for order in state.handovers:
            if order.is_due and not state.is_dismissed:
                self._hand_over(study, order)
        self._clear(study)

    def _decide(self, study: SpooledStudy) -> StudyState:
        seen = study.digest()
        files = study.files()
        series = read_series(files.values(), self._limits)
        with study.changing() as held:
            decision = decide(series, self._rules, held[0].choices)
            orders = [
                _order(chosen, files_of(series, chosen.series_uid, files, self._limits)) for chosen in decision.chosen
            ]
            # What was handed over already, file for file, is not handed over again.
            known = {order.key: order for order in held[0].handovers}
            handovers = tuple(known.get(order.key, order) for order in orders)
            # Whoever wanted nothing of the study has not seen what came later.
            is_dismissed = held[0].is_dismissed and held[0].seen in ("", seen)
            held[0] = StudyState(seen, handovers, decision.undecided, held[0].choices, is_dismissed)
        _logger.info(
            "study received",
            files=len(files),
            series=len(series),
            tasks=[chosen.task for chosen in decision.chosen],
            undecided=len(decision.undecided),
        )
        return held[0]

    def _hand_over(self, study: SpooledStudy, order: Handover) -> None:
        not_before, pause_s = self._pauses.get(order.key, (0.0, 1.0))
        if self._clock() < not_before:
            return
        files = study.files()
        try:
            done = replace(order, job=self._gateway.hand_over(order, [files[name] for name in order.files]))
        except GatewayRefused as error:
            done = replace(order, problem=error.message)
            _logger.warning("handover refused", task=order.task, problem=error.slug)
        except SigapError as error:
            self._pauses[order.key] = (self._clock() + pause_s, min(_LONGEST_PAUSE_S, 2 * pause_s))
            _logger.warning("handover postponed", task=order.task, problem=error.slug)
            return
        self._pauses.pop(order.key, None)
        with study.changing() as held:
            held[0] = with_handover(held[0], done)
        if done.job is not None:
            _logger.info("handed over", task=order.task, job=done.job, files=len(order.files))

    def _clear(self, study: SpooledStudy) -> None:
        """Forget what the gateway has, or what nobody wants, once no late image is awaited any more."""
        state = study.state()
        is_done = state.is_dismissed or (
            not state.needs_person and bool(state.handovers) and all(one.job for one in state.handovers)
        )
        is_old = self._clock() - study.newest() >= self._keep_s
        if is_done and is_old and self._arrivals.is_complete(study.id) and self._spool.forget(study, state.seen):
            self._arrivals.forget(study.id)


def _order(chosen: Chosen, files: tuple[str, ...]) -> Handover:
    # Of the same files, task and destinations it is the same request, whenever it is made.
    parts = "\0".join([chosen.task, *chosen.send_to, chosen.priority or "", *files])
    key = hashlib.sha256(parts.encode()).hexdigest()
    problem = None if files else "The study has no such series any more."
    return Handover(chosen.task, chosen.series_uid, key, files, chosen.send_to, chosen.priority, problem=problem)
