"""Figures as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from sigap_training.evaluation.intervals import Estimate


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table, each cell already text.

    >>> print(table(["a", "b"], [["1", "2"]]))
    | a | b |
    |---|---|
    | 1 | 2 |
    """
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(
        "|" + "|".join(cells) + "|" if cells[0] == "---" else f"| {' | '.join(cells)} |" for cells in lines
    )


def shown(estimate: Estimate | None, *, digits: int = 3) -> str:
    """A figure with its interval, or why there is none.

    >>> shown(Estimate(0.5, 0.25, 0.75, count=8, patients=4))
    '0.500 (0.250 to 0.750)'
    >>> shown(Estimate(0.5, reason="one patient"))
    '0.500 (one patient)'
    >>> shown(Estimate(None, reason="none to count"))
    '- (none to count)'
    """
    if estimate is None:
        return "-"
    if estimate.value is None:
        return f"- ({estimate.reason})"
    value = plain(estimate.value, digits)
    if estimate.low is None or estimate.high is None:
        return f"{value} ({estimate.reason})"
    interval = f"{plain(estimate.low, digits)} to {plain(estimate.high, digits)}"
    return f"{value} ({interval}{'; ' + estimate.reason if estimate.reason else ''})"


def plain(value: float | None, digits: int = 3) -> str:
    """A number, or a dash."""
    return "-" if value is None else f"{value:.{digits}f}"
