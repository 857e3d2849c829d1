"""Add trace lookups."""

from orchestration_project.migrations.changes import (
    AddColumn,
    CreateIndex,
    downgrade_by,
    upgrade_by,
)
from orchestration_project.migrations.frozen import Column, Index

revision = "0049"
down_revision = "0048"

# fmt: off
CHANGES = [
    AddColumn("inbox", Column("trace_id", "text", "W3C trace ID, 32 hex digits; NULL: no trace", optional=True)),
    AddColumn("inbox", Column("span_id", "text", "W3C span ID of the delivery, 16 hex digits; NULL: no trace", optional=True)),
    CreateIndex("inbox", Index("inbox_by_trace", ["trace_id"])),
    CreateIndex("landings", Index("landings_by_run", ["run_id"])),
    CreateIndex("access_audit", Index("access_audit_by_trace", ["trace_id"])),
    AddColumn("operations_alerts", Column("trace_id", "text", "W3C trace ID, 32 hex digits; NULL: no trace", optional=True)),
    CreateIndex("operations_alerts", Index("operations_alerts_by_trace", ["trace_id"])),
    CreateIndex("operations_runs", Index("operations_runs_by_trace", ["trace_id"])),
]
# fmt: on


def upgrade() -> None:
    """Make the changes."""
    upgrade_by(CHANGES)


def downgrade() -> None:
    """Undo them."""
    downgrade_by(CHANGES)
