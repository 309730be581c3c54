"""Who asks for jobs, as the store sees it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Client:
    """Whoever sends studies and asks for jobs.

    A job belongs to a name, not to one key of that name: a client whose key is replaced keeps its jobs.

    Attributes:
        name: of its key; None: it was asked for none, and its jobs belong to nobody.
        sees_all: whether others' jobs are there for it too.
    """

    name: str | None
    sees_all: bool = False


ANYBODY = Client(None, sees_all=True)
"""Where no key is asked for: the command line, and a server that is open."""
