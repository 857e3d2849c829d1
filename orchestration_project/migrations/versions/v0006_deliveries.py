"""What it takes to land a delivery once more without its source."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

TEXT = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")
BIG_INTEGER = sa.BigInteger()
MOMENT = sa.DateTime().with_variant(postgresql.TIMESTAMP(timezone=True, precision=6), "postgresql")

COMMENT_BEFORE = "One row per fetch: the same bytes fetched twice are one blob and two captures."
COMMENT = "One row per fetch and delivery made of it: the same bytes fetched twice are one blob."


def upgrade() -> None:
    """Create the table, and say that a capture may be used again."""
    op.create_table(
        "deliveries",
        sa.Column("group_id", TEXT, nullable=False, comment="The delivery"),
        sa.Column("table_name", TEXT, nullable=False, comment="The table that it was meant for"),
        sa.Column("partition_key", TEXT, nullable=False, comment="Dagster's key of the partition"),
        sa.Column("source", TEXT, nullable=False, comment="Where from: demo, api or files"),
        sa.Column("dataset", TEXT, nullable=False, comment="The source's name of the dataset"),
        sa.Column(
            "source_version",
            TEXT,
            nullable=False,
            comment="What tells this state of the source from another",
        ),
        sa.Column(
            "record_total",
            BIG_INTEGER,
            nullable=True,
            comment="Rows that the source promised; NULL: it promises none",
        ),
        sa.Column(
            "scope",
            TEXT,
            nullable=False,
            comment="The part of the partition for which it is complete, JSON; {}: all of it",
        ),
        sa.Column(
            "part_count",
            BIG_INTEGER,
            nullable=False,
            comment="Captures that make it up, parts 1 to this; 0: never read whole",
        ),
        sa.Column(
            "outcome",
            TEXT,
            nullable=False,
            comment="landed, held_back (by an audit) or refused (not to be checked)",
        ),
        sa.Column(
            "replay_of", TEXT, nullable=True, comment="Of a replay: the delivery that was fetched"
        ),
        sa.Column("rule_version", TEXT, nullable=False, comment="Version of our rules"),
        sa.Column("run_id", TEXT, nullable=False, comment="Dagster run that checked it"),
        sa.Column("recorded_at", MOMENT, nullable=False, comment="UTC time"),
        sa.PrimaryKeyConstraint("group_id", "table_name"),
        comment="One row per delivery of a partition: what was read of its captures, and what came of it.",
        sqlite_with_rowid=False,
    )
    _comment_captures(COMMENT, "Dagster run that fetched it")


def downgrade() -> None:
    """Drop it."""
    _comment_captures(COMMENT_BEFORE, "Dagster run")
    op.drop_table("deliveries")


def _comment_captures(table: str, run_id: str) -> None:
    if op.get_context().dialect.supports_comments:
        op.create_table_comment("captures", table)
        op.alter_column("captures", "run_id", comment=run_id)
