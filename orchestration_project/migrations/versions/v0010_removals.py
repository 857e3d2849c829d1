"""What was cleaned up, and a view of all that happened to data."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

TEXT = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")
BIG_INTEGER = sa.BigInteger()
MOMENT = sa.DateTime().with_variant(postgresql.TIMESTAMP(timezone=True, precision=6), "postgresql")

OPERATIONS_EVENTS = """\
CREATE VIEW operations_events AS
SELECT 'captured' AS event,
captures.fetched_at AS happened_at,
captures.run_id AS run_id,
deliveries.table_name AS asset,
captures.partition_key AS partition_key,
captures.sha256 AS reference,
captures.url AS detail
FROM captures LEFT OUTER JOIN deliveries ON deliveries.group_id = captures.group_id
WHERE deliveries.replay_of IS NULL
UNION ALL
SELECT 'checked' AS event,
deliveries.recorded_at AS happened_at,
deliveries.run_id AS run_id,
deliveries.table_name AS asset,
deliveries.partition_key AS partition_key,
deliveries.group_id AS reference,
deliveries.outcome AS detail
FROM deliveries
WHERE deliveries.outcome != 'refused'
UNION ALL
SELECT deliveries.outcome AS event,
deliveries.recorded_at AS happened_at,
deliveries.run_id AS run_id,
deliveries.table_name AS asset,
deliveries.partition_key AS partition_key,
deliveries.group_id AS reference,
deliveries.source_version AS detail
FROM deliveries
WHERE deliveries.outcome IN ('held_back', 'refused')
UNION ALL
SELECT 'landed' AS event,
landings.landed_at AS happened_at,
landings.run_id AS run_id,
landings.table_name AS asset,
landings.partition_key AS partition_key,
landings.group_id AS reference,
landings.change_cause AS detail
FROM landings
UNION ALL
SELECT 'restated' AS event,
landings.landed_at AS happened_at,
landings.run_id AS run_id,
landings.table_name AS asset,
landings.partition_key AS partition_key,
landings.group_id AS reference,
landings.change_cause AS detail
FROM landings
WHERE landings.change_cause IN ('source', 'metadata')
UNION ALL
SELECT 'alerted' AS event,
operations_alerts.raised_at AS happened_at,
operations_alerts.run_id AS run_id,
operations_alerts.assets AS asset,
operations_alerts.partitions AS partition_key,
operations_alerts.alert_id AS reference,
operations_alerts.title AS detail
FROM operations_alerts
UNION ALL
SELECT 'recovered' AS event,
operations_alerts.ended_at AS happened_at,
operations_alerts.run_id AS run_id,
operations_alerts.assets AS asset,
operations_alerts.partitions AS partition_key,
operations_alerts.alert_id AS reference,
operations_alerts.title AS detail
FROM operations_alerts
WHERE operations_alerts.state = 'recovered'
UNION ALL
SELECT 'cleaned_up' AS event,
operations_removals.removed_at AS happened_at,
operations_removals.run_id AS run_id,
'' AS asset,
'' AS partition_key,
operations_removals.name AS reference,
operations_removals.kind AS detail
FROM operations_removals
"""

OPERATIONS_EVENTS_COMMENT = (
    "One row per event in the life of data: from the tables that hold it, and as long as they do."
)
OPERATIONS_EVENTS_COMMENTS = {
    "event": "What happened, one word; docs/events.md has all",
    "happened_at": "UTC time",
    "run_id": "Dagster run; NULL where there is none",
    "asset": "The table: the asset key, _ for /; of an alert a JSON list of keys; empty: of none",
    "partition_key": "Dagster's key of the partition; of an alert a JSON list; empty: of none",
    "reference": "SHA-256 of the bytes, group_id, alert_id or the name of an artifact",
    "detail": "The address, outcome, cause, title or kind",
}


def upgrade() -> None:
    """Create the table and the view; PostgreSQL also keeps what the view's columns hold."""
    op.create_table(
        "operations_removals",
        sa.Column(
            "name", TEXT, nullable=False, comment="The artifact, relative to the artifact store"
        ),
        sa.Column("removed_at", MOMENT, nullable=False, comment="UTC time"),
        sa.Column("kind", TEXT, nullable=False, comment="captured bytes, staged rows or picture"),
        sa.Column("byte_count", BIG_INTEGER, nullable=False, comment="Size as stored, bytes"),
        sa.Column(
            "put_at",
            MOMENT,
            nullable=False,
            comment="UTC time at which it was last put into the store",
        ),
        sa.Column("run_id", TEXT, nullable=False, comment="Dagster run"),
        sa.PrimaryKeyConstraint("name", "removed_at"),
        comment="One row per artifact that was cleaned up, recorded before it was deleted.",
        sqlite_with_rowid=False,
    )
    op.execute(OPERATIONS_EVENTS)
    if op.get_bind().dialect.name == "postgresql":
        _comment("VIEW operations_events", OPERATIONS_EVENTS_COMMENT)
        for column, comment in OPERATIONS_EVENTS_COMMENTS.items():
            _comment(f"COLUMN operations_events.{column}", comment)


def _comment(what: str, comment: str) -> None:
    quoted = comment.replace("'", "''")
    op.execute(f"COMMENT ON {what} IS '{quoted}'")


def downgrade() -> None:
    """Drop them."""
    op.execute("DROP VIEW operations_events")
    op.drop_table("operations_removals")
