"""The tables of the job store, the same for SQLite and PostgreSQL. `migrations` makes them; a test holds both equal."""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    UniqueConstraint,
    false,
)

METADATA = MetaData()

# Only SQLite's own INTEGER counts up by itself.
_NUMBER = BigInteger().with_variant(Integer, "sqlite")

STORE = Table(
    "store",
    METADATA,
    # This database's own: a data folder is marked with it, so that another database's jobs are never taken for rubbish.
    Column("id", String(32), primary_key=True),
)

GATEWAYS = Table(
    "gateways",
    METADATA,
    Column("id", String(32), primary_key=True),
    # Grows while the gateway lives. The others watch whether it does, each by a clock of its own.
    Column("beat", BigInteger, nullable=False),
)

FOLDERS = Table(
    "folders",
    METADATA,
    # A folder under `jobs` in the data folder. The row is written before the folder, and deleted before it.
    Column("id", String(32), primary_key=True),
    # What its files take, or will take while they arrive: counted against the quota.
    Column("bytes", BigInteger, nullable=False),
    # The folder's own subfolder with the kept result; null while there is none.
    Column("result", String(64)),
    # What of `bytes` is the result's.
    Column("result_bytes", BigInteger),
)

JOBS = Table(
    "jobs",
    METADATA,
    # The order of arrival: no clock can change it.
    Column("number", _NUMBER, primary_key=True, autoincrement=True),
    Column("id", String(32), nullable=False, unique=True),
    Column("state", String(16), nullable=False),
    # The name of the key that it was sent with; null: without one.
    Column("owner", String(64)),
    Column("task", String(255), nullable=False),
    Column("priority", String(16), nullable=False),
    Column("rank", Integer, nullable=False),
    Column("options", JSON, nullable=False),
    # Of input, task, options and model: equal ones have equal results.
    Column("fingerprint", String(64)),
    # Of input, task and options: what an Idempotency-Key was used for.
    Column("request", String(64)),
    Column("is_fresh", Boolean, nullable=False),
    Column("is_reused", Boolean, nullable=False),
    # SHA-256 of a client's Idempotency-Key and its owner: the key itself may name a patient.
    Column("idempotency_key", String(64), unique=True),
    Column("folder", String(32), ForeignKey("folders.id")),
    Column("stage", String(16)),
    Column("slices_done", Integer, nullable=False),
    Column("slices_total", Integer, nullable=False),
    # Who runs it, and the fencing token: every change of hands makes the holder before it powerless.
    Column("gateway", String(32), ForeignKey("gateways.id")),
    Column("token", Integer, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("errors", Integer, nullable=False),
    Column("crashes", Integer, nullable=False),
    # Whoever brought it has hung up; a gateway where somebody waits for it takes the doubt back.
    Column("is_doubted", Boolean, nullable=False, server_default=false()),
    # Seconds since 1970, UTC.
    Column("due_at", Float, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("queued_at", Float),
    Column("started_at", Float),
    Column("finished_at", Float),
    Column("problem", JSON(none_as_null=True)),
    Index("jobs_queue", "state", "rank", "number"),
    Index("jobs_fingerprint", "fingerprint"),
    Index("jobs_folder", "folder"),
    Index("jobs_owner", "owner", "number"),
    # Never gives a number twice.
    sqlite_autoincrement=True,
)

DELIVERIES = Table(
    "deliveries",
    METADATA,
    Column("number", _NUMBER, primary_key=True, autoincrement=True),
    Column("job", String(32), ForeignKey("jobs.id"), nullable=False),
    # A name in the PACS file: what it stands for may change.
    Column("destination", String(63), nullable=False),
    Column("state", String(16), nullable=False),
    # Who sends it now. No reference: once that gateway's row has gone, whoever comes next may take it.
    Column("gateway", String(32)),
    Column("token", Integer, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("refusals", Integer, nullable=False),
    Column("due_at", Float, nullable=False),
    Column("delivered_at", Float),
    Column("problem", JSON(none_as_null=True)),
    UniqueConstraint("job", "destination", name="deliveries_once"),
    Index("deliveries_due", "state", "due_at"),
    sqlite_autoincrement=True,
)
