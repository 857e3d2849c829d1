"""Exports that were rendered and delivered to their targets: a table of domain `operations`."""

from orchestration_project.tables.schema import count, moment, table, text

operations_exports = table(
    "operations_exports",
    "One row per scheduled export and load: what was written, and where it was delivered to.",
    text("name", "Name of the export in exports.yaml", key=True),
    moment("to_load", "landed_at of the latest load that it contains", key=True),
    text("definition_sha256", "SHA-256 of the export's declaration, hex", key=True),
    moment(
        "from_load",
        "to_load of the export before; only later changes are contained; NULL: all rows",
        optional=True,
    ),
    text("table_name", "Exported table or view"),
    text("condition", "Conditions of the rows, a JSON list"),
    text("format", "Format: csv, ndjson or parquet"),
    text("target", "Name of the target in exports.yaml"),
    count("row_count", "Exported rows"),
    count("byte_count", "Size of the file, bytes"),
    text("sha256", "SHA-256 of the file, hex"),
    text("artifact", "Name of the file in the artifact store"),
    text("uri", "Place at the target, without secrets; NULL: not delivered yet", optional=True),
    text("run_id", "Dagster run of the latest attempt"),
    moment("rendered_at", "UTC time at which the file was written"),
    moment("delivered_at", "UTC time of the delivery; NULL: not delivered yet", optional=True),
)
