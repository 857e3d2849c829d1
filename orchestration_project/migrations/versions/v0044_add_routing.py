"""Add routing."""

from orchestration_project.migrations.changes import CreateTable, downgrade_by, upgrade_by
from orchestration_project.migrations.frozen import Column, Index, Table

revision = "0044"
down_revision = "0043"

# fmt: off
CHANGES = [
    CreateTable(Table("events_routing_rules", "One row per version of a routing rule from webhook deliveries to actions; all matches apply.", [
        Column("rule_id", "text", "Name of the rule", key=True),
        Column("version_number", "bigint", "Version of the rule, from 1, incremented by each edit", key=True),
        Column("source", "text", "Source in webhooks.yaml"),
        Column("kind", "text", "Kind of the deliveries; NULL: all", optional=True),
        Column("conditions", "text", "Conditions on a delivery, a JSON list; []: matches every delivery"),
        Column("action", "text", "Action, such as http_request"),
        Column("target", "text", "Target of the action in webhooks.yaml"),
        Column("mappings", "text", "Mappings of the target's fields, a JSON list"),
        Column("is_active", "boolean", "Whether the version is in effect; at most one version of a rule is"),
        Column("edited_by", "text", "User who wrote this version"),
        Column("edited_at", "timestamp", "UTC time at which the version was written"),
        Column("ended_by", "text", "User who ended this version; NULL: in effect", optional=True),
        Column("ended_at", "timestamp", "UTC time at which the version ended; NULL: in effect", optional=True),
    ])),
    CreateTable(Table("events_routed", "One row per delivery and rule that matched it: its action and outcome.", [
        Column("source", "text", "Source in webhooks.yaml", key=True),
        Column("delivery_id", "text", "ID of the delivery", key=True),
        Column("rule_id", "text", "Name of the rule", key=True),
        Column("version_number", "bigint", "Version of the rule that planned the action last"),
        Column("action", "text", "Action, such as http_request"),
        Column("target", "text", "Target of the action in webhooks.yaml"),
        Column("outcome", "text", "Outcome: waiting (in the outbox), done or dead (a dead letter)"),
        Column("attempt_count", "bigint", "Failed attempts of the latest intention"),
        Column("idempotency_key", "text", "Key that the target gets, equal for all attempts"),
        Column("intention_number", "bigint", "Versions of the intention in the outbox; 0: never planned"),
        Column("fields", "text", "Values of the target's fields, a JSON object"),
        Column("hops", "text", "Rules that the data went through, this one last, a JSON list"),
        Column("progress", "text", "Facts that were found before a request, JSON; NULL: none", optional=True),
        Column("result", "text", "Result at the target, such as a key or run ID; NULL: none", optional=True),
        Column("reason", "text", "Reason of the latest failure; NULL: none", optional=True),
        Column("planned_at", "timestamp", "UTC time at which the rule matched"),
        Column("changed_at", "timestamp", "UTC time of the latest change"),
        Column("run_id", "text", "Dagster run of the latest change"),
    ], indexes=[
        Index("events_routed_by_outcome", ["outcome", "changed_at"]),
        Index("events_routed_by_rule", ["rule_id", "planned_at"]),
    ])),
    CreateTable(Table("events_routing_dead_letters", "One row per action that could not be planned, or that its target refused.", [
        Column("source", "text", "Source in webhooks.yaml", key=True),
        Column("delivery_id", "text", "ID of the delivery", key=True),
        Column("rule_id", "text", "Name of the rule", key=True),
        Column("letter_number", "bigint", "Number of the letter, from 1 per delivery and rule", key=True),
        Column("version_number", "bigint", "Version of the rule"),
        Column("action", "text", "Action, such as http_request"),
        Column("target", "text", "Target of the action in webhooks.yaml"),
        Column("stage", "text", "Stage: plan (loop, mapping or type) or apply (refused by the target)"),
        Column("reason_code", "text", "Kind of the refusal, one word, such as wrong_type"),
        Column("reason", "text", "Refusal in words"),
        Column("failed_at", "timestamp", "UTC time of the refusal"),
        Column("ended_at", "timestamp", "UTC time of its replay; NULL: not replayed", optional=True),
        Column("run_id", "text", "Dagster run of the refusal"),
    ], indexes=[
        Index("events_routing_dead_letters_by_end", ["ended_at", "failed_at"]),
    ])),
    CreateTable(Table("events_routed_rows", "One row per row that the action row wrote into a table declared in webhooks.yaml.", [
        Column("table_name", "text", "Name of the declared table", key=True),
        Column("row_key", "text", "Idempotency key of the action", key=True),
        Column("source", "text", "Source in webhooks.yaml"),
        Column("delivery_id", "text", "ID of the delivery"),
        Column("rule_id", "text", "Name of the rule"),
        Column("data", "text", "Values by column, a JSON object"),
        Column("written_at", "timestamp", "UTC time at which it was written"),
        Column("run_id", "text", "Dagster run that wrote it"),
    ], indexes=[
        Index("events_routed_rows_by_delivery", ["source", "delivery_id"]),
        Index("events_routed_rows_by_time", ["table_name", "written_at"]),
    ])),
]
# fmt: on


def upgrade() -> None:
    """Make the changes."""
    upgrade_by(CHANGES)


def downgrade() -> None:
    """Undo them."""
    downgrade_by(CHANGES)
