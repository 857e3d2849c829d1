"""Erasures of persons and documents: what was erased, and what is requested."""

from orchestration_project.tables.schema import count, moment, table, text

operations_erasures = table(
    "operations_erasures",
    "One row per erasure of a person or document, without what identified it.",
    text("erasure_id", "ID of the request", key=True),
    text("kind", "Kind of the subject, such as saas/person"),
    text("salt", "Salt of identifier_hash, hex"),
    text("identifier_hash", "scrypt of the identifier with the salt, hex"),
    count("rows_deleted", "Rows deleted, of all tables"),
    count("rows_masked", "Rows in which the identifier was masked, of all tables"),
    count("captures_deleted", "Captures deleted, as no row of another subject needs them"),
    count("captures_redacted", "Captures whose bytes were replaced by redacted ones"),
    count("artifacts_deleted", "Other artifacts deleted, such as staged rows and pictures"),
    count("files_changed", "Files of STATE_DIR, and tables of Dagster, that were changed"),
    text("tables", "Rows deleted and masked by table, JSON"),
    text("not_reached", "Places that the erasure does not reach, a JSON list of sentences"),
    text("user_name", "User who requested it"),
    text("reason", "Reason that the user gave"),
    moment("requested_at", "UTC time of the request"),
    moment("erased_at", "UTC time at which all rows and bytes were erased"),
    moment(
        "cleaned_at",
        "UTC time at which freed pages of the databases were overwritten; NULL: not yet",
        optional=True,
    ),
    text("run_id", "Dagster run"),
)

operations_erasure_requests = table(
    "operations_erasure_requests",
    "One row per requested erasure, deleted at its end: run config has only its ID.",
    text("request_id", "ID of the request", key=True),
    text("kind", "Kind of the subject, such as saas/person"),
    text(
        "identifiers",
        "Identifiers of the subject, a JSON list; NULL: erased, pages are being overwritten",
        optional=True,
        secret=True,
    ),
    text("user_name", "User who requested it"),
    text("reason", "Reason that the user gave"),
    moment("requested_at", "UTC time of the request"),
    internal=True,
)
