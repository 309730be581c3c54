"""Gateways as processes of their own, to be killed, stopped and started again.

`python crashing.py` is their nursery: it has imported everything, and forks a gateway for each line that it reads. So
one starts in milliseconds, where a fresh interpreter would need seconds. Tests reach it through `nursery`.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import uvicorn
from numpy.typing import NDArray

from phantoms.results import liver_model
from sigap.api import logs
from sigap.api.app import create_app
from sigap.api.gateway import Gateway
from sigap.core.contract import Model, Step
from sigap.core.errors import UnknownTask
from sigap.engines.engine import Engine
from sigap.jobs import heartbeat
from sigap.settings import Settings

BATCH = 4
STEPS = (("largest_component", "liver"), ("fill_holes", "liver"))
# Long enough that a busy machine makes nobody look dead.
BEAT_S, SILENCE_S = 0.2, 3.0


@dataclass(frozen=True)
class Part:
    """What a gateway of a test does.

    Attributes:
        data: its data folder.
        database_url: of PostgreSQL; None: SQLite.
        kill_at: `point:n`, the named point at which it kills itself, the n-th time it comes there.
        hold_at: the same, where it waits until the file `go` lies beside the data folder; `held` appears there first.
        is_ready: whether its engine is; without one a gateway answers, but runs nothing.
        batch_s: what a batch takes.
        queue_length: as in the settings.
    """

    data: str
    database_url: str | None = None
    kill_at: str = ""
    hold_at: str = ""
    is_ready: bool = True
    batch_s: float = 0.0
    queue_length: int = 8

    def beside(self, name: str) -> Path:
        return Path(self.data).parent / name


class Shades(Engine):
    """An engine without torch: two tasks, one of them an emergency, for which brightness is probability."""

    name = "shades"

    def __init__(self, part: Part) -> None:
        model = liver_model()
        routine = replace(model.contract, postprocess=tuple(Step(name, label) for name, label in STEPS))
        liver = replace(model, max_batch_size=BATCH, contract=routine)
        urgent = replace(routine, priority="emergency")
        self._models = {"liver": liver, "hemorrhage": replace(liver, name="hemorrhage", contract=urgent)}
        self._part = part

    def models(self) -> tuple[Model, ...]:
        return tuple(self._models.values())

    def model(self, task: str) -> Model:
        if task not in self._models:
            raise UnknownTask("There is no such task.")
        return self._models[task]

    def is_ready(self, task: str | None = None) -> bool:
        return self._part.is_ready

    def infer(self, model: Model, slices: NDArray[np.uint8]) -> NDArray[np.uint8]:
        time.sleep(self._part.batch_s)
        shades = slices[:, 0].astype(np.int16)
        channels = [(shades - 60) * 6, (shades - 170) * 8]
        return np.stack(channels, axis=1).clip(0, 255).astype(np.uint8)

    def close(self) -> None:
        """Nothing to give back."""


def _passed(part: Part, is_stopping: Callable[[], bool]) -> Callable[[str], None]:
    counts: Counter[str] = Counter()

    def passed(point: str) -> None:
        counts[point] += 1
        here = f"{point}:{counts[point]}"
        if here == part.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        if here == part.hold_at:
            part.beside("held").touch()
            while not (part.beside("go").exists() or is_stopping()):
                time.sleep(0.005)

    return passed


def _serve(part: Part, listener: socket.socket) -> None:
    """As `sigap serve` does, with another engine."""
    heartbeat.BEAT_S, heartbeat.SILENCE_S = BEAT_S, SILENCE_S
    logs.configure("warning")
    settings = Settings(data=Path(part.data), database_url=part.database_url, queue_length=part.queue_length)
    gateways: list[Gateway] = []

    def is_stopping() -> bool:
        return gateways[0].worker._means.is_stopping.is_set()

    app = create_app(settings, Shades(part), passed=_passed(part, is_stopping))
    gateways.append(app.state.gateway)
    config = uvicorn.Config(app, access_log=False, log_config=None, ws="none", lifespan="on")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with suppress(KeyboardInterrupt):
        uvicorn.Server(config).run(sockets=[listener])


def _bear(part: Part) -> dict[str, Any]:
    """Fork a gateway. It listens from now on, so that whoever asks it waits until it has started."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                log = os.open(part.beside(f"gateway-{os.getpid()}.log"), os.O_WRONLY | os.O_CREAT, 0o600)
                os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
                os.dup2(log, 1)
                os.dup2(log, 2)
                _serve(part, listener)
                status = 0
            finally:
                # The nursery's own end is not the gateway's.
                sys.stderr.flush()
                os._exit(status)
    return {"pid": pid, "port": port}


def main() -> None:
    """Read what is wanted, a JSON document a line; at the end of all lines end all gateways."""
    # Ctrl-C is meant for the tests, which then close the pipe.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    pids: set[int] = set()
    while line := sys.stdin.readline():
        question = json.loads(line)
        if "wait" in question:
            answer = {"status": os.waitstatus_to_exitcode(os.waitpid(question["wait"], 0)[1])}
            pids.discard(question["wait"])
        else:
            answer = _bear(Part(**question))
            pids.add(answer["pid"])
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()
    for pid in pids:
        os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    main()
