"""Add plugins."""

from orchestration_project.migrations.changes import CreateTable, downgrade_by, upgrade_by
from orchestration_project.migrations.frozen import Column, Index, Table

revision = "0052"
down_revision = "0051"

# fmt: off
CHANGES = [
    CreateTable(Table("plugins", "One row per plugin that was added: its version and state.", [
        Column("id", "text", "ID in plugin.yaml", key=True),
        Column("version", "text", "Semantic version in plugin.yaml"),
        Column("sha256", "text", "SHA-256 of the canonical archive, hex"),
        Column("publisher", "text", "Publisher in plugin.yaml"),
        Column("kind", "text", "Kind: source, report or action"),
        Column("state", "text", "State: added, granted, enabled, disabled or refused"),
        Column("share", "double", "Share of partitions that it runs for, 0 to 1, by a hash of asset and partition"),
        Column("listed_keys", "text", "Partitions that it always runs for, a JSON list"),
        Column("manifest", "text", "Checked plugin.yaml, a JSON object"),
        Column("is_signed", "boolean", "Whether a trusted publisher signed it"),
        Column("granted_number", "bigint", "Current row of plugins_grants; NULL: no grant", optional=True),
        Column("reason", "text", "Why it is disabled or refused; NULL: it is neither", optional=True),
        Column("version_number", "bigint", "Number of its latest change, from 1"),
        Column("changed_by", "text", "User, or the part of the project, of the latest change"),
        Column("changed_at", "timestamp", "UTC time of the latest change"),
    ])),
    CreateTable(Table("plugins_versions", "One row per change of a plugin; rows are added and never changed.", [
        Column("id", "text", "ID of the plugin", key=True),
        Column("version_number", "bigint", "Number of the change, from 1 per plugin", key=True),
        Column("action", "text", "Change: add, grant, enable, disable, refuse or remove"),
        Column("definition", "text", "The plugin as of this change, a JSON object"),
        Column("edited_by", "text", "User, or the part of the project, of the change"),
        Column("edited_at", "timestamp", "UTC time of the change"),
        Column("run_id", "text", "Dagster run of the change; NULL: no run", optional=True),
    ])),
    CreateTable(Table("plugins_grants", "One row per grant of permissions to a plugin.", [
        Column("plugin", "text", "ID of the plugin", key=True),
        Column("number", "bigint", "Number of the grant, from 1 per plugin", key=True),
        Column("version", "text", "Version of the plugin that it was granted to"),
        Column("sha256", "text", "SHA-256 of the canonical archive that it was granted to, hex"),
        Column("permissions", "text", "Granted permissions, a JSON object as in plugin.yaml"),
        Column("budget", "text", "Granted limits of a run, a JSON object as in plugin.yaml"),
        Column("folders", "text", "Folder of the host by name in plugin.yaml, a JSON object"),
        Column("granted_by", "text", "User of the grant"),
        Column("granted_at", "timestamp", "UTC time of the grant"),
        Column("is_current", "boolean", "Whether it is in effect; at most one grant of a plugin is"),
    ])),
    CreateTable(Table("plugins_publishers", "One row per publisher whose signatures are or were trusted.", [
        Column("publisher", "text", "Name in plugin.yaml", key=True),
        Column("public_key", "text", "Ed25519 public key, Base64"),
        Column("state", "text", "State: trusted or revoked"),
        Column("changed_by", "text", "User of the latest change"),
        Column("changed_at", "timestamp", "UTC time of the latest change"),
    ])),
    CreateTable(Table("plugins_rows", "One row per row that a plugin emitted: its key and payload.", [
        Column("plugin", "text", "ID of the plugin", key=True),
        Column("table_name", "text", "Name of the row set in plugin.yaml", key=True),
        Column("partition_key", "text", "Partition of the run; empty: the plugin has none", key=True),
        Column("row_key", "text", "Key of the row, unique in its row set and partition", key=True),
        Column("payload", "text", "Values, canonical JSON"),
        Column("capture_id", "bigint", "Capture that the row was read from"),
        Column("known_from", "timestamp", "UTC time from which the row is valid (system time)"),
    ])),
    CreateTable(Table("plugins_rows_history", "One row per earlier state of a row of plugins_rows, valid from known_from to known_to.", [
        Column("plugin", "text", "ID of the plugin", key=True),
        Column("table_name", "text", "Name of the row set in plugin.yaml", key=True),
        Column("partition_key", "text", "Partition of the run; empty: the plugin has none", key=True),
        Column("row_key", "text", "Key of the row, unique in its row set and partition", key=True),
        Column("payload", "text", "Values, canonical JSON"),
        Column("capture_id", "bigint", "Capture that the row was read from"),
        Column("known_from", "timestamp", "UTC time from which the row is valid (system time)", key=True),
        Column("known_to", "timestamp", "UTC time at which the row was replaced or removed (system time)"),
        Column("change_cause", "text", "Cause: source (other values), metadata (other dates only) or ours (new rules)"),
        Column("rule_version", "text", "Version of the rules that produced the next row"),
    ])),
    CreateTable(Table("plugins_calls", "One row per call of a plugin to the host.", [
        Column("run_id", "text", "Dagster run, or ID of the request of an endpoint", key=True),
        Column("number", "bigint", "Number of the call, from 1 per run", key=True),
        Column("plugin", "text", "ID of the plugin"),
        Column("kind", "text", "Kind: fetch, read, emit, publish, act, page or endpoint"),
        Column("target", "text", "URL without query and secrets, or name of what was called"),
        Column("verdict", "text", "Verdict: allowed, refused or failed"),
        Column("bytes", "bigint", "Size of the answer, or of what was sent, bytes"),
        Column("seconds", "double", "Duration, seconds"),
        Column("at", "timestamp", "UTC time of the call"),
    ], indexes=[
        Index("plugins_calls_by_plugin", ["plugin", "at"]),
    ])),
    CreateTable(Table("plugins_violations", "One row per refused call of a plugin.", [
        Column("run_id", "text", "Dagster run, or ID of the request of an endpoint", key=True),
        Column("number", "bigint", "Number of the violation, from 1 per run", key=True),
        Column("plugin", "text", "ID of the plugin"),
        Column("permission", "text", "Permission that the plugin lacks, such as hosts, or exceeded limit"),
        Column("what", "text", "Call that was refused, without secrets"),
        Column("at", "timestamp", "UTC time of the violation"),
    ], indexes=[
        Index("plugins_violations_by_plugin", ["plugin", "at"]),
    ])),
]
# fmt: on


def upgrade() -> None:
    """Make the changes."""
    upgrade_by(CHANGES)


def downgrade() -> None:
    """Undo them."""
    downgrade_by(CHANGES)
