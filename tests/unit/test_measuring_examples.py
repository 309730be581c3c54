from __future__ import annotations

import doctest
import importlib
import pkgutil
from types import ModuleType

import pytest

from sigap.imaging import measure, postprocess


def modules() -> list[ModuleType]:
    return [
        importlib.import_module(f"{package.__name__}.{found.name}")
        for package in (measure, postprocess)
        for found in pkgutil.iter_modules(package.__path__)
    ]


@pytest.mark.parametrize("module", modules(), ids=lambda module: module.__name__.rpartition("imaging.")[2])
def test_examples_in_docstrings_are_true(module: ModuleType):
    assert doctest.testmod(module).failed == 0


def test_there_are_examples():
    assert sum(doctest.testmod(module).attempted for module in modules()) >= 10
