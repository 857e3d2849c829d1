"""Rules of alerts: by which a channel is told, digests, and a view of all states of alerts."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

TEXT = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")
MOMENT = sa.DateTime().with_variant(postgresql.TIMESTAMP(timezone=True, precision=6), "postgresql")

NEW = (
    sa.Column("rule", TEXT, comment="Rule by which it is for the channel; NULL: from before rules"),
    sa.Column(
        "told_at",
        MOMENT,
        comment="Of told_before: UTC time at which the earlier alert was raised",
    ),
    sa.Column(
        "failed_at",
        MOMENT,
        comment="UTC time of the latest attempt in vain, or when given up",
    ),
    sa.Column(
        "digest_count",
        sa.BigInteger(),
        comment="Alerts in the message that the channel took, 1: just this; NULL: none yet, or unknown",
    ),
)

COMMENTS = {
    ("operations_alerts", "kind"): (
        "failed, held_back, job_failed, check, tick_failed, recovered or a notice's kind",
        "What is not well, recovered, or what a notice tells; docs/alerts.md has them",
    ),
    ("operations_alert_deliveries", "channel"): (
        "Scheme and place of the entry in ALERT_URLS, such as mailto-2",
        "Its name, such as ops, or mailto-2 for an entry of ALERT_URLS",
    ),
    ("operations_alert_deliveries", "state"): (
        "pending (also after attempts in vain), delivered or failed (given up)",
        "pending (also after attempts in vain), delivered, failed (given up) or told_before (too lately by an earlier alert to be told again)",
    ),
}
"""What the columns held before, and what they hold now."""

OPERATIONS_ALERT_STATES = """\
CREATE VIEW operations_alert_states AS
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
UNION ALL
SELECT operations_alerts.alert_id AS alert_id,
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
UNION ALL
SELECT operations_alerts.alert_id AS alert_id,
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
UNION ALL
SELECT operations_alert_deliveries.alert_id AS alert_id,
'waiting' AS state,
operations_alert_deliveries.channel AS channel,
operations_alert_deliveries.next_attempt_at AS happened_at,
operations_alert_deliveries.attempt_count AS times_count,
operations_alerts.severity AS severity,
operations_alerts.title AS title,
operations_alerts.link AS link,
operations_alert_deliveries.rule AS detail
FROM operations_alert_deliveries
JOIN operations_alerts ON operations_alerts.alert_id = operations_alert_deliveries.alert_id
WHERE operations_alert_deliveries.state = 'pending'
UNION ALL
SELECT operations_alert_deliveries.alert_id AS alert_id,
'delivered' AS state,
operations_alert_deliveries.channel AS channel,
operations_alert_deliveries.delivered_at AS happened_at,
CAST(1 AS BIGINT) AS times_count,
operations_alerts.severity AS severity,
operations_alerts.title AS title,
operations_alerts.link AS link,
operations_alert_deliveries.rule AS detail
FROM operations_alert_deliveries
JOIN operations_alerts ON operations_alerts.alert_id = operations_alert_deliveries.alert_id
WHERE operations_alert_deliveries.state = 'delivered'
UNION ALL
SELECT operations_alert_deliveries.alert_id AS alert_id,
'delivery_failed' AS state,
operations_alert_deliveries.channel AS channel,
operations_alert_deliveries.failed_at AS happened_at,
operations_alert_deliveries.attempt_count AS times_count,
operations_alerts.severity AS severity,
operations_alerts.title AS title,
operations_alerts.link AS link,
operations_alert_deliveries.last_error AS detail
FROM operations_alert_deliveries
JOIN operations_alerts ON operations_alerts.alert_id = operations_alert_deliveries.alert_id
WHERE operations_alert_deliveries.failed_at IS NOT NULL
"""

OPERATIONS_ALERT_STATES_COMMENT = (
    "One row per alert and state that it came to, and of deliveries per channel."
)
OPERATIONS_ALERT_STATES_COMMENTS = {
    "alert_id": "The alert",
    "state": "raised, repeated, recovered, replaced, waiting, delivered or delivery_failed",
    "channel": "Of deliveries: the channel; else empty",
    "happened_at": "UTC time, the latest one; of waiting when it is tried next",
    "times_count": "How often: repetitions within the window, attempts; else 1",
    "severity": "info, warning or error",
    "title": "One line",
    "link": "Where the UI shows it; NULL where nothing does",
    "detail": "Of a delivery that failed: why; of others its rule",
}


def upgrade() -> None:
    """Add the columns and the view; PostgreSQL also keeps what the view's columns hold."""
    for column in NEW:
        op.add_column("operations_alert_deliveries", column._copy())
    _comment_columns(1)
    op.execute(OPERATIONS_ALERT_STATES)
    if op.get_bind().dialect.name == "postgresql":
        _comment("VIEW operations_alert_states", OPERATIONS_ALERT_STATES_COMMENT)
        for column, comment in OPERATIONS_ALERT_STATES_COMMENTS.items():
            _comment(f"COLUMN operations_alert_states.{column}", comment)


def downgrade() -> None:
    """Drop them."""
    op.execute("DROP VIEW operations_alert_states")
    _comment_columns(0)
    for column in reversed(NEW):
        op.drop_column("operations_alert_deliveries", column.name)


def _comment_columns(which: int) -> None:
    if op.get_context().dialect.supports_comments:
        for (table, column), comments in COMMENTS.items():
            op.alter_column(table, column, comment=comments[which])


def _comment(what: str, comment: str) -> None:
    quoted = comment.replace("'", "''")
    op.execute(f"COMMENT ON {what} IS '{quoted}'")
