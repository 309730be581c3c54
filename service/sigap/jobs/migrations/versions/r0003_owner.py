"""Jobs belong to the name of a key; those that were here before belong to nobody."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add the owner, and what lists one owner's jobs without reading all others'."""
    op.add_column("jobs", sa.Column("owner", sa.String(64)))
    op.create_index("jobs_owner", "jobs", ["owner", "number"])
