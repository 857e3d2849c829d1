"""Add topics of bridges."""

from orchestration_project.migrations.changes import RebuildTable, downgrade_by, upgrade_by
from orchestration_project.migrations.frozen import Column, Table

revision = "0045"
down_revision = "0044"

# fmt: off
CHANGES = [
    RebuildTable(Table("mqtt_bridges", "One row per broker: the state of its bridge.", [
        Column("broker", "text", "Broker: host and port", key=True),
        Column("holder", "text", "Process of the bridge: host and process ID"),
        Column("connected_since", "timestamp", "UTC time of the connection; NULL: not connected", optional=True),
        Column("last_message_at", "timestamp", "UTC time of the latest message; NULL: none", optional=True),
        Column("receive_maximum", "bigint", "Messages that the broker sends without an acknowledgement"),
        Column("backlog_count", "bigint", "Messages that were received and are not stored yet"),
        Column("message_count", "bigint", "Messages that were stored, all connections together"),
        Column("session_lost_at", "timestamp", "UTC time from which messages may be missing, as the broker had lost the session; NULL: never", optional=True),
        Column("problem", "text", "Why it is not connected; NULL: it is", optional=True),
        Column("changed_at", "timestamp", "UTC time of the latest change"),
    ]), Table("mqtt_bridges", "One row per broker: the state of its bridge.", [
        Column("broker", "text", "Broker: host and port", key=True),
        Column("holder", "text", "Process of the bridge: host and process ID"),
        Column("connected_since", "timestamp", "UTC time of the connection; NULL: not connected", optional=True),
        Column("last_message_at", "timestamp", "UTC time of the latest message; NULL: none", optional=True),
        Column("receive_maximum", "bigint", "Messages that the broker sends without an acknowledgement"),
        Column("backlog_count", "bigint", "Messages that were received and are not stored yet"),
        Column("message_count", "bigint", "Messages that were stored, all connections together"),
        Column("session_lost_at", "timestamp", "UTC time from which messages may be missing, as the broker had lost the session; NULL: never", optional=True),
        Column("problem", "text", "Why it is not connected; NULL: it is", optional=True),
        Column("topics", "text", "Topic filters that the broker's session may have, separated by commas; NULL: not known", optional=True),
        Column("changed_at", "timestamp", "UTC time of the latest change"),
    ])),
]
# fmt: on


def upgrade() -> None:
    """Make the changes."""
    upgrade_by(CHANGES)


def downgrade() -> None:
    """Undo them."""
    downgrade_by(CHANGES)
