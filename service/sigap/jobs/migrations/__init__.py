"""The tables' versions, by Alembic: an older data folder is brought forward, a newer one refused."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, text

from sigap.core.errors import DatabaseTooNew, DatabaseUnavailable

_LOCK = 0x516AA


def migrate(engine: Engine) -> None:
    """Bring the tables to this version's form, one gateway at a time.

    Raises:
        DatabaseTooNew: they are of a version that this one does not know; nothing was changed.
    """
    config = _config()
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
        _revisions(connection)
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def is_current(engine: Engine) -> bool:
    """Whether there are tables, all in this version's form.

    Raises:
        DatabaseTooNew: they are of a version that this one does not know.
        DatabaseUnavailable: they are of an older version.
    """
    with engine.begin() as connection:
        revisions = _revisions(connection)
    if revisions and revisions != set(ScriptDirectory.from_config(_config()).get_heads()):
        raise DatabaseUnavailable(
            "The data is of an older version of Sigap. Stop its server and start `sigap serve` of this version once: "
            "that brings the data forward.",
            slug="database-too-old",
        )
    return bool(revisions)


def _known() -> set[str]:
    return {script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()}


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    return config


def _revisions(connection: Connection) -> set[str]:
    """The version that the tables have; none where there are no tables. Raises `DatabaseTooNew`."""
    revisions = set(MigrationContext.configure(connection).get_current_heads())
    if not revisions <= _known():
        raise DatabaseTooNew(
            "The data was written by a newer version of Sigap, and was left as it is. Install that version again, "
            "or give this one an empty SIGAP_DATA and its own database."
        )
    return revisions
