"""What was found of the things that work depends on, and which configurations were verified."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

TEXT = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")
MOMENT = sa.DateTime().with_variant(postgresql.TIMESTAMP(timezone=True, precision=6), "postgresql")


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "operations_readiness",
        sa.Column(
            "dependency", TEXT, nullable=False, comment="Such as finra, database, artifacts or disk"
        ),
        sa.Column("machine", TEXT, nullable=False, comment="Host name of the machine that looked"),
        sa.Column("outcome", TEXT, nullable=False, comment="passed, failed or not_applicable"),
        sa.Column("tried", TEXT, nullable=False, comment="What was done to find out"),
        sa.Column("got", TEXT, nullable=False, comment="What came of it, without secrets"),
        sa.Column("remedy", TEXT, nullable=False, comment="What to do; empty where nothing is"),
        sa.Column("seconds", sa.Double(), nullable=False, comment="How long it took"),
        sa.Column(
            "checked_at", MOMENT, nullable=False, comment="UTC time at which it was looked at"
        ),
        sa.Column(
            "config_hash",
            TEXT,
            nullable=False,
            comment="Of the settings under which it was looked at",
        ),
        sa.Column("run_id", TEXT, nullable=False, comment="Dagster run that looked"),
        sa.Column(
            "forced_at",
            MOMENT,
            nullable=True,
            comment="UTC time at which a run last went on although it failed",
        ),
        sa.Column(
            "forced_run_id", TEXT, nullable=True, comment="That run; NULL where there was none"
        ),
        sa.PrimaryKeyConstraint("dependency", "machine"),
        comment="One row per dependency and machine: what was last found of it.",
        sqlite_with_rowid=False,
    )
    op.create_table(
        "operations_verified_configs",
        sa.Column(
            "config_hash",
            TEXT,
            nullable=False,
            comment="First 64 bits of the SHA-256 of the values, hex",
        ),
        sa.Column(
            "entries",
            TEXT,
            nullable=False,
            comment="The values without secrets, a JSON object by name: value and origin",
        ),
        sa.Column(
            "verified_at", MOMENT, nullable=False, comment="UTC time at which it was last verified"
        ),
        sa.Column("run_id", TEXT, nullable=False, comment="Dagster run that did"),
        sa.PrimaryKeyConstraint("config_hash"),
        comment="One row per configuration under which a verification found everything ready.",
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    """Drop the tables."""
    for name in ("operations_verified_configs", "operations_readiness"):
        op.drop_table(name)
