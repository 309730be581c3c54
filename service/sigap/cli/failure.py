"""What went wrong with one input, in words that name no path."""

from __future__ import annotations

import traceback
from dataclasses import dataclass

from sigap.core.errors import SigapError


@dataclass(frozen=True)
class Failure:
    """An error as the commands say it.

    Attributes:
        problem: its slug.
        message: a sentence.
    """

    problem: str
    message: str

    @classmethod
    def of(cls, error: Exception) -> Failure:
        """Name an error. One that nobody foresaw is shown whole on stderr, for whoever will mend it."""
        if isinstance(error, SigapError):
            return cls(error.slug, error.message)
        if isinstance(error, MemoryError):
            return cls("internal", "The study needs more memory than this machine has.")
        if isinstance(error, OSError):
            said = error.strerror or type(error).__name__
            return cls("internal", f"A file could not be read or written: {said}.")
        traceback.print_exception(error)
        return cls("internal", f"Something went wrong inside Sigap ({type(error).__name__}).")
