"""Views of runs, alerts and events, as of version 0022."""

from orchestration_project.migrations.frozen import View

# fmt: off
OPERATIONS_VIEWS = [
    View("workflow_runs", "One row per run of operations_runs, in the words of other workflow systems.", {
        "run_id": "Dagster's run",
        "session_id": "What it was started in: a batch, a backfill, a tick, or else its first try",
        "workflow_name": "Its job; __ASSET_JOB for assets that were chosen by hand",
        "domain": "Tag domain; without one that of its assets or of its job's name",
        "partition_key": "Partition, or first...last of a range; NULL where there is none",
        "parameters": "Run config, JSON; secrets as ***",
        "status": "PENDING, RUNNING, COMPLETED, FAILED or CANCELLED",
        "created_at": "UTC time at which it was asked for",
        "started_at": "UTC time at which its process began",
        "completed_at": "UTC time at which it ended; NULL: it has not; of a DELETED one, when that was noticed",
        "duration_seconds": "From start to end, seconds",
        "rows_in": "Lines in what its deliveries fetched; 0 where it checked no delivery",
        "rows_landed": "Rows of what landed: new, changed and unchanged ones",
        "rows_rejected": "Lines refused by the contract, also of what was held back",
        "bytes_processed": "Size of what its deliveries fetched, as received, bytes",
        "triggered_by": "schedule, sensor, backfill or person",
        "trigger_name": "Which schedule, sensor or backfill; NULL for a person",
        "user_name": "Tag user; NULL where nobody is named",
        "error_category": "Of a failed or canceled run, one word; else NULL",
        "error_message": "What it failed with; NULL where it did not",
        "config_hash": "Tag config_hash; NULL where there is none",
        "retry_of": "The run that it tries again; NULL: a first try",
    }, """
SELECT operations_runs.run_id AS run_id,
operations_runs.session AS session_id,
operations_runs.job AS workflow_name,
operations_runs.domain AS domain,
operations_runs.partition_key AS partition_key,
operations_runs.params AS parameters,
CASE operations_runs.status WHEN 'NOT_STARTED' THEN 'PENDING' WHEN 'QUEUED' THEN 'PENDING' WHEN 'STARTING' THEN 'RUNNING' WHEN 'STARTED' THEN 'RUNNING' WHEN 'CANCELING' THEN 'RUNNING' WHEN 'SUCCESS' THEN 'COMPLETED' WHEN 'FAILURE' THEN 'FAILED' WHEN 'CANCELED' THEN 'CANCELLED' WHEN 'DELETED' THEN 'CANCELLED' ELSE operations_runs.status END AS status,
operations_runs.created_at AS created_at,
operations_runs.started_at AS started_at,
operations_runs.ended_at AS completed_at,
operations_runs.duration_seconds AS duration_seconds,
operations_runs.rows_in AS rows_in,
operations_runs.rows_landed AS rows_landed,
operations_runs.rows_rejected AS rows_rejected,
operations_runs.byte_count AS bytes_processed,
operations_runs.trigger_kind AS triggered_by,
operations_runs.trigger_name AS trigger_name,
operations_runs.user_name AS user_name,
operations_runs.error_category AS error_category,
operations_runs.error_message AS error_message,
operations_runs.config_hash AS config_hash,
operations_runs.retry_of AS retry_of
FROM operations_runs
"""),
    View("workflow_step_runs", "One row per step of operations_steps, in the words of other workflow systems.", {
        "run_id": "Dagster's run",
        "step_name": "Dagster's step",
        "workflow_name": "The run's job",
        "domain": "That of its assets; without any, the run's",
        "asset": "The first by name of its assets; NULL: it makes none",
        "status": "RUNNING, COMPLETED, FAILED or CANCELLED (also skipped)",
        "started_at": "UTC time; NULL: it never did",
        "completed_at": "UTC time; NULL: it has not",
        "duration_seconds": "From its start to its end, all attempts, seconds",
        "attempt_count": "Attempts begun",
        "rows_in": "Lines in what was fetched for its tables",
        "rows_landed": "Rows of what landed in its tables: new, changed and unchanged ones",
        "rows_rejected": "Lines refused by the contract, also of what was held back",
        "bytes_processed": "Size of what was fetched for its tables, as received, bytes",
        "quality_passed": "Whether all its checks of severity error passed; NULL: it evaluated none",
        "quality_metrics": "By check: passed, severity and its numbers, JSON",
        "error_category": "Of a failed step, one word; else NULL",
        "error_message": "What it failed with; NULL where it did not",
    }, """
SELECT operations_steps.run_id AS run_id,
operations_steps.step_key AS step_name,
operations_steps.job AS workflow_name,
operations_steps.domain AS domain,
operations_steps.asset AS asset,
CASE operations_steps.status WHEN 'IN_PROGRESS' THEN 'RUNNING' WHEN 'SUCCESS' THEN 'COMPLETED' WHEN 'FAILURE' THEN 'FAILED' WHEN 'SKIPPED' THEN 'CANCELLED' WHEN 'CANCELED' THEN 'CANCELLED' ELSE operations_steps.status END AS status,
operations_steps.started_at AS started_at,
operations_steps.ended_at AS completed_at,
operations_steps.duration_seconds AS duration_seconds,
operations_steps.attempt_count AS attempt_count,
operations_steps.rows_in AS rows_in,
operations_steps.rows_landed AS rows_landed,
operations_steps.rows_rejected AS rows_rejected,
operations_steps.byte_count AS bytes_processed,
operations_steps.quality_passed AS quality_passed,
operations_steps.quality_metrics AS quality_metrics,
operations_steps.error_category AS error_category,
operations_steps.error_message AS error_message
FROM operations_steps
"""),
    View("operations_sessions", "One row per session: the runs of one batch, one backfill or one tick, with their retries.", {
        "session": "The session",
        "domain": "The domain of its runs; of several, the first by name",
        "job": "Their job; of several, the first by name",
        "trigger_kind": "schedule, sensor, backfill or person",
        "trigger_name": "Which of them; NULL: a person",
        "user_name": "Who asked; NULL: nobody is named",
        "state": "PENDING, RUNNING, FAILED (and not tried again), CANCELLED or COMPLETED",
        "run_count": "Runs asked for so far, retries too",
        "pending_count": "Runs that wait to start",
        "running_count": "Runs under way",
        "success_count": "Runs that succeeded",
        "failure_count": "Runs that failed and were not tried again",
        "canceled_count": "Runs that were canceled, or gone before they ended",
        "retry_count": "Runs that tried another again",
        "progress_share": "Ended runs among those asked for so far",
        "created_at": "UTC time at which its first run was asked for",
        "ended_at": "UTC time of the latest end of a run",
        "changed_at": "UTC time of the latest change of a run",
        "busy_seconds": "Durations of its runs together, seconds",
        "rows_in": "Lines fetched",
        "rows_landed": "Rows landed: new, changed and unchanged ones",
        "rows_rejected": "Lines refused by the contract",
        "byte_count": "Size of what was fetched, bytes",
    }, """
SELECT operations_runs.session AS session,
min(operations_runs.domain) AS domain,
min(operations_runs.job) AS job,
min(operations_runs.trigger_kind) AS trigger_kind,
min(operations_runs.trigger_name) AS trigger_name,
min(operations_runs.user_name) AS user_name,
CASE WHEN (count(CASE WHEN (operations_runs.status IN ('STARTING', 'STARTED', 'CANCELING')) THEN 1 END) > 0) THEN 'RUNNING' WHEN (count(operations_runs.ended_at) = 0) THEN 'PENDING' WHEN (count(operations_runs.ended_at) < count(*)) THEN 'RUNNING' WHEN (count(CASE WHEN (operations_runs.status = 'FAILURE' AND NOT (EXISTS (SELECT * FROM operations_runs AS retries WHERE retries.retry_of = operations_runs.run_id))) THEN 1 END) > 0) THEN 'FAILED' WHEN (count(CASE WHEN (operations_runs.status IN ('CANCELED', 'DELETED')) THEN 1 END) > 0) THEN 'CANCELLED' ELSE 'COMPLETED' END AS state,
CAST(count(*) AS BIGINT) AS run_count,
CAST(count(CASE WHEN (operations_runs.status IN ('NOT_STARTED', 'QUEUED')) THEN 1 END) AS BIGINT) AS pending_count,
CAST(count(CASE WHEN (operations_runs.status IN ('STARTING', 'STARTED', 'CANCELING')) THEN 1 END) AS BIGINT) AS running_count,
CAST(count(CASE WHEN (operations_runs.status = 'SUCCESS') THEN 1 END) AS BIGINT) AS success_count,
CAST(count(CASE WHEN (operations_runs.status = 'FAILURE' AND NOT (EXISTS (SELECT * FROM operations_runs AS retries WHERE retries.retry_of = operations_runs.run_id))) THEN 1 END) AS BIGINT) AS failure_count,
CAST(count(CASE WHEN (operations_runs.status IN ('CANCELED', 'DELETED')) THEN 1 END) AS BIGINT) AS canceled_count,
CAST(count(CASE WHEN (operations_runs.retry_of IS NOT NULL) THEN 1 END) AS BIGINT) AS retry_count,
CAST(avg(CASE WHEN (operations_runs.ended_at IS NOT NULL) THEN 1.0 ELSE 0.0 END) AS DOUBLE PRECISION) AS progress_share,
min(operations_runs.created_at) AS created_at,
max(operations_runs.ended_at) AS ended_at,
max(operations_runs.changed_at) AS changed_at,
CAST(coalesce(sum(operations_runs.duration_seconds), 0) AS DOUBLE PRECISION) AS busy_seconds,
CAST(sum(operations_runs.rows_in) AS BIGINT) AS rows_in,
CAST(sum(operations_runs.rows_landed) AS BIGINT) AS rows_landed,
CAST(sum(operations_runs.rows_rejected) AS BIGINT) AS rows_rejected,
CAST(sum(operations_runs.byte_count) AS BIGINT) AS byte_count
FROM operations_runs
GROUP BY operations_runs.session
""", sqlite_sql="""
SELECT operations_runs.session AS session,
min(operations_runs.domain) AS domain,
min(operations_runs.job) AS job,
min(operations_runs.trigger_kind) AS trigger_kind,
min(operations_runs.trigger_name) AS trigger_name,
min(operations_runs.user_name) AS user_name,
CASE WHEN (count(CASE WHEN (operations_runs.status IN ('STARTING', 'STARTED', 'CANCELING')) THEN 1 END) > 0) THEN 'RUNNING' WHEN (count(operations_runs.ended_at) = 0) THEN 'PENDING' WHEN (count(operations_runs.ended_at) < count(*)) THEN 'RUNNING' WHEN (count(CASE WHEN (operations_runs.status = 'FAILURE' AND NOT (EXISTS (SELECT * FROM operations_runs AS retries WHERE retries.retry_of = operations_runs.run_id))) THEN 1 END) > 0) THEN 'FAILED' WHEN (count(CASE WHEN (operations_runs.status IN ('CANCELED', 'DELETED')) THEN 1 END) > 0) THEN 'CANCELLED' ELSE 'COMPLETED' END AS state,
CAST(count(*) AS BIGINT) AS run_count,
CAST(count(CASE WHEN (operations_runs.status IN ('NOT_STARTED', 'QUEUED')) THEN 1 END) AS BIGINT) AS pending_count,
CAST(count(CASE WHEN (operations_runs.status IN ('STARTING', 'STARTED', 'CANCELING')) THEN 1 END) AS BIGINT) AS running_count,
CAST(count(CASE WHEN (operations_runs.status = 'SUCCESS') THEN 1 END) AS BIGINT) AS success_count,
CAST(count(CASE WHEN (operations_runs.status = 'FAILURE' AND NOT (EXISTS (SELECT * FROM operations_runs AS retries WHERE retries.retry_of = operations_runs.run_id))) THEN 1 END) AS BIGINT) AS failure_count,
CAST(count(CASE WHEN (operations_runs.status IN ('CANCELED', 'DELETED')) THEN 1 END) AS BIGINT) AS canceled_count,
CAST(count(CASE WHEN (operations_runs.retry_of IS NOT NULL) THEN 1 END) AS BIGINT) AS retry_count,
CAST(avg(CASE WHEN (operations_runs.ended_at IS NOT NULL) THEN 1.0 ELSE 0.0 END) AS DOUBLE) AS progress_share,
min(operations_runs.created_at) AS created_at,
max(operations_runs.ended_at) AS ended_at,
max(operations_runs.changed_at) AS changed_at,
CAST(coalesce(sum(operations_runs.duration_seconds), 0) AS DOUBLE) AS busy_seconds,
CAST(sum(operations_runs.rows_in) AS BIGINT) AS rows_in,
CAST(sum(operations_runs.rows_landed) AS BIGINT) AS rows_landed,
CAST(sum(operations_runs.rows_rejected) AS BIGINT) AS rows_rejected,
CAST(sum(operations_runs.byte_count) AS BIGINT) AS byte_count
FROM operations_runs
GROUP BY operations_runs.session
"""),
    View("operations_alert_states", "One row per alert and state that it came to, and of deliveries per channel.", {
        "alert_id": "The alert",
        "state": "raised, repeated, recovered, replaced, waiting, delivered or delivery_failed",
        "channel": "Of deliveries: the channel; else empty",
        "happened_at": "UTC time, the latest one; of waiting when it is tried next",
        "times_count": "How often: repetitions within the window, attempts; else 1",
        "severity": "info, warning or error",
        "title": "One line",
        "link": "Where the UI shows it; NULL where nothing does",
        "detail": "Of a delivery that failed: why; of others its rule",
    }, """
SELECT operations_alerts.alert_id AS alert_id,
'raised' AS state,
'' AS channel,
operations_alerts.raised_at AS happened_at,
CAST(1 AS BIGINT) AS times_count,
operations_alerts.severity AS severity,
operations_alerts.title AS title,
operations_alerts.link AS link,
'' AS detail
FROM operations_alerts
UNION ALL SELECT operations_alerts.alert_id AS alert_id,
'repeated' AS state,
'' AS channel,
operations_alerts.repeated_at AS happened_at,
operations_alerts.repeated_count AS times_count,
operations_alerts.severity AS severity,
operations_alerts.title AS title,
operations_alerts.link AS link,
'' AS detail
FROM operations_alerts
WHERE operations_alerts.repeated_at IS NOT NULL
UNION ALL SELECT operations_alerts.alert_id AS alert_id,
operations_alerts.state AS state,
'' AS channel,
operations_alerts.ended_at AS happened_at,
CAST(1 AS BIGINT) AS times_count,
operations_alerts.severity AS severity,
operations_alerts.title AS title,
operations_alerts.link AS link,
'' AS detail
FROM operations_alerts
WHERE operations_alerts.ended_at IS NOT NULL
UNION ALL SELECT operations_alert_deliveries.alert_id AS alert_id,
'waiting' AS state,
operations_alert_deliveries.channel AS channel,
operations_alert_deliveries.next_attempt_at AS happened_at,
operations_alert_deliveries.attempt_count AS times_count,
operations_alerts.severity AS severity,
operations_alerts.title AS title,
operations_alerts.link AS link,
operations_alert_deliveries.rule AS detail
FROM operations_alert_deliveries JOIN operations_alerts ON operations_alerts.alert_id = operations_alert_deliveries.alert_id
WHERE operations_alert_deliveries.state = 'pending'
UNION ALL SELECT operations_alert_deliveries.alert_id AS alert_id,
'delivered' AS state,
operations_alert_deliveries.channel AS channel,
operations_alert_deliveries.delivered_at AS happened_at,
CAST(1 AS BIGINT) AS times_count,
operations_alerts.severity AS severity,
operations_alerts.title AS title,
operations_alerts.link AS link,
operations_alert_deliveries.rule AS detail
FROM operations_alert_deliveries JOIN operations_alerts ON operations_alerts.alert_id = operations_alert_deliveries.alert_id
WHERE operations_alert_deliveries.state = 'delivered'
UNION ALL SELECT operations_alert_deliveries.alert_id AS alert_id,
'delivery_failed' AS state,
operations_alert_deliveries.channel AS channel,
operations_alert_deliveries.failed_at AS happened_at,
operations_alert_deliveries.attempt_count AS times_count,
operations_alerts.severity AS severity,
operations_alerts.title AS title,
operations_alerts.link AS link,
operations_alert_deliveries.last_error AS detail
FROM operations_alert_deliveries JOIN operations_alerts ON operations_alerts.alert_id = operations_alert_deliveries.alert_id
WHERE operations_alert_deliveries.failed_at IS NOT NULL
"""),
    View("operations_events", "One row per event in the life of data: from the tables that hold it, and as long as they do.", {
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
"""),
]
