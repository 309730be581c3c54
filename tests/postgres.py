"""A real PostgreSQL of the tests' own: in a temporary folder, reached by a socket there, gone when the tests end."""

from __future__ import annotations

import itertools
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
import pytest

# No fsync: in these tests our own processes die, never the machine. A socket's folder cannot be taken, a port can.
SETTINGS = """
listen_addresses = ''
unix_socket_directories = '{folder}'
port = 5432
fsync = off
"""
# The pipe that it reads closes when whoever holds the other end has gone, killed or not.
KEEPER = 'cat; "$1" stop --pgdata "$2/data" --mode immediate; rm -rf "$2"'


class Postgres:
    """A server that can be stopped and started.

    Args:
        programs: the folder of `initdb` and `pg_ctl`.
        folder: where its data, its log and its socket lie.
    """

    def __init__(self, programs: Path, folder: Path) -> None:
        self.programs = programs
        self.folder = folder
        self._numbers = itertools.count(1)

    def url(self, database: str) -> str:
        # It names the port, or a PGPORT from outside would decide.
        return f"postgresql://sigap@/{database}?host={quote(str(self.folder))}&port=5432"

    def create(self, pipe: int) -> None:
        """Make the server's data, once, before the first start; meanwhile the keeper's pipe stays open."""
        options = ("--username=sigap", "--auth=trust", "--encoding=UTF8", "--no-locale", "--no-sync")
        self._run("initdb", *options, pass_fds=[pipe])
        with (self.folder / "data" / "postgresql.conf").open("a") as file:
            file.write(SETTINGS.format(folder=self.folder))

    def start(self) -> None:
        """Come back with all data; a running server stays as it is."""
        if not self.is_running():
            self._run("pg_ctl", "start", f"--log={self.folder / 'log'}")

    def stop(self) -> None:
        """Go away and cut every connection, as a server does that is updated."""
        if self.is_running():
            self._run("pg_ctl", "stop", "--mode=fast")

    def is_running(self) -> bool:
        return self._call("pg_ctl", "status").returncode == 0

    def create_database(self) -> str:
        """The name of a new, empty database."""
        name = f"test_{next(self._numbers)}"
        self.administer(f"CREATE DATABASE {name}")
        return name

    def drop_database(self, name: str) -> None:
        """Remove a database, whoever may still be connected to it."""
        self.administer(f"DROP DATABASE {name} WITH (FORCE)")

    def administer(self, statement: str) -> None:
        """Run a statement that is for the server as a whole."""
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(statement.encode())

    def _run(self, program: str, *args: str, pass_fds: Collection[int] = ()) -> None:
        done = self._call(program, *args, pass_fds=pass_fds)
        log = self.folder / "log"
        assert done.returncode == 0, done.stdout + (log.read_text() if log.exists() else "")

    def _call(self, program: str, *args: str, pass_fds: Collection[int] = ()) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(self.programs / program), *args, f"--pgdata={self.folder / 'data'}"],
            check=False,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=self.folder,
            # Without PG* variables from outside.
            env={"PATH": os.environ["PATH"], "LC_ALL": "C"},
            pass_fds=pass_fds,
            **_its_user(),
        )


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """The one server of a session; a test that stops it need not start it again."""
    programs = _programs()
    if programs is None:
        pytest.skip("PostgreSQL is not here; `make setup-system` installs it, or says what to install")
    with _kept_folder(programs) as (folder, pipe):
        server = Postgres(programs, folder)
        server.create(pipe)
        server.start()
        yield server


@pytest.fixture
def database_url(postgres: Postgres) -> Iterator[str]:
    """The URL of an empty database that is gone after the test."""
    name = postgres.create_database()
    yield postgres.url(name)
    postgres.start()
    postgres.drop_database(name)


def _programs() -> Path | None:
    """The folder of the server's programs. Debian keeps them off PATH, one folder for each version."""
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    found = shutil.which("initdb", path=os.pathsep.join([os.environ.get("PATH", ""), *map(str, debian)]))
    # On PATH it may be a link, beside which `pg_ctl` need not lie.
    return Path(found).resolve().parent if found else None


@contextmanager
def _kept_folder(programs: Path) -> Iterator[tuple[Path, int]]:
    """A temporary folder of the server's user, and a pipe: once that closes, the server stops and the folder goes."""
    # Not pytest's own: no other user may enter that, and a socket's path has to be short.
    folder = Path(tempfile.mkdtemp(prefix="sigap-postgres-"))
    user = _its_user()
    if user:
        os.chown(folder, user["user"], user["group"])
    with subprocess.Popen(
        ["sh", "-c", KEEPER, "keeper", str(programs / "pg_ctl"), str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        start_new_session=True,  # or Ctrl-C would end it too
        **user,
    ) as keeper:
        yield folder, keeper.stdin.fileno()


def _its_user() -> dict[str, Any]:
    """Whom to start the server's programs as: PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return {}
    users = {entry.pw_name: entry for entry in pwd.getpwall()}
    user = users.get("postgres") or users["nobody"]
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
