"""Add balances."""

from orchestration_project.migrations.changes import CreateTable, downgrade_by, upgrade_by
from orchestration_project.migrations.frozen import Column, Index, Table

revision = "0070"
down_revision = "0069"

# fmt: off
CHANGES = [
    CreateTable(Table("balances", "One row per equation of a stage: what came in, and where all of it went.", [
        Column("table_name", "text", "Table of the subject; empty: of no table", key=True),
        Column("subject", "text", "Delivery, run or work item that the numbers are of", key=True),
        Column("equation", "text", "Name of the equation, such as records", key=True),
        Column("came_in", "bigint", "Number that came in, counted apart from what it became; NULL: not counted", optional=True),
        Column("went_to", "text", "Numbers by the place where they went, a JSON object"),
        Column("state", "text", "State: balanced, unbalanced or not_counted"),
        Column("run_id", "text", "Dagster run"),
        Column("recorded_at", "timestamp", "UTC time at which the stage ended"),
    ], indexes=[
        Index("balances_by_run", ["run_id"]),
        Index("balances_by_state", ["state", "recorded_at"]),
    ])),
]
# fmt: on


def upgrade() -> None:
    """Make the changes."""
    upgrade_by(CHANGES)


def downgrade() -> None:
    """Undo them."""
    downgrade_by(CHANGES)
