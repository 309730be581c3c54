"""The database behind the job store: SQLite in the data folder, or PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, select, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import (
    ArgumentError,
    DBAPIError,
    IntegrityError,
    InterfaceError,
    InternalError,
    OperationalError,
)
from sqlalchemy.exc import (
    TimeoutError as PoolTimeoutError,
)

from sigap.core.errors import DatabaseUnavailable, StorageFull
from sigap.jobs.migrations import is_current, migrate
from sigap.jobs.tables import STORE

_FILE = "sigap.sqlite3"
# IntegrityError: this gateway was taken for dead, and its row, which others name, is gone until it joins again.
_AWAY = (OperationalError, InterfaceError, InternalError, IntegrityError)
_WAIT_S = 10
# A server whose machine has gone without a word is found out in seconds, not after the two hours of TCP's own default.
_PATIENCE = {
    # Text comes as text from a database made without an encoding (SQL_ASCII) too: psycopg gives bytes otherwise.
    "client_encoding": "utf8",
    "connect_timeout": _WAIT_S // 2,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": _WAIT_S * 1000,
    # A gateway that is frozen within a transaction keeps its locks: nobody could take over from it, or accept a study.
    "options": f"-c idle_in_transaction_session_timeout={_WAIT_S * 500}",
}
# Any number will do, as long as every gateway takes the same: the lock of the store's own bookkeeping.
_LOCK = 0x516A9


class Database:
    """Connections, transactions and their errors; knows no job.

    Args:
        data: the data folder.
        url: of PostgreSQL; None: SQLite in the data folder.

    Raises:
        DatabaseUnavailable: the URL is none, or the driver is not installed.
    """

    def __init__(self, data: Path, url: str | None = None) -> None:
        self.is_shared = url is not None
        self._file = data / _FILE
        self._engine = _postgresql(url) if url is not None else _sqlite(self._file)

    def open(self) -> None:
        """Bring the tables to this version's form.

        Raises:
            DatabaseTooNew: a newer version of Sigap has written them; nothing was changed.
            DatabaseUnavailable: it cannot be reached.
        """
        if not self.is_shared:
            # Its journals take after it.
            self._file.touch(mode=0o600)
        with mapped_errors():
            migrate(self._engine)

    def is_made(self) -> bool:
        """Whether there are tables, and in this version's form. Makes and changes nothing.

        Raises:
            DatabaseUnavailable: it cannot be reached, or another version has written it: an older one may be running,
                so that its tables are not brought forward beneath it.
        """
        if not self.is_shared and not self._is_there():
            return False
        with mapped_errors():
            return is_current(self._engine)

    def _is_there(self) -> bool:
        try:
            return self._file.exists()
        except OSError as error:
            raise DatabaseUnavailable(f"The database in SIGAP_DATA cannot be read: {error.strerror}.") from error

    def identity(self) -> str:
        """What its data folder is marked with."""
        with self.transaction() as connection:
            return str(connection.execute(select(STORE.c.id)).scalar_one())

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Everything in the block or nothing.

        Raises:
            DatabaseUnavailable: it cannot be reached, or has gone.
            StorageFull: there is no room to write.
        """
        with mapped_errors(), self._engine.begin() as connection:
            yield connection

    def lock(self, connection: Connection) -> None:
        """Let nobody else count places or bytes until the transaction ends. SQLite's own lock does so already."""
        if self.is_shared:
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})

    def close(self) -> None:
        self._engine.dispose()


@contextmanager
def mapped_errors() -> Iterator[None]:
    """Map what SQLAlchemy raises of a database that is away; none of its messages gets out, since they quote values.

    What is wrong with a statement or a value stays as it is: it is our own fault, and no waiting would mend it.
    """
    try:
        yield
    except DBAPIError as error:
        if _is_full(error):
            raise StorageFull("The server's disk is full. Try again later or tell its administrator.") from error
        if error.connection_invalidated or isinstance(error, _AWAY):
            raise DatabaseUnavailable("The server's database cannot be reached. Try again in a moment.") from error
        raise
    except PoolTimeoutError as error:
        raise DatabaseUnavailable("The server's database cannot be reached. Try again in a moment.") from error


def _is_full(error: DBAPIError) -> bool:
    """PostgreSQL has a code for it (53100, disk_full), Python's sqlite3 too."""
    codes = getattr(error.orig, "sqlstate", None), getattr(error.orig, "sqlite_errorname", None)
    return "53100" in codes or "SQLITE_FULL" in codes


def _sqlite(file: Path) -> Engine:
    engine = create_engine(URL.create("sqlite", database=str(file)), connect_args={"timeout": _WAIT_S})

    @event.listens_for(engine, "connect")
    def _on_connect(connection: Any, _: object) -> None:
        # Its driver begins nothing by itself: `_on_begin` does.
        connection.isolation_level = None
        # WAL: one sync a commit. FULL: a commit that was answered outlives a power cut.
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _on_begin(connection: Connection) -> None:
        # Begun at the first write, two that have read would both want to write, and one would fail.
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


def _postgresql(url: str) -> Engine:
    try:
        address = make_url(url).set(drivername="postgresql+psycopg")
        return create_engine(address, pool_pre_ping=True, connect_args=_PATIENCE)
    except (ArgumentError, ValueError):
        # Their messages quote the URL, and so the password.
        raise DatabaseUnavailable("The database's address is no URL of a PostgreSQL database.") from None
    except ImportError as error:
        raise DatabaseUnavailable("PostgreSQL's driver is not installed: pip install 'sigap[postgres]'.") from error
