"""Plugins: their state and every change of it, grants, publishers, rows, calls and violations."""

from sqlalchemy import Index

from orchestration_project.tables.schema import (
    ASSET,
    count,
    flag,
    history_of,
    moment,
    ratio,
    table,
    text,
)

plugins = table(
    "plugins",
    "One row per plugin that was added: its version and state.",
    text("id", "ID in plugin.yaml", key=True),
    text("version", "Semantic version in plugin.yaml"),
    text("sha256", "SHA-256 of the canonical archive, hex"),
    text("publisher", "Publisher in plugin.yaml"),
    text("kind", "Kind: source, report or action", values=("source", "report", "action")),
    text(
        "state",
        "State: added, granted, enabled, disabled or refused",
        values=("added", "granted", "enabled", "disabled", "refused"),
    ),
    ratio(
        "share", "Share of partitions that it runs for, 0 to 1, by a hash of asset and partition"
    ),
    text("listed_keys", "Partitions that it always runs for, a JSON list"),
    text("manifest", "Checked plugin.yaml, a JSON object"),
    flag("is_signed", "Whether a trusted publisher signed it"),
    count("granted_number", "Current row of plugins_grants; NULL: no grant", optional=True),
    text("reason", "Why it is disabled or refused; NULL: it is neither", optional=True),
    count("version_number", "Number of its latest change, from 1"),
    text("changed_by", "User, or the part of the project, of the latest change"),
    moment("changed_at", "UTC time of the latest change"),
)

plugins.info[ASSET] = "plugins/list"

plugins_versions = table(
    "plugins_versions",
    "One row per change of a plugin; rows are added and never changed.",
    text("id", "ID of the plugin", key=True),
    count("version_number", "Number of the change, from 1 per plugin", key=True),
    text(
        "action",
        "Change: add, grant, enable, disable, refuse or remove",
        values=("add", "grant", "enable", "disable", "refuse", "remove"),
    ),
    text("definition", "The plugin as of this change, a JSON object"),
    text("edited_by", "User, or the part of the project, of the change"),
    moment("edited_at", "UTC time of the change"),
    text("run_id", "Dagster run of the change; NULL: no run", optional=True),
)

plugins_grants = table(
    "plugins_grants",
    "One row per grant of permissions to a plugin.",
    text("plugin", "ID of the plugin", key=True),
    count("number", "Number of the grant, from 1 per plugin", key=True),
    text("version", "Version of the plugin that it was granted to"),
    text("sha256", "SHA-256 of the canonical archive that it was granted to, hex"),
    text("permissions", "Granted permissions, a JSON object as in plugin.yaml"),
    text("budget", "Granted limits of a run, a JSON object as in plugin.yaml"),
    text("folders", "Folder of the host by name in plugin.yaml, a JSON object"),
    text("granted_by", "User of the grant"),
    moment("granted_at", "UTC time of the grant"),
    flag("is_current", "Whether it is in effect; at most one grant of a plugin is"),
)

plugins_publishers = table(
    "plugins_publishers",
    "One row per publisher whose signatures are or were trusted.",
    text("publisher", "Name in plugin.yaml", key=True),
    text("public_key", "Ed25519 public key, Base64"),
    text("state", "State: trusted or revoked", values=("trusted", "revoked")),
    text("changed_by", "User of the latest change"),
    moment("changed_at", "UTC time of the latest change"),
)

plugins_rows = table(
    "plugins_rows",
    "One row per row that a plugin emitted: its key and payload.",
    text("plugin", "ID of the plugin", key=True),
    text("table_name", "Name of the row set in plugin.yaml", key=True),
    text("partition_key", "Partition of the run; empty: the plugin has none", key=True),
    text(
        "row_key",
        "Key of the row, unique in its row set and partition",
        key=True,
        from_senders=True,
    ),
    text("payload", "Values, canonical JSON", from_senders=True),
    count("capture_id", "Capture that the row was read from"),
    moment("known_from", "UTC time from which the row is valid (system time)"),
)

plugins_rows_history = history_of(plugins_rows)

plugins_calls = table(
    "plugins_calls",
    "One row per call of a plugin to the host.",
    text("run_id", "Dagster run, or ID of the request of an endpoint", key=True),
    count("number", "Number of the call, from 1 per run", key=True),
    text("plugin", "ID of the plugin"),
    text(
        "kind",
        "Kind: fetch, read, emit, publish, act, page or endpoint",
        values=("fetch", "read", "emit", "publish", "act", "page", "endpoint"),
    ),
    text("target", "URL without query and secrets, or name of what was called", from_senders=True),
    text("verdict", "Verdict: allowed, refused or failed", values=("allowed", "refused", "failed")),
    count("bytes", "Size of the answer, or of what was sent, bytes"),
    ratio("seconds", "Duration, seconds"),
    moment("at", "UTC time of the call"),
)

Index("plugins_calls_by_plugin", plugins_calls.c.plugin, plugins_calls.c.at)

plugins_violations = table(
    "plugins_violations",
    "One row per refused call of a plugin.",
    text("run_id", "Dagster run, or ID of the request of an endpoint", key=True),
    count("number", "Number of the violation, from 1 per run", key=True),
    text("plugin", "ID of the plugin"),
    text("permission", "Permission that the plugin lacks, such as hosts, or exceeded limit"),
    text("what", "Call that was refused, without secrets", from_senders=True),
    moment("at", "UTC time of the violation"),
)

Index("plugins_violations_by_plugin", plugins_violations.c.plugin, plugins_violations.c.at)
