"""In CI everything must run: `-p no_skips` turns a skip into a failure that names its reason.

The sample studies are no part of the repository: where they are not beside it, tests of them are deselected, and the
report says so.
"""

from __future__ import annotations

import os
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

_DESELECTED = pytest.StashKey[int]()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    samples = Path(os.environ.get("SIGAP_SAMPLES", config.rootpath.parent / "shared" / "samples"))
    needing = [] if samples.is_dir() else [item for item in items if "samples" in getattr(item, "fixturenames", ())]
    config.stash[_DESELECTED] = len(needing)
    if needing:
        config.hook.pytest_deselected(items=needing)
        items[:] = [item for item in items if item not in needing]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if count := config.stash.get(_DESELECTED, 0):
        terminalreporter.write_line(
            f"{count} tests of the sample studies were left out: they are not here (SIGAP_SAMPLES)."
        )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, Any]:
    return _fail_if_skipped((yield), item.nodeid)


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Generator[None, Any, Any]:
    return _fail_if_skipped((yield), collector.nodeid)


def _fail_if_skipped(report: Any, nodeid: str) -> Any:
    if report.outcome == "skipped" and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"{nodeid} was skipped, and in CI a skip is a failure.\n{reason}"
    return report
