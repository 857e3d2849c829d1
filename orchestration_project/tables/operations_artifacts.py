"""Tables of artifacts: deleted and damaged ones, and the files of scheduled exports."""

from sqlalchemy import Index

from orchestration_project.tables.schema import count, moment, table, text

operations_removals = table(
    "operations_removals",
    "One row per deleted artifact, recorded before the deletion.",
    text("name", "Path of the artifact, relative to the artifact store", key=True),
    moment("removed_at", "UTC time of the deletion", key=True),
    text("kind", "Kind of the artifact: captured bytes, staged rows or picture"),
    count("byte_count", "Size as stored, bytes"),
    moment("put_at", "UTC time at which it was last written to the store"),
    text("run_id", "Dagster run"),
)

Index("operations_removals_by_time", operations_removals.c.removed_at)

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
    text("format", "Format: csv, ndjson or parquet", values=("csv", "ndjson", "parquet")),
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

Index("operations_exports_by_time", operations_exports.c.rendered_at)

operations_damaged_artifacts = table(
    "operations_damaged_artifacts",
    "One row per artifact that was found damaged, with how it was repaired or what is lost.",
    text("name", "Path of the artifact in the artifact store when it was found", key=True),
    text("sha256", "SHA-256 of the bytes that it must have, hex", key=True),
    text("problem", "Problem: missing, truncated, changed or unreadable"),
    text("state", "State: damaged, repaired, rederived (equal rows in other bytes) or lost"),
    text(
        "repaired_from",
        "Origin of the repair: copy, source or derived; NULL: not repaired, or found whole",
        optional=True,
    ),
    text("reason", "Findings of the latest repair; NULL: none yet", optional=True),
    text("loss", "What is lost, sentences; NULL: it is not lost", optional=True),
    count("attempt_count", "Repairs that were tried"),
    moment("found_at", "UTC time at which it was last found damaged"),
    moment("changed_at", "UTC time of the latest change of state"),
    text("run_id", "Dagster run of the latest change"),
)

Index("operations_damaged_artifacts_by_state", operations_damaged_artifacts.c.state)
