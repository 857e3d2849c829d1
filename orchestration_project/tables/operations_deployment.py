"""Tables of the deployment: the hosts that run programs, and the backups."""

from orchestration_project.tables.schema import count, moment, table, text

operations_hosts = table(
    "operations_hosts",
    "One row per host and role of a program there: its release and last heartbeat.",
    text("host", "Host name", key=True),
    text("role", "Role: gateway, daemon, code_server, bridge or worker", key=True),
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
