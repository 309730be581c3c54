"""The engine that the settings name. Only its own packages are imported: a gateway beside Triton has no torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from sigap.core.errors import EngineMissing
from sigap.engines.engine import Engine


def open_engine(name: str, *, models: Path, servers: Sequence[str], timeout_s: float, wait_s: float) -> Engine:
    """Make an engine.

    Args:
        name: `torchscript` or `triton`.
        models: torchscript: the model repository.
        servers: triton: host:port of each server's gRPC service.
        timeout_s: triton: how long one volume's inference may take.
        wait_s: triton: how long to wait for the first server that answers; one that comes later is found too.

    Raises:
        EngineMissing: the engine's packages are not installed.
        ModelError: the model repository or one of its models cannot be used.
    """
    if name == "triton":
        with _told_what_is_missing(name, extra="triton"):
            from sigap.engines.triton import TritonEngine  # noqa: PLC0415 - imports gRPC
        engine = TritonEngine(servers, timeout_s=timeout_s)
        engine.wait_until_known(wait_s)
        return engine
    with _told_what_is_missing(name, extra="torch"):
        from sigap.engines.torchscript import TorchScriptEngine  # noqa: PLC0415 - imports torch
    return TorchScriptEngine.load(models)


@contextmanager
def _told_what_is_missing(engine: str, *, extra: str) -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as error:
        raise EngineMissing(
            f"SIGAP_ENGINE={engine} needs {error.name}, which is not installed: pip install 'sigap[{extra}]'."
        ) from error
