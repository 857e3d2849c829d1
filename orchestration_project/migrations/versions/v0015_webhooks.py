"""Webhooks: the inbox, the events that land from it, and what the metrics add up quickly."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

TEXT = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")
MOMENT = sa.DateTime().with_variant(postgresql.TIMESTAMP(timezone=True, precision=6), "postgresql")

SOURCE_BEFORE = "Where from: demo, api or files"
SOURCE_NOW = "Where from: demo, api, files or webhooks"
NAME_OF_SOURCE = "The source's name in webhooks.yaml"
DELIVERY_ID = "The sender's id; without one sha256: and the body's digest"
KIND = "What happened, in the sender's word; NULL where it has none"

RUNS_BY_JOB = ("job", "status", "rows_in", "rows_landed", "rows_rejected")


def upgrade() -> None:
    """Create the tables and indexes; PostgreSQL also keeps what the columns of source hold."""
    op.create_table(
        "inbox",
        sa.Column("source", TEXT, nullable=False, comment=NAME_OF_SOURCE),
        sa.Column("delivery_id", TEXT, nullable=False, comment=DELIVERY_ID),
        sa.Column("kind", TEXT, nullable=True, comment=KIND),
        sa.Column("body", TEXT, nullable=False, comment="The bytes as they came, Base64"),
        sa.Column(
            "headers",
            TEXT,
            nullable=False,
            comment="What came with it, a JSON object; no secret, no signature",
        ),
        sa.Column("sha256", TEXT, nullable=False, comment="SHA-256 of the bytes as they came, hex"),
        sa.Column("byte_count", sa.BigInteger(), nullable=False, comment="Size as it came, bytes"),
        sa.Column(
            "received_at",
            MOMENT,
            nullable=False,
            comment="UTC time; no two rows of a process have the same",
        ),
        sa.Column(
            "state",
            TEXT,
            nullable=False,
            comment="received, running, done, failed (it is tried again) or dead (it is not)",
        ),
        sa.Column(
            "attempt_count",
            sa.BigInteger(),
            nullable=False,
            comment="Runs that were made of it and ended",
        ),
        sa.Column(
            "allowed_count",
            sa.BigInteger(),
            nullable=False,
            comment="Attempts after which it is dead; a replay allows more",
        ),
        sa.Column(
            "run_id",
            TEXT,
            nullable=True,
            comment="Dagster run of the latest attempt; NULL: none yet",
        ),
        sa.Column(
            "changed_at",
            MOMENT,
            nullable=False,
            comment="UTC time at which state or run last changed",
        ),
        sa.PrimaryKeyConstraint("source", "delivery_id"),
        comment="One row per webhook delivery whose signature was right, stored before it is answered.",
        sqlite_with_rowid=False,
    )
    op.create_index("inbox_by_state", "inbox", ["state", "source", "received_at", "delivery_id"])
    op.create_table(
        "events_webhooks",
        *_event_columns(),
        sa.PrimaryKeyConstraint("source", "delivery_id"),
        comment="One row per webhook delivery whose body is a JSON object.",
        sqlite_with_rowid=False,
    )
    op.create_table(
        "events_webhooks_history",
        *_event_columns(),
        sa.Column(
            "known_to",
            MOMENT,
            nullable=False,
            comment="UTC time at which the row was replaced or removed",
        ),
        sa.Column(
            "change_cause",
            TEXT,
            nullable=False,
            comment="Why: source (values), metadata (only its dates), ours (our rules)",
        ),
        sa.Column(
            "rule_version",
            TEXT,
            nullable=False,
            comment="Version of our rules that made the row that followed",
        ),
        sa.PrimaryKeyConstraint("source", "delivery_id", "known_from"),
        comment="One row per earlier state of a row of events_webhooks: true from known_from to known_to.",
        sqlite_with_rowid=False,
    )
    op.create_index("operations_runs_by_job", "operations_runs", list(RUNS_BY_JOB))
    _describe_sources(SOURCE_NOW)


def _event_columns() -> list[sa.Column]:
    return [
        sa.Column("source", TEXT, nullable=False, comment=NAME_OF_SOURCE),
        sa.Column("delivery_id", TEXT, nullable=False, comment=DELIVERY_ID),
        sa.Column("received_at", MOMENT, nullable=False, comment="UTC time at which it came"),
        sa.Column("kind", TEXT, nullable=True, comment=KIND),
        sa.Column(
            "payload", TEXT, nullable=False, comment="The JSON object, letter by letter as it came"
        ),
        sa.Column(
            "capture_id",
            sa.BigInteger(),
            nullable=False,
            comment="The capture that the row was read from",
        ),
        sa.Column(
            "known_from",
            MOMENT,
            nullable=False,
            comment="UTC time from which we knew the row",
        ),
    ]


def _describe_sources(comment: str) -> None:
    if op.get_bind().dialect.name == "postgresql":
        for table in ("captures", "deliveries", "landings"):
            op.execute(f"COMMENT ON COLUMN {table}.source IS '{comment}'")


def downgrade() -> None:
    """Drop them."""
    _describe_sources(SOURCE_BEFORE)
    op.drop_index("operations_runs_by_job", "operations_runs")
    op.drop_table("events_webhooks_history")
    op.drop_table("events_webhooks")
    op.drop_table("inbox")
