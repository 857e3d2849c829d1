"""Webhook deliveries of all sources, as they were received: the tables of domain `events`.

What a source delivers first lies in the spine's `inbox`.
"""

from orchestration_project.tables.schema import count, history_of, moment, table, text

events_webhooks = table(
    "events_webhooks",
    "One row per webhook delivery whose body is a JSON object.",
    text("source", "The source's name in webhooks.yaml", key=True),
    text(
        "delivery_id",
        "The sender's id; without one sha256: and the body's digest",
        key=True,
        from_senders=True,
    ),
    moment("received_at", "UTC time at which it came"),
    text(
        "kind",
        "What happened, in the sender's word; NULL where it has none",
        optional=True,
        from_senders=True,
    ),
    text("payload", "The JSON object, letter by letter as it came", from_senders=True),
    count("capture_id", "The capture that the row was read from"),
    moment("known_from", "UTC time from which we knew the row"),
)
events_webhooks_history = history_of(events_webhooks)
