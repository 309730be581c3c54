"""Transactions, a full disk and a database that is away; what messages keep to themselves. Over both databases."""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import Connection, insert, select, text
from sqlalchemy.exc import ProgrammingError, StatementError

from office import Office
from postgres import Postgres
from sigap.core.errors import DatabaseUnavailable, StorageFull
from sigap.jobs.database import Database
from sigap.jobs.tables import FOLDERS

SECRET = "pa55word"


def transact(database: Database, *steps: Callable[[Connection], object]) -> None:
    with database.transaction() as connection:
        for step in steps:
            step(connection)


def write(*names: str) -> Callable[[Connection], object]:
    return lambda connection: connection.execute(insert(FOLDERS), [{"id": name, "bytes": 1} for name in names])


MUCH = write(*(f"{number:032}" for number in range(5000)))


def read(database: Database) -> set[str]:
    with database.transaction() as connection:
        return set(connection.execute(select(FOLDERS.c.id)).scalars())


def fill_disk(connection: Connection) -> None:
    """Have the database itself say that there is no room."""
    if connection.dialect.name == "postgresql":
        # A full disk cannot be had without rights on the machine: the server raises that very error.
        connection.execute(text("DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = 'disk_full'; END $$"))
    else:
        pages = connection.execute(text("PRAGMA page_count")).scalar_one()
        connection.execute(text(f"PRAGMA max_page_count = {pages}"))
        MUCH(connection)


def free_disk(connection: Connection) -> None:
    if connection.dialect.name == "sqlite":
        connection.execute(text("PRAGMA max_page_count = 1000000"))


def test_what_was_committed_is_there_after_a_restart(office: Office):
    database = office.storage.database
    transact(database, write("one", "two"))
    database.close()
    assert read(database) == {"one", "two"}


def fault(_: Connection) -> None:
    raise LookupError("the block's own")


def test_an_error_takes_the_whole_transaction_back(office: Office):
    database = office.storage.database
    with pytest.raises(LookupError, match="the block's own"):
        transact(database, write("one"), fault)
    assert read(database) == set()


def test_an_error_of_the_database_takes_the_whole_transaction_back(office: Office):
    database = office.storage.database
    with pytest.raises((DatabaseUnavailable, ProgrammingError)):
        transact(database, write("one"), lambda connection: connection.execute(text("SELECT * FROM nowhere")))
    assert read(database) == set()


def test_a_transaction_is_seen_by_others_only_when_it_is_over(tmp_path: Path, database_url: str):
    """SQLite lets nobody else begin."""
    with closing(Database(tmp_path, database_url)) as database:
        database.open()
        with database.transaction() as connection:
            write("one")(connection)
            assert read(database) == set()
        assert read(database) == {"one"}


def test_a_full_disk_is_told_as_such_and_nothing_half_is_left(office: Office):
    database = office.storage.database
    transact(database, write("before"))
    with pytest.raises(StorageFull, match="disk is full"):
        transact(database, write("half"), fill_disk)
    assert read(database) == {"before"}


def test_after_a_full_disk_there_may_be_room_again(office: Office):
    database = office.storage.database
    with pytest.raises(StorageFull):
        transact(database, fill_disk)
    transact(database, free_disk, MUCH)
    assert len(read(database)) == 5000


def test_messages_quote_no_value(office: Office):
    with pytest.raises(DatabaseUnavailable) as error:
        transact(office.storage.database, write("a-value", "a-value"))
    assert "a-value" not in error.value.message


def test_a_server_that_cannot_be_reached_is_said_so_without_its_address(tmp_path: Path):
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # and does not listen
        port = nobody.getsockname()[1]
        address = f"postgresql://somebody:{SECRET}@127.0.0.1:{port}/somewhere"
        with closing(Database(tmp_path, address)) as database:
            for use in (database.open, database.is_made, lambda: read(database)):
                with pytest.raises(DatabaseUnavailable) as error:
                    use()
                for word in ("somebody", SECRET, "127.0.0.1", str(port), "somewhere"):
                    assert word not in error.value.message


@pytest.mark.parametrize(
    "address", [f"somebody {SECRET}", f"postgresql://somebody:{SECRET}@host:port/x", f"://{SECRET}", ""]
)
def test_an_address_that_is_none_is_not_repeated(tmp_path: Path, address: str):
    with pytest.raises(DatabaseUnavailable, match="no URL") as error:
        Database(tmp_path, address)
    assert SECRET not in error.value.message
    # Or a traceback in the log would show it.
    assert error.value.__cause__ is None
    assert error.value.__suppress_context__


def test_a_server_that_comes_back_is_used_again(tmp_path: Path, postgres: Postgres, database_url: str):
    with closing(Database(tmp_path, database_url)) as database:
        database.open()
        transact(database, write("one"))
        postgres.stop()
        with pytest.raises(DatabaseUnavailable):
            read(database)
        postgres.start()
        assert read(database) == {"one"}


def test_a_server_that_goes_within_a_transaction_has_kept_nothing(
    tmp_path: Path, postgres: Postgres, database_url: str
):
    with closing(Database(tmp_path, database_url)) as database:
        database.open()
        with pytest.raises(DatabaseUnavailable):
            transact(database, write("one"), lambda _: postgres.stop())
        postgres.start()
        assert read(database) == set()


def test_a_database_without_an_encoding_gives_text_all_the_same(postgres: Postgres, tmp_path: Path) -> None:
    name = "no_encoding"
    postgres.administer(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C'")
    with closing(Database(tmp_path, postgres.url(name))) as database:
        database.open()
        transact(database, write("one", "zwei", "três"))
        assert read(database) == {"one", "zwei", "três"}
    postgres.drop_database(name)


def test_a_value_that_cannot_be_written_is_no_database_that_is_away(office: Office):
    """It would be waited for, and no waiting would mend it."""
    job = office.submit()
    lease = office.claim()
    with pytest.raises((StatementError, TypeError)):
        lease.fail({"detail": object()})
    assert office.get(job).state == "running"
