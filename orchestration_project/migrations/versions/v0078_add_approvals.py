"""Add requests of actions that need a second person."""

from orchestration_project.migrations.changes import CreateTable, downgrade_by, upgrade_by
from orchestration_project.migrations.frozen import Column, Index, Table

revision = "0078"
down_revision = "0077"

# fmt: off
CHANGES = [
    CreateTable(Table("access_approvals", "One row per request of an action that needs a second person, with its decision.", [
        Column("approval_id", "text", "ID of the request, hex", key=True),
        Column("action", "text", "Action: erase, accept or grant"),
        Column("parameters", "text", "Exact parameters of the action, a JSON object"),
        Column("sha256", "text", "SHA-256 of action, parameters and reason, hex"),
        Column("reason", "text", "Reason of the action in words; empty: none was given"),
        Column("state", "text", "State: unclaimed, requested, confirmed, refused or used"),
        Column("requested_by", "text", "User who requested it; NULL: not claimed", optional=True),
        Column("requested_at", "timestamp", "UTC time of the request"),
        Column("expires_at", "timestamp", "UTC time from which it is invalid"),
        Column("decided_by", "text", "User who confirmed or refused it; NULL: no decision", optional=True),
        Column("decided_at", "timestamp", "UTC time of the decision; NULL: no decision", optional=True),
        Column("decision_reason", "text", "Reason of a refusal; NULL: not refused", optional=True),
        Column("used_by", "text", "Run, backfill or erasure in which it took effect; NULL: none", optional=True),
        Column("used_at", "timestamp", "UTC time at which it took effect; NULL: it did not", optional=True),
    ], indexes=[
        Index("access_approvals_by_sha256", ["sha256"]),
    ])),
]
# fmt: on


def upgrade() -> None:
    """Make the changes."""
    upgrade_by(CHANGES)


def downgrade() -> None:
    """Undo them."""
    downgrade_by(CHANGES)
