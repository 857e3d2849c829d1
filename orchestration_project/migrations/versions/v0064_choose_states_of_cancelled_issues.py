"""Choose states of cancelled issues."""

from orchestration_project.migrations.changes import AddColumn, downgrade_by, upgrade_by
from orchestration_project.migrations.frozen import Column

revision = "0064"
down_revision = "0063"

# fmt: off
CHANGES = [
    AddColumn("saas_routing_rules", Column("cancelled_issue", "text", "State of the task of an issue in a status such as Cancelled; NULL: completed", optional=True)),
    AddColumn("saas_routing_rules", Column("completed_task", "text", "State of the issue of a completed task; NULL: done", optional=True)),
]
# fmt: on


def upgrade() -> None:
    """Make the changes."""
    upgrade_by(CHANGES)


def downgrade() -> None:
    """Undo them."""
    downgrade_by(CHANGES)
