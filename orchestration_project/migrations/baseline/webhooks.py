"""Webhook deliveries as events, as of version 0022."""

from orchestration_project.migrations.frozen import Column, Table

# fmt: off
WEBHOOKS = [
    Table("events_webhooks", "One row per webhook delivery whose body is a JSON object.", [
        Column("source", "text", "The source's name in webhooks.yaml", key=True),
        Column("delivery_id", "text", "The sender's id; without one sha256: and the body's digest", key=True),
        Column("received_at", "timestamp", "UTC time at which it came"),
        Column("kind", "text", "What happened, in the sender's word; NULL where it has none", optional=True),
        Column("payload", "text", "The JSON object, letter by letter as it came"),
        Column("capture_id", "bigint", "The capture that the row was read from"),
        Column("known_from", "timestamp", "UTC time from which we knew the row"),
    ]),
    Table("events_webhooks_history", "One row per earlier state of a row of events_webhooks: true from known_from to known_to.", [
        Column("source", "text", "The source's name in webhooks.yaml", key=True),
        Column("delivery_id", "text", "The sender's id; without one sha256: and the body's digest", key=True),
        Column("received_at", "timestamp", "UTC time at which it came"),
        Column("kind", "text", "What happened, in the sender's word; NULL where it has none", optional=True),
        Column("payload", "text", "The JSON object, letter by letter as it came"),
        Column("capture_id", "bigint", "The capture that the row was read from"),
        Column("known_from", "timestamp", "UTC time from which we knew the row", key=True),
        Column("known_to", "timestamp", "UTC time at which the row was replaced or removed"),
        Column("change_cause", "text", "Why: source (values), metadata (only its dates), ours (our rules)"),
        Column("rule_version", "text", "Version of our rules that made the row that followed"),
    ]),
]
