"""Add states of incremental dlt resources."""

from orchestration_project.migrations.changes import CreateTable, downgrade_by, upgrade_by
from orchestration_project.migrations.frozen import Column, Table

revision = "0075"
down_revision = "0074"

# fmt: off
CHANGES = [
    CreateTable(Table("dlt_states", "One row per load of an incremental dlt resource, written in the transaction of the load.", [
        Column("table_name", "text", "Table that the resource is loaded into", key=True),
        Column("state_number", "bigint", "Number of the state, from 1; the load before has one less", key=True),
        Column("partition_key", "text", "Partition that was loaded"),
        Column("state", "text", "State of the resource after the load, as dlt stores it, a JSON object"),
        Column("run_id", "text", "Dagster run of the load"),
        Column("saved_at", "timestamp", "UTC time of the load"),
    ])),
]
# fmt: on


def upgrade() -> None:
    """Make the changes."""
    upgrade_by(CHANGES)


def downgrade() -> None:
    """Undo them."""
    downgrade_by(CHANGES)
