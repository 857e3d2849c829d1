"""Tables of the deployment: hosts, backups and damaged artifacts."""

from sqlalchemy import Index

from orchestration_project.tables.schema import count, moment, table, text

operations_hosts = table(
    "operations_hosts",
    "One row per host and role of a program there: its release and last heartbeat.",
    text("host", "Host name; of a run in a pod of its own: the node", key=True),
    text(
        "role",
        "Role: gateway, daemon, code_server, bridge, worker or its name, or run",
        key=True,
    ),
    text("release", "Version of the program"),
    text("tables_version", "Version of the tables that the program needs"),
    moment("started_at", "UTC time at which the program started"),
    moment("last_seen_at", "UTC time of its last heartbeat"),
    moment("stopped_at", "UTC time at which it stopped; NULL: it did not", optional=True),
    count("cores", "CPU cores"),
    count("memory_bytes", "Memory, bytes"),
    count("disk_bytes", "Size of the disk of STATE_DIR, bytes"),
    count("disk_free_bytes", "Free space of that disk, bytes"),
)

operations_backups = table(
    "operations_backups",
    "One row per complete backup of this installation.",
    text("backup_id", "Backup ID: UTC time of its start and 8 hex digits", key=True),
    text("location", "Folder or URL that it was stored in, without secrets"),
    moment("started_at", "UTC time at which it started"),
    moment("ended_at", "UTC time at which its manifest was stored"),
    text("release", "Version of the program that made it"),
    count("database_bytes", "Size of both databases in the backup, bytes"),
    count("blob_count", "Artifacts in the backup"),
    count("blob_bytes", "Size of these artifacts, bytes"),
    count("missing_count", "Artifacts that the database names and the store lacked"),
    text("manifest_sha256", "SHA-256 of the manifest, hex"),
    moment(
        "verified_at",
        "UTC time of the latest restore with --check that found it whole; NULL: none",
        optional=True,
    ),
)

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
