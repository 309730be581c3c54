"""Where a figure comes from: its command, model, data and machine; no host names, no absolute paths."""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sigap_training.model_folder import ModelFolder

TIMED_SIDE = 512
_TIMED_SLICES = 8


@dataclass(frozen=True)
class Machine:
    """What timings depend on."""

    cpus: int
    threads: int
    torch: str

    @classmethod
    def here(cls) -> Machine:
        return cls(os.cpu_count() or 1, torch.get_num_threads(), str(torch.__version__))

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class ModelFacts:
    """Which model was measured, how large it is and how long it takes.

    Attributes:
        label: how tables call it.
        folder: as given, relative.
        name, version, sha256: its own.
        parameters: weights as served.
        ms_a_slice: of 512 x 512, in a batch of eight; None: not timed.
    """

    label: str
    folder: str
    name: str
    version: str
    sha256: str
    parameters: int
    ms_a_slice: float | None

    @classmethod
    def of(cls, model: ModelFolder, *, label: str, folder: Path, timed: bool) -> ModelFacts:
        return cls(
            label=label,
            folder=relative(folder),
            name=model.name,
            version=model.version,
            sha256=model.sha256,
            parameters=model.parameter_count,
            ms_a_slice=time_slices(model) if timed else None,
        )

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def time_slices(model: ModelFolder, *, rounds: int = 3) -> float:
    """Milliseconds that a slice of 512 x 512 takes in a batch of eight: the fastest round, after warming up."""
    shape = (_TIMED_SLICES, model.contract.context_slices, TIMED_SIDE, TIMED_SIDE)
    batch = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    model.infer(batch)
    spent = []
    for _ in range(rounds):
        started = time.perf_counter()
        model.infer(batch)
        spent.append(time.perf_counter() - started)
    return 1000 * min(spent) / _TIMED_SLICES


def relative(path: Path) -> str:
    """A path as seen from the working folder."""
    return Path(os.path.relpath(path)).as_posix()


def command_line(name: str, parts: Sequence[str | Path]) -> str:
    """A command as one would type it, its paths relative to the working folder."""
    return shlex.join([name, *(relative(part) if isinstance(part, Path) else part for part in parts)])
