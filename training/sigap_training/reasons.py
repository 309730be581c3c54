"""What is wrong with a file that pydantic refuses, in one line."""

from __future__ import annotations

from pydantic import ValidationError


def reasons(error: ValidationError, most: int = 3) -> str:
    """Each entry with what is wrong about it: `cases.0.split: Input should be 'train', 'valid' or 'test'`.

    The first `most` of them, joined by "; ", and how many more there are. An error of the whole has no entry before it.
    """
    found = error.errors(include_url=False, include_context=False, include_input=False)
    told = [": ".join(filter(None, (".".join(map(str, one["loc"])), _plain(one["msg"])))) for one in found[:most]]
    rest = len(found) - len(told)
    return "; ".join([*told, f"and {rest} more"] if rest > 0 else told)


def _plain(message: str) -> str:
    """Without pydantic's prefix to what a validator of our own says."""
    return message.removeprefix("Value error, ").removeprefix("Assertion failed, ")
