"""Webhook deliveries of all sources, as they were received: the tables of domain `events`.

What a source delivers first lies in the spine's `inbox`.
"""

from orchestration_project.tables.schema import count, history_of, index_loads, moment, table, text

events_webhooks = table(
    "events_webhooks",
    "One row per webhook delivery whose body is a JSON object.",
    text("source", "Name of the source in webhooks.yaml", key=True),
    text(
        "delivery_id",
        "Delivery ID of the sender, else sha256: and the digest of the body",
        key=True,
        from_senders=True,
    ),
    moment("received_at", "UTC time of the receipt"),
    text(
        "kind",
        "Event type in the sender's terms; NULL: no type",
        optional=True,
        from_senders=True,
    ),
    text(
        "payload",
        "Body as received, a JSON object; NULL: removed by WEBHOOK_BODY_DAYS or "
        "WEBHOOK_DEAD_BODY_DAYS",
        optional=True,
        from_senders=True,
    ),
    count("capture_id", "Capture that the row was read from"),
    moment("known_from", "UTC time from which the row is valid (system time)"),
)
events_webhooks_history = history_of(events_webhooks)
index_loads(events_webhooks, "source")
