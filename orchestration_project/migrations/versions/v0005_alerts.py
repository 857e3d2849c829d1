"""Alerts, their deliveries, and what was looked at for them."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

TEXT = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")
BIG_INTEGER = sa.BigInteger()
MOMENT = sa.DateTime().with_variant(postgresql.TIMESTAMP(timezone=True, precision=6), "postgresql")

TABLES = ("operations_evaluations", "operations_alert_deliveries", "operations_alerts")


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "operations_alerts",
        sa.Column(
            "alert_id",
            TEXT,
            nullable=False,
            comment="First 128 bits of the SHA-256 of kind and cause, hex",
        ),
        sa.Column(
            "kind",
            TEXT,
            nullable=False,
            comment="failed, held_back, job_failed, check, tick_failed, recovered or a notice's kind",
        ),
        sa.Column("severity", TEXT, nullable=False, comment="info, warning or error"),
        sa.Column("title", TEXT, nullable=False, comment="One line"),
        sa.Column("body", TEXT, nullable=False, comment="What failed, why, what to do, and links"),
        sa.Column(
            "run_id", TEXT, nullable=True, comment="Dagster run; NULL where it is not about one"
        ),
        sa.Column("job", TEXT, nullable=True, comment="Its job; NULL where it is not about one"),
        sa.Column("assets", TEXT, nullable=False, comment="Asset keys, a JSON list"),
        sa.Column("partitions", TEXT, nullable=False, comment="Partition keys, a JSON list"),
        sa.Column(
            "link", TEXT, nullable=True, comment="Where the UI shows it; NULL where nothing does"
        ),
        sa.Column(
            "state",
            TEXT,
            nullable=False,
            comment="open, recovered, replaced (a later alert tells of it) or told (nothing to mend)",
        ),
        sa.Column(
            "open_problems",
            TEXT,
            nullable=False,
            comment="What of it is not well yet, a JSON list of kind, subject and detail",
        ),
        sa.Column(
            "repeated_count",
            BIG_INTEGER,
            nullable=False,
            comment="How often the same came again within the window, and was not told",
        ),
        sa.Column("raised_at", MOMENT, nullable=False, comment="UTC time"),
        sa.Column(
            "repeated_at", MOMENT, nullable=True, comment="UTC time of the latest repetition"
        ),
        sa.Column(
            "ended_at",
            MOMENT,
            nullable=True,
            comment="UTC time at which it recovered or was replaced",
        ),
        sa.PrimaryKeyConstraint("alert_id"),
        comment="One row per alert: what people are told about a run, a sensor, or what is well again.",
        sqlite_with_rowid=False,
    )
    op.create_table(
        "operations_alert_deliveries",
        sa.Column("alert_id", TEXT, nullable=False, comment="The alert"),
        sa.Column(
            "channel",
            TEXT,
            nullable=False,
            comment="Scheme and place of the entry in ALERT_URLS, such as mailto-2",
        ),
        sa.Column(
            "state",
            TEXT,
            nullable=False,
            comment="pending (also after attempts in vain), delivered or failed (given up)",
        ),
        sa.Column("attempt_count", BIG_INTEGER, nullable=False, comment="Attempts begun"),
        sa.Column(
            "last_error",
            TEXT,
            nullable=True,
            comment="Why the latest attempt was in vain, without secrets",
        ),
        sa.Column(
            "next_attempt_at",
            MOMENT,
            nullable=False,
            comment="UTC time from which on it is tried (again)",
        ),
        sa.Column(
            "delivered_at",
            MOMENT,
            nullable=True,
            comment="UTC time at which the channel took it",
        ),
        sa.PrimaryKeyConstraint("alert_id", "channel"),
        comment="One row per alert and channel that it is for.",
        sqlite_with_rowid=False,
    )
    op.create_table(
        "operations_evaluations",
        sa.Column("cause", TEXT, nullable=False, comment="Such as a run's id and how it ended"),
        sa.Column("evaluated_at", MOMENT, nullable=False, comment="UTC time"),
        sa.PrimaryKeyConstraint("cause"),
        comment="One row per cause that was looked at: it raises alerts once, however often it is read.",
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    """Drop the tables."""
    for name in TABLES:
        op.drop_table(name)
