"""What the values of a labelmap mean, in words."""

from __future__ import annotations

from sigap.core.contract import Contract, Label


def meaning(contract: Contract, label: Label) -> str:
    """What a label's own value covers: the innermost label stands, so a liver's value is the `liver outside tumour`."""
    inside = [other.name for other in contract.labels if other.parent == label.name]
    return f"{label.name} outside {' and '.join(inside)}" if inside else label.name


def legend(contract: Contract) -> str:
    """All values, e.g. `0 background, 1 liver outside tumour, 2 tumour`."""
    values = (f"{value} {meaning(contract, label)}" for value, label in enumerate(contract.labels, 1))
    return ", ".join(("0 background", *values))
