"""Describe hosts of runs."""

from orchestration_project.migrations.changes import ChangeComment, downgrade_by, upgrade_by

revision = "0083"
down_revision = "0082"

# fmt: off
CHANGES = [
    ChangeComment("operations_hosts", "host", "Host name", "Host name; of a run in a pod of its own: the node"),
    ChangeComment("operations_hosts", "role", "Role: gateway, daemon, code_server, bridge or worker", "Role: gateway, daemon, code_server, bridge, worker or its name, or run"),
]
# fmt: on


def upgrade() -> None:
    """Make the changes."""
    upgrade_by(CHANGES)


def downgrade() -> None:
    """Undo them."""
    downgrade_by(CHANGES)
