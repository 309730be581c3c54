"""The tables that Alembic makes, a newer version's data and what version 0.1 has left; over both databases."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Column, Connection, Integer, MetaData, insert, inspect, select, text

from office import QUOTA_BYTES, ROUTINE, Clock, Office, opened_office
from serving import wait_until
from sigap.core.errors import DatabaseTooNew
from sigap.jobs import migrations
from sigap.jobs.client import Client
from sigap.jobs.database import Database
from sigap.jobs.folder import DataFolder
from sigap.jobs.heartbeat import Heartbeat
from sigap.jobs.intake import new_row
from sigap.jobs.storage import Storage
from sigap.jobs.tables import JOBS, METADATA

VERSION = text("SELECT version_num FROM alembic_version")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data folder without anything in it."""
    folder = tmp_path / "data"
    DataFolder(folder).prepare()
    return folder


@pytest.fixture(params=["SQLite", "PostgreSQL"])
def url(request: pytest.FixtureRequest) -> str | None:
    """Where an empty database is; None: in the data folder."""
    return request.getfixturevalue("database_url") if request.param == "PostgreSQL" else None


@pytest.fixture
def database(data: Path, url: str | None) -> Iterator[Database]:
    """Without a table."""
    with closing(Database(data, url)) as database:
        yield database


def differences(connection: Connection, wanted: MetaData) -> list[object]:
    context = MigrationContext.configure(connection, opts={"compare_server_default": True})
    return list(compare_metadata(context, wanted))


def leave_as_newer(connection: Connection) -> None:
    """What a version to come might leave: its own number, and tables of a form that this one does not know."""
    connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    connection.execute(text("ALTER TABLE jobs RENAME COLUMN stage TO step"))


def tables(connection: Connection) -> dict[str, list[str]]:
    found = inspect(connection)
    return {name: [column["name"] for column in found.get_columns(name)] for name in found.get_table_names()}


def contents(folder: Path) -> dict[str, bytes | None]:
    """Everything in a folder, each file with its bytes; the lock's own file is nothing."""
    paths = [path for path in folder.rglob("*") if path.name != "jobs.lock"]
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None for path in paths}


def test_migrations_make_the_tables_that_the_code_uses(database: Database):
    database.open()
    with database.transaction() as connection:
        assert differences(connection, METADATA) == []


def test_a_column_that_no_migration_makes_would_be_noticed(database: Database):
    ahead = MetaData()
    for table in METADATA.sorted_tables:
        table.to_metadata(ahead)
    ahead.tables["jobs"].append_column(Column("urgency", Integer))
    database.open()
    with database.transaction() as connection:
        assert [difference[0] for difference in differences(connection, ahead) if isinstance(difference, tuple)] == [
            "add_column"
        ]


def test_sqlite_gives_no_number_twice(data: Path):
    """`compare_metadata` does not look at AUTOINCREMENT."""
    with opened_office(data) as office:
        numbers = []
        for _ in range(2):
            job = office.store.cancel(office.submit().id)
            office.store.erase(job.id)
            numbers.append(job.number)
    assert numbers[1] > numbers[0]


def test_migrating_again_changes_nothing(database: Database):
    database.open()
    with database.transaction() as connection:
        before = tables(connection), connection.execute(VERSION).all()
    database.open()
    with database.transaction() as connection:
        assert (tables(connection), connection.execute(VERSION).all()) == before


def test_several_gateways_may_start_at_once(data: Path, database_url: str):
    databases = [Database(data, database_url) for _ in range(4)]
    with ThreadPoolExecutor(len(databases)) as threads:
        for opened in [threads.submit(database.open) for database in databases]:
            opened.result()
    with databases[0].transaction() as connection:
        assert len(connection.execute(VERSION).all()) == 1
    for database in databases:
        database.close()


def test_jobs_outlive_a_restart(data: Path, url: str | None):
    with opened_office(data, url) as office:
        job = office.answer()
    storage = Storage(Database(data, url), DataFolder(data), QUOTA_BYTES)
    with storage.opened():
        assert Office(storage, office.clock).get(job) == job


