"""What a key was used for, when an upload was complete, how large a result is, and whether anybody waits for it."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add columns; jobs of before have no request, no time of queueing and no size of their result."""
    op.add_column("folders", sa.Column("result_bytes", sa.BigInteger))
    op.add_column("jobs", sa.Column("request", sa.String(64)))
    op.add_column("jobs", sa.Column("is_doubted", sa.Boolean, nullable=False, server_default=sa.false()))
    op.add_column("jobs", sa.Column("queued_at", sa.Float))
