"""TorchScript files: made once, at export, and loaded as they are."""

from __future__ import annotations

import io
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn


def freeze(served: nn.Module) -> bytes:
    """The TorchScript file: scripted, channels last, batch norms folded into convolutions. Nobody freezes it again."""
    with torchscript_is_deprecated():
        module: Any = served
        frozen = torch.jit.freeze(torch.jit.script(module.to(memory_format=torch.channels_last).eval()))
        buffer = io.BytesIO()
        torch.jit.save(frozen, buffer)
    return _without_source_places(buffer)


def _without_source_places(archive: io.BytesIO) -> bytes:
    """The archive without its `.debug_pkl` entries: they name files and folders of the machine that exported it."""
    kept = io.BytesIO()
    with zipfile.ZipFile(archive) as full, zipfile.ZipFile(kept, "w", zipfile.ZIP_STORED) as lean:
        for entry in full.infolist():
            if not entry.filename.endswith(".debug_pkl"):
                # A fresh entry: the padding that torch writes into the old one's extra field would be stale.
                lean.writestr(zipfile.ZipInfo(entry.filename), full.read(entry))
    return kept.getvalue()


def load_frozen(model: bytes) -> torch.jit.ScriptModule:
    """A TorchScript module from its file's bytes, on the CPU."""
    with torchscript_is_deprecated():
        loaded: torch.jit.ScriptModule = torch.jit.load(io.BytesIO(model), map_location="cpu")
    return loaded


@contextmanager
def torchscript_is_deprecated() -> Iterator[None]:
    """Silence the one warning that torch 2.13 gives for what Triton still serves."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r".*torch\.jit.*", category=DeprecationWarning)
        yield
