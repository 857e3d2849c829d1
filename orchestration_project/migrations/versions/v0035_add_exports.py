"""Add exports."""

from orchestration_project.migrations.changes import CreateTable, downgrade_by, upgrade_by
from orchestration_project.migrations.frozen import Column, Table

revision = "0035"
down_revision = "0034"

# fmt: off
CHANGES = [
    CreateTable(Table("operations_exports", "One row per scheduled export and load: what was written, and where it was delivered to.", [
        Column("name", "text", "Name of the export in exports.yaml", key=True),
        Column("to_load", "timestamp", "landed_at of the latest load that it contains", key=True),
        Column("definition_sha256", "text", "SHA-256 of the export's declaration, hex", key=True),
        Column("from_load", "timestamp", "to_load of the export before; only later changes are contained; NULL: all rows", optional=True),
        Column("table_name", "text", "Exported table or view"),
        Column("condition", "text", "Conditions of the rows, a JSON list"),
        Column("format", "text", "Format: csv, ndjson or parquet"),
        Column("target", "text", "Name of the target in exports.yaml"),
        Column("row_count", "bigint", "Exported rows"),
        Column("byte_count", "bigint", "Size of the file, bytes"),
        Column("sha256", "text", "SHA-256 of the file, hex"),
        Column("artifact", "text", "Name of the file in the artifact store"),
        Column("uri", "text", "Place at the target, without secrets; NULL: not delivered yet", optional=True),
        Column("run_id", "text", "Dagster run of the latest attempt"),
        Column("rendered_at", "timestamp", "UTC time at which the file was written"),
        Column("delivered_at", "timestamp", "UTC time of the delivery; NULL: not delivered yet", optional=True),
    ])),
]
# fmt: on


def upgrade() -> None:
    """Make the changes."""
    upgrade_by(CHANGES)


def downgrade() -> None:
    """Undo them."""
    downgrade_by(CHANGES)
