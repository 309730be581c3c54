"""What Alembic runs; the connection is given by `migrate`."""

from alembic import context

from sigap.jobs.tables import METADATA

context.configure(connection=context.config.attributes["connection"], target_metadata=METADATA, render_as_batch=True)
with context.begin_transaction():
    context.run_migrations()
