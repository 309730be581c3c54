"""The tables' versions, by Alembic: an older data folder is brought forward, a newer one refused."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, text

from sigap.core.errors import DatabaseTooNew

_LOCK = 0x516AA


def migrate(engine: Engine) -> None:
    """Bring the tables to this version's form, one gateway at a time.

    Raises:
        DatabaseTooNew: they are of a version that this one does not know; nothing was changed.
    """
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
        if not set(MigrationContext.configure(connection).get_current_heads()) <= known:
            raise DatabaseTooNew(
                "The data was written by a newer version of Sigap, and was left as it is. Install that version again, "
                "or give this one an empty SIGAP_DATA and its own database."
            )
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
