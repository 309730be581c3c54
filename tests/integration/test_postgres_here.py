"""The tests' own PostgreSQL does what the tests of the job store rely on."""

from __future__ import annotations

import psycopg
import pytest

from postgres import Postgres


def test_two_connections_see_each_others_commits(database_url: str):
    with psycopg.connect(database_url) as one, psycopg.connect(database_url) as other:
        one.execute("CREATE TABLE job (id integer)")
        one.execute("INSERT INTO job VALUES (1)")
        one.commit()
        assert other.execute("SELECT id FROM job").fetchall() == [(1,)]
        other.execute("INSERT INTO job VALUES (2)")
        assert one.execute("SELECT id FROM job").fetchall() == [(1,)]
        other.commit()
        assert one.execute("SELECT id FROM job ORDER BY id").fetchall() == [(1,), (2,)]


def test_every_test_gets_an_empty_database(database_url: str):
    with psycopg.connect(database_url) as connection:
        tables = connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchall()
    assert tables == [(0,)]


def test_a_stopped_server_cuts_connections_and_comes_back_with_its_data(postgres: Postgres, database_url: str):
    with psycopg.connect(database_url) as connection:
        connection.execute("CREATE TABLE job AS SELECT 7 AS id")
        connection.commit()
        postgres.stop()
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT id FROM job")
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(database_url)

    postgres.start()
    with psycopg.connect(database_url) as connection:
        assert connection.execute("SELECT id FROM job").fetchall() == [(7,)]


@pytest.mark.parametrize("again", [1, 2])
def test_a_test_may_leave_the_server_stopped(postgres: Postgres, database_url: str, again: int):
    assert postgres.is_running()
    postgres.stop()
    assert not postgres.is_running()
