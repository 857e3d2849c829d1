"""Add weather."""

from orchestration_project.migrations.changes import CreateView, DropView, downgrade_by, upgrade_by
from orchestration_project.migrations.frozen import View

revision = "0031"
down_revision = "0030"

# fmt: off
CHANGES = [
    DropView(View("operations_events", "One row per event in the life of data: from the tables that hold it, and as long as they do.", {
        "event": "What happened, one word; docs/events.md has all",
        "happened_at": "UTC time",
        "run_id": "Dagster run; NULL where there is none",
        "asset": "The table: the asset key, _ for /; of an alert a JSON list of keys; empty: of none",
        "partition_key": "Dagster's key of the partition; of an alert a JSON list; empty: of none",
        "reference": "SHA-256 of the bytes, group_id, alert_id or the name of an artifact",
        "detail": "The address, outcome, cause, title or kind",
    }, """
SELECT 'captured' AS event,
captures.fetched_at AS happened_at,
captures.run_id AS run_id,
deliveries.table_name AS asset,
captures.partition_key AS partition_key,
captures.sha256 AS reference,
captures.url AS detail
FROM captures LEFT OUTER JOIN deliveries ON deliveries.group_id = captures.group_id
WHERE deliveries.replay_of IS NULL
UNION ALL SELECT 'checked' AS event,
deliveries.recorded_at AS happened_at,
deliveries.run_id AS run_id,
deliveries.table_name AS asset,
deliveries.partition_key AS partition_key,
deliveries.group_id AS reference,
deliveries.outcome AS detail
FROM deliveries
WHERE deliveries.outcome != 'refused'
UNION ALL SELECT deliveries.outcome AS event,
deliveries.recorded_at AS happened_at,
deliveries.run_id AS run_id,
deliveries.table_name AS asset,
deliveries.partition_key AS partition_key,
deliveries.group_id AS reference,
deliveries.source_version AS detail
FROM deliveries
WHERE deliveries.outcome IN ('held_back', 'refused')
UNION ALL SELECT 'landed' AS event,
landings.landed_at AS happened_at,
landings.run_id AS run_id,
landings.table_name AS asset,
landings.partition_key AS partition_key,
landings.group_id AS reference,
landings.change_cause AS detail
FROM landings
UNION ALL SELECT 'restated' AS event,
landings.landed_at AS happened_at,
landings.run_id AS run_id,
landings.table_name AS asset,
landings.partition_key AS partition_key,
landings.group_id AS reference,
landings.change_cause AS detail
FROM landings
WHERE landings.change_cause IN ('source', 'metadata')
UNION ALL SELECT 'alerted' AS event,
operations_alerts.raised_at AS happened_at,
operations_alerts.run_id AS run_id,
operations_alerts.assets AS asset,
operations_alerts.partitions AS partition_key,
operations_alerts.alert_id AS reference,
operations_alerts.title AS detail
FROM operations_alerts
UNION ALL SELECT 'recovered' AS event,
operations_alerts.ended_at AS happened_at,
operations_alerts.run_id AS run_id,
operations_alerts.assets AS asset,
operations_alerts.partitions AS partition_key,
operations_alerts.alert_id AS reference,
operations_alerts.title AS detail
FROM operations_alerts
WHERE operations_alerts.state = 'recovered'
UNION ALL SELECT 'cleaned_up' AS event,
operations_removals.removed_at AS happened_at,
operations_removals.run_id AS run_id,
'' AS asset,
'' AS partition_key,
operations_removals.name AS reference,
operations_removals.kind AS detail
FROM operations_removals
""")),
    CreateView(View("operations_events", "One row per event in the life of data: from the tables that hold it, and as long as they do.", {
        "event": "What happened, one word: a key of EVENTS",
        "happened_at": "UTC time",
        "run_id": "Dagster run; NULL where there is none",
        "asset": "The table: the asset key, _ for /; of an alert a JSON list of keys; empty: of none",
        "partition_key": "Dagster's key of the partition; of an alert a JSON list; empty: of none",
        "reference": "SHA-256 of the bytes, group_id, alert_id or the name of an artifact",
        "detail": "The address, outcome, cause, title or kind",
    }, """
SELECT 'captured' AS event,
captures.fetched_at AS happened_at,
captures.run_id AS run_id,
deliveries.table_name AS asset,
captures.partition_key AS partition_key,
captures.sha256 AS reference,
captures.url AS detail
FROM captures LEFT OUTER JOIN deliveries ON deliveries.group_id = captures.group_id
WHERE deliveries.replay_of IS NULL
UNION ALL SELECT 'checked' AS event,
deliveries.recorded_at AS happened_at,
deliveries.run_id AS run_id,
deliveries.table_name AS asset,
deliveries.partition_key AS partition_key,
deliveries.group_id AS reference,
deliveries.outcome AS detail
FROM deliveries
WHERE deliveries.outcome != 'refused'
UNION ALL SELECT deliveries.outcome AS event,
deliveries.recorded_at AS happened_at,
deliveries.run_id AS run_id,
deliveries.table_name AS asset,
deliveries.partition_key AS partition_key,
deliveries.group_id AS reference,
deliveries.source_version AS detail
FROM deliveries
WHERE deliveries.outcome IN ('held_back', 'refused')
UNION ALL SELECT 'landed' AS event,
landings.landed_at AS happened_at,
landings.run_id AS run_id,
landings.table_name AS asset,
landings.partition_key AS partition_key,
landings.group_id AS reference,
landings.change_cause AS detail
FROM landings
UNION ALL SELECT 'restated' AS event,
landings.landed_at AS happened_at,
landings.run_id AS run_id,
landings.table_name AS asset,
landings.partition_key AS partition_key,
landings.group_id AS reference,
landings.change_cause AS detail
FROM landings
WHERE landings.change_cause IN ('source', 'metadata')
UNION ALL SELECT 'alerted' AS event,
operations_alerts.raised_at AS happened_at,
operations_alerts.run_id AS run_id,
operations_alerts.assets AS asset,
operations_alerts.partitions AS partition_key,
operations_alerts.alert_id AS reference,
operations_alerts.title AS detail
FROM operations_alerts
UNION ALL SELECT 'recovered' AS event,
operations_alerts.ended_at AS happened_at,
operations_alerts.run_id AS run_id,
operations_alerts.assets AS asset,
operations_alerts.partitions AS partition_key,
operations_alerts.alert_id AS reference,
operations_alerts.title AS detail
FROM operations_alerts
WHERE operations_alerts.state = 'recovered'
UNION ALL SELECT 'cleaned_up' AS event,
operations_removals.removed_at AS happened_at,
operations_removals.run_id AS run_id,
'' AS asset,
'' AS partition_key,
operations_removals.name AS reference,
operations_removals.kind AS detail
FROM operations_removals
""")),
]
# fmt: on


def upgrade() -> None:
    """Make the changes."""
    upgrade_by(CHANGES)


def downgrade() -> None:
    """Undo them."""
    downgrade_by(CHANGES)
