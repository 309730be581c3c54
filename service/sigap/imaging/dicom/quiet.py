"""Real files break rules; pydicom says so in warnings and logs that quote the file, which may be patient data."""

from __future__ import annotations

import logging
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import gdcm

_lock = threading.Lock()
_state: dict[str, Any] = {"depth": 0}


@contextmanager
def quiet() -> Iterator[None]:
    """Silence pydicom and GDCM in this block.

    Warning filters belong to the whole process: the first thread that enters sets them, the last one restores them.
    """
    with _lock:
        if _state["depth"] == 0:
            _silence()
        _state["depth"] += 1
    try:
        yield
    finally:
        with _lock:
            _state["depth"] -= 1
            if _state["depth"] == 0:
                _restore()


def _silence() -> None:
    logger = logging.getLogger("pydicom")
    _state["disabled"] = logger.disabled
    logger.disabled = True
    _state["filters"] = warnings.catch_warnings()
    _state["filters"].__enter__()
    warnings.filterwarnings("ignore", module="pydicom")
    gdcm.Trace.WarningOff()
    gdcm.Trace.ErrorOff()


def _restore() -> None:
    _state.pop("filters").__exit__(None, None, None)
    logging.getLogger("pydicom").disabled = _state["disabled"]
