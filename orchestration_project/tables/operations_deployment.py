"""Tables of the deployment: hosts, backups, readiness of dependencies, verified settings."""

from orchestration_project.tables.schema import count, moment, ratio, table, text

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

operations_readiness = table(
    "operations_readiness",
    "One row per dependency and machine: the latest result of its probe.",
    text("dependency", "Dependency, such as finra, database, artifacts or disk", key=True),
    text("machine", "Host name of the machine that probed it", key=True),
    text(
        "outcome",
        "Outcome: passed, failed or not_applicable",
        values=("passed", "failed", "not_applicable"),
    ),
    text("tried", "Action of the probe"),
    text("got", "Result of the probe, without secrets"),
    text("remedy", "Remedy; empty: nothing to do"),
    ratio("seconds", "Duration of the probe, seconds"),
    moment("checked_at", "UTC time of the probe"),
    text("config_hash", "Hash of the settings of the probe"),
    text("run_id", "Dagster run that probed it; empty: a command did"),
    moment(
        "forced_at",
        "UTC time at which a run last continued despite the failure; NULL: never",
        optional=True,
    ),
    text("forced_run_id", "Run that continued; NULL: none", optional=True),
)

operations_verified_configs = table(
    "operations_verified_configs",
    "One row per configuration whose verification found every dependency ready.",
    text("config_hash", "First 64 bits of the SHA-256 of the setting values, hex", key=True),
    text("entries", "Setting values without secrets, a JSON object by name: value and origin"),
    moment("verified_at", "UTC time of the latest verification"),
    text("run_id", "Dagster run of the latest verification"),
)