def fill_as_older(database: Database, revision: str) -> None:
    """Tables as a version of before has made them, with a job that waits and one that has ended."""
    config = migrations._config()
    with database.transaction() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
        older = MetaData()
        older.reflect(connection)
        jobs, folders = older.tables["jobs"], older.tables["folders"]
        for job_id, state in (("a" * 32, "queued"), ("b" * 32, "succeeded")):
            connection.execute(insert(folders).values(id=job_id, bytes=3, result=None))
            row = new_row(job_id, ROUTINE, "", 1.0) | {"state": state, "gateway": None, "finished_at": 2.0}
            connection.execute(insert(jobs).values({name: row[name] for name in row if name in jobs.columns}))


@pytest.mark.parametrize("revision", ["0001", "0002"])
def test_an_older_versions_jobs_are_taken_over_and_belong_to_nobody(data: Path, url: str | None, revision: str):
    storage = Storage(Database(data, url), DataFolder(data), QUOTA_BYTES)
    fill_as_older(storage.database, revision)
    with storage.opened():
        office = Office(storage, Clock())
        jobs = office.store.page()
        assert [(job.id[0], job.state, job.owner) for job in jobs] == [("b", "succeeded", None), ("a", "queued", None)]
        assert office.store.page(client=Client("ward")) == []
        assert office.claim().job.id == jobs[1].id
        with storage.database.transaction() as connection:
            assert differences(connection, METADATA) == []


def test_looking_makes_no_database(data: Path, database: Database):
    assert not database.is_made()
    assert list(data.glob("*.sqlite3*")) == []
    database.open()
    assert database.is_made()


def test_a_newer_versions_data_is_refused_and_left_as_it_is(data: Path, url: str | None):
    with opened_office(data, url) as office:
        office.answer()
    (data / "jobs" / "of a version to come").mkdir()
    with closing(Database(data, url)) as newer, newer.transaction() as connection:
        leave_as_newer(connection)
        before = tables(connection)
    files = contents(data)
    storage = Storage(Database(data, url), DataFolder(data), QUOTA_BYTES)
    with pytest.raises(DatabaseTooNew, match="newer version"), storage.opened():
        pytest.fail("opened")
    storage.database.close()
    assert contents(data) == files
    with closing(Database(data, url)) as newer, newer.transaction() as connection:
        assert tables(connection) == before
        assert connection.execute(VERSION).scalar_one() == "9999"
        assert len(connection.execute(select(JOBS.c.id)).all()) == 1


def test_looking_into_a_newer_versions_data_is_refused(data: Path, database: Database):
    database.open()
    with database.transaction() as connection:
        leave_as_newer(connection)
    with pytest.raises(DatabaseTooNew):
        database.is_made()


def test_a_refused_folder_may_be_claimed_by_the_right_version(data: Path):
    with opened_office(data):
        pass
    with closing(Database(data)) as newer, newer.transaction() as connection:
        leave_as_newer(connection)
    refused = Storage(Database(data), DataFolder(data), QUOTA_BYTES)
    with pytest.raises(DatabaseTooNew), refused.opened():
        pytest.fail("opened")
    with DataFolder(data).claimed():
        pass


def test_the_data_folder_of_version_0_1_is_taken_over_and_its_leftovers_go(tmp_path: Path, url: str | None):
    """That version kept jobs in memory: after it has ended, nobody can ask for what lies in its folders."""
    data = tmp_path / "data"
    left = data / "jobs" / ("5f1e" * 8) / "upload"
    left.mkdir(parents=True)
    (left / "000000").write_bytes(b"a scan")
    (data / "jobs.lock").touch()
    with opened_office(data, url) as office:
        heartbeat = Heartbeat(office.leases, office.store, office.storage, retention_s=3600)
        office.leases.leave()
        heartbeat.start()
        try:
            wait_until(lambda: not left.exists())
            job = office.answer()
        finally:
            heartbeat.stop()
        assert office.folders() == {job.folder}
    assert data.stat().st_mode & 0o777 == 0o700
    assert (data / "jobs").stat().st_mode & 0o777 == 0o700
