"""Jobs, their folders, and the gateways that work on them."""

import secrets

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_NUMBER = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Make the first tables."""
    store = op.create_table("store", sa.Column("id", sa.String(32), primary_key=True))
    op.bulk_insert(store, [{"id": secrets.token_hex(16)}])
    op.create_table(
        "gateways",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("beat", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "folders",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("bytes", sa.BigInteger, nullable=False),
        sa.Column("result", sa.String(64)),
    )
    op.create_table(
        "jobs",
        sa.Column("number", _NUMBER, primary_key=True, autoincrement=True),
        sa.Column("id", sa.String(32), nullable=False, unique=True),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("task", sa.String(255), nullable=False),
        sa.Column("priority", sa.String(16), nullable=False),
        sa.Column("rank", sa.Integer, nullable=False),
        sa.Column("options", sa.JSON, nullable=False),
        sa.Column("fingerprint", sa.String(64)),
        sa.Column("is_fresh", sa.Boolean, nullable=False),
        sa.Column("is_reused", sa.Boolean, nullable=False),
        sa.Column("idempotency_key", sa.String(64), unique=True),
        sa.Column("folder", sa.String(32), sa.ForeignKey("folders.id")),
        sa.Column("stage", sa.String(16)),
        sa.Column("slices_done", sa.Integer, nullable=False),
        sa.Column("slices_total", sa.Integer, nullable=False),
        sa.Column("gateway", sa.String(32), sa.ForeignKey("gateways.id")),
        sa.Column("token", sa.Integer, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("errors", sa.Integer, nullable=False),
        sa.Column("crashes", sa.Integer, nullable=False),
        sa.Column("due_at", sa.Float, nullable=False),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.Column("started_at", sa.Float),
        sa.Column("finished_at", sa.Float),
        sa.Column("problem", sa.JSON),
        sqlite_autoincrement=True,
    )
    op.create_index("jobs_queue", "jobs", ["state", "rank", "number"])
    op.create_index("jobs_fingerprint", "jobs", ["fingerprint"])
    op.create_index("jobs_folder", "jobs", ["folder"])
