"""Amend incremental sources."""

from orchestration_project.migrations.changes import ChangeComment, downgrade_by, upgrade_by

revision = "0082"
down_revision = "0081"

# fmt: off
CHANGES = [
    ChangeComment("dlt_states", None, "One row per load of an incremental dlt resource, written in the transaction of the load.", "One row per load of an incremental source, written in the transaction of the load."),
    ChangeComment("dlt_states", "table_name", "Table that the resource is loaded into", "Table that the source is loaded into"),
    ChangeComment("dlt_states", "state", "State of the resource after the load, as dlt stores it, a JSON object", "State of the source after the load, a JSON object; of dlt, as dlt stores it"),
]
# fmt: on


def upgrade() -> None:
    """Make the changes."""
    upgrade_by(CHANGES)


def downgrade() -> None:
    """Undo them."""
    downgrade_by(CHANGES)
