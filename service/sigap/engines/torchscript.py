"""The in-process engine: TorchScript models from a model repository, on a GPU if there is one, else on the CPU."""

from __future__ import annotations

import os
import re
import threading
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

# Read by OpenMP when torch loads it: a pool that spins between batches takes the core that decodes (5 x slower).
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import torch
from numpy.typing import NDArray

from sigap.core.contract import Model
from sigap.core.errors import EngineUnavailable, ModelError, SigapError, TooLarge, UnknownTask
from sigap.engines.engine import Engine
from sigap.engines.repository import parameter, read_repository, weights_path

_WARM_UP_SIDE = 512
# The CPU's allocator, and CUDA's below the interpreter, say it in words alone.
_NO_MEMORY = ("out of memory", "not enough memory", "can't allocate memory", "ALLOC_FAILED")


class TorchScriptEngine(Engine):
    """Every model of a repository, loaded once and warmed.

    The file is run as it is, frozen and laid out at export, with the threads it names: its answers equal Triton's.
    """

    name = "torchscript"

    def __init__(
        self, models: Sequence[Model], modules: Mapping[str, torch.jit.ScriptModule], device: torch.device
    ) -> None:
        self._models = tuple(models)
        self._modules = dict(modules)
        self._device = device
        self._lock = threading.Lock()
        self._is_open = True

    @classmethod
    def load(cls, folder: Path) -> TorchScriptEngine:
        """Load and warm every model of a repository.

        Raises:
            ModelError: the repository or one of its models cannot be used.
        """
        models = read_repository(folder)
        _set_threads({parameter(folder, model, "INTRA_OP_THREAD_COUNT", "") for model in models} - {""})
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        engine = cls(models, {model.name: _load_module(folder, model, device) for model in models}, device)
        engine._warm()
        return engine

    def models(self) -> tuple[Model, ...]:
        return self._models

    def model(self, task: str) -> Model:
        for model in self._models:
            if model.name == task:
                return model
        raise UnknownTask(f"There is no such task. There are: {', '.join(model.name for model in self._models)}.")

    def is_ready(self, task: str | None = None) -> bool:  # noqa: ARG002 - all were loaded, or none
        return self._is_open

    def infer(self, model: Model, slices: NDArray[np.uint8]) -> NDArray[np.uint8]:
        module = self._modules.get(model.name)
        if module is None or not self._is_open:
            raise EngineUnavailable("The engine has been closed. Try again in a moment.")
        # One batch at a time: the cores are shared, two at once would only slow each other down and double the memory.
        with self._lock, torch.inference_mode():
            try:
                batch = torch.from_numpy(np.ascontiguousarray(slices)).to(self._device)
                probabilities: NDArray[np.uint8] = module(batch).cpu().numpy()
            except (RuntimeError, MemoryError, torch.jit.Error) as error:
                raise _failed(model, slices, error) from error
        wanted = (len(slices), len(model.contract.labels), *slices.shape[2:])
        if probabilities.dtype != np.uint8 or probabilities.shape != wanted:
            raise ModelError(
                f"model {model.name!r} answered {probabilities.dtype} {probabilities.shape}, not uint8 {wanted}"
            )
        return probabilities

    def close(self) -> None:
        self._is_open = False
        self._modules.clear()

    def _warm(self) -> None:
        """Run each model twice: TorchScript optimises a graph in its first two runs, whatever the batch's size."""
        for model in self._models:
            shape = (1, model.contract.context_slices, _WARM_UP_SIDE, _WARM_UP_SIDE)
            for _ in range(2):
                self.infer(model, np.zeros(shape, np.uint8))


def _failed(model: Model, slices: NDArray[np.uint8], error: Exception) -> SigapError:
    """What torch raised, for a user: it would raise the same of the same slices again."""
    rows, columns = slices.shape[2:]
    is_said = any(words in str(error) for words in _NO_MEMORY)
    if is_said or isinstance(error, MemoryError | torch.OutOfMemoryError):
        return TooLarge(
            f"Slices of {rows:,} x {columns:,} pixels need more memory than the model can have. Send smaller ones."
        )
    return ModelError(f"model {model.name!r} cannot be run on slices of {rows} x {columns}")


def _load_module(folder: Path, model: Model, device: torch.device) -> torch.jit.ScriptModule:
    with warnings.catch_warnings():
        # Deprecated in torch 2.13 and still what Triton's backend serves; docs/adr names the way out.
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            module: Any = torch.jit.load(weights_path(folder, model), map_location=device)
        except (RuntimeError, ValueError) as error:
            raise ModelError(
                f"model {model.name!r}: model.pt is not a TorchScript file that this torch reads"
            ) from error
    # torch types a ScriptModule's forward as any module's.
    arguments = [argument.name for argument in module.forward.schema.arguments[1:]]
    if arguments != ["SLICES"]:
        raise ModelError(f"model {model.name!r}: forward takes {arguments}, not SLICES")
    served: torch.jit.ScriptModule = module.eval()
    return served


def _set_threads(counts: set[str]) -> None:
    """Threads are a property of the process: all models must agree, or one would change the other's last bit."""
    if len(counts) > 1:
        raise ModelError(f"the models name different INTRA_OP_THREAD_COUNTs: {', '.join(sorted(counts))}")
    for count in counts:
        if not re.fullmatch("[1-9][0-9]{0,3}", count):
            raise ModelError(f"INTRA_OP_THREAD_COUNT is {count!r}: it must be a number of threads")
        torch.set_num_threads(int(count))
