"""What the parts of the job store stand on."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from sigap.core.errors import DatabaseUnavailable
from sigap.jobs.database import Database
from sigap.jobs.folder import DataFolder


@dataclass(frozen=True)
class Storage:
    """A database for what is known of jobs, a folder for their files.

    Attributes:
        quota_bytes: of all files together.
        clock: seconds since 1970.
    """

    database: Database
    data: DataFolder
    quota_bytes: int
    clock: Callable[[], float] = time.time

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Claim what only one gateway may have, and bring the tables to this version's form.

        Raises:
            OSError: the folder cannot be used; `BlockingIOError`: another gateway uses it and its SQLite database.
            DatabaseUnavailable: the database cannot be reached, a newer version has written it, or the
                folder is another's.
        """
        self.data.prepare()
        with ExitStack() as stack:
            if not self.database.is_shared:
                stack.enter_context(self.data.claimed())
            self.database.open()
            stack.callback(self.database.close)
            if not self.data.is_marked(self.database.identity()):
                raise DatabaseUnavailable(
                    "The data folder holds another database's studies, which this one would take for rubbish. Name the "
                    "database that it was used with, or an empty folder.",
                    slug="other-database",
                )
            yield

    @contextmanager
    def visited(self) -> Iterator[bool]:
        """Look in beside whoever runs here: nothing is claimed, made or brought forward.

        Yields:
            Whether there is anything yet.

        Raises:
            DatabaseUnavailable: the database cannot be reached, or another version has written it.
        """
        try:
            yield self.database.is_made()
        finally:
            self.database.close()


def storage(data: Path, database_url: str | None, *, quota_bytes: int) -> Storage:
    """The storage that settings name; nothing is opened yet."""
    return Storage(Database(data, database_url), DataFolder(data), quota_bytes)
