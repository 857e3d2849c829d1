"""Tables of damaged artifacts, and of the cursors of the second artifact store."""

from sqlalchemy import Index

from orchestration_project.tables.schema import count, moment, table, text

operations_damaged_artifacts = table(
    "operations_damaged_artifacts",
    "One row per artifact that was found damaged, with how it was repaired or what is lost.",
    text("name", "Path of the artifact in the artifact store when it was found", key=True),
    text("sha256", "SHA-256 of the bytes that it must have, hex", key=True),
    text("problem", "Problem: missing, truncated, changed or unreadable"),
    text("state", "State: damaged, repaired, rederived (equal rows in other bytes) or lost"),
    text(
        "repaired_from",
        "Origin of the repair: second_store, source or derived; NULL: not repaired, or found whole",
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

operations_artifact_copies = table(
    "operations_artifact_copies",
    "One row per second artifact store and kind of rows that it follows: how far it is a copy.",
    text("url", "Folder or URL of the second store, without secrets", key=True),
    text("kind", "Followed rows: blobs, exports or removals", key=True),
    moment("followed_until", "UTC time up to which the rows were followed"),
    count("object_count", "Objects copied so far; of removals, deleted"),
    count("byte_count", "Their size as stored, bytes"),
    moment("changed_at", "UTC time of the latest change"),
    text("run_id", "Dagster run of the latest change"),
)
