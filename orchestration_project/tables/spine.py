"""The tables that every domain shares: what was delivered, fetched, refused, audited and landed.

What grows with every delivery has an index for each way in which a load or a replay looks into it,
so that neither becomes slower with the years.
"""

from sqlalchemy import Index

from orchestration_project.tables.schema import count, moment, table, text

SOURCES = "Where from: demo, api, files, webhooks, alpha_vantage or yahoo"
PIECE = "What was asked for: Dagster's key of the partition; of prices the symbol"

inbox = table(
    "inbox",
    "One row per webhook delivery whose signature was right, stored before it is answered.",
    text("source", "The source's name in webhooks.yaml", key=True),
    text(
        "delivery_id",
        "The sender's id; without one sha256: and the body's digest",
        key=True,
        from_senders=True,
    ),
    text(
        "kind",
        "What happened, in the sender's word; NULL where it has none",
        optional=True,
        from_senders=True,
    ),
    text("body", "The bytes as they came, Base64"),
    text("headers", "What came with it, a JSON object; no secret, no signature", from_senders=True),
    text("sha256", "SHA-256 of the bytes as they came, hex"),
    count("byte_count", "Size as it came, bytes"),
    moment("received_at", "UTC time; no two rows of a process have the same"),
    text("state", "received, running, done, failed (it is tried again) or dead (it is not)"),
    count("attempt_count", "Runs that were made of it and ended"),
    count("allowed_count", "Attempts after which it is dead; a replay allows more"),
    text("run_id", "Dagster run of the latest attempt; NULL: none yet", optional=True),
    moment("changed_at", "UTC time at which state or run last changed"),
)

Index("inbox_by_state", inbox.c.state, inbox.c.source, inbox.c.received_at, inbox.c.delivery_id)

work_items = table(
    "work_items",
    "One row per item of work: a message, a document, an address; its state, attempts and lease.",
    text("topic", "What kind of work, such as webhooks/github", key=True),
    text("item_key", "The item among those of its topic", key=True, from_senders=True),
    text("version", "State of the item that is worked on; a new one replaces it"),
    text("state", "ready, leased, done, skipped, failed (it is retried) or dead (it is not)"),
    count("attempt_count", "Attempts at this version that ended"),
    count("allowed_count", "Attempts after which it is dead; a retry allows more"),
    moment("enqueued_at", "UTC time at which the version was enqueued; the order of the topic"),
    moment("due_at", "UTC time from which it may be claimed; of a ready item enqueued_at"),
    text("lease_holder", "Dagster run that has claimed it; NULL: none", optional=True),
    count("lease_token", "Rises with each claim and version; a settlement must still have it"),
    moment("expires_at", "UTC time from which another run may claim it", optional=True),
    text("input_sha256", "SHA-256 of the bytes of the version, hex", optional=True),
    text("result_version", "Version of the rules that made the latest result", optional=True),
    text("reason_code", "Kind of the latest failure or reject, one word", optional=True),
    text("reason", "The latest failure or reject, and what to do about it", optional=True),
    text("run_id", "Dagster run of the latest attempt; NULL: none yet", optional=True),
    moment("changed_at", "UTC time at which state or run last changed"),
)

Index(
    "work_items_by_due",
    work_items.c.topic,
    work_items.c.state,
    work_items.c.due_at,
    work_items.c.item_key,
)
Index("work_items_by_state", work_items.c.state, work_items.c.topic, work_items.c.item_key)

blobs = table(
    "blobs",
    "One row per distinct content that was ever fetched.",
    text("sha256", "SHA-256 of the bytes as received, hex", key=True),
    count("byte_count", "Size as received, bytes"),
    count("stored_byte_count", "Size as stored (zstd), bytes"),
    text("storage_uri", "Where the bytes lie, relative to the artifact store"),
    moment("stored_at", "UTC time at which the bytes were first recorded"),
)

captures = table(
    "captures",
    "One row per fetch and delivery made of it: the same bytes fetched twice are one blob.",
    count("capture_id", "First 63 bits of the SHA-256 of group and part", key=True),
    text("sha256", "The blob"),
    text("source", SOURCES),
    text("dataset", "The source's name of the dataset"),
    text("partition_key", PIECE),
    count("part_number", "Place in the group, from 1"),
    text("group_id", "The fetches that make one delivery of a partition"),
    text("url", "Address or file, without secrets"),
    text("request", "What was asked, JSON"),
    text("response_headers", "What the source said of the bytes, JSON"),
    count("http_status", "HTTP status; NULL for a file", optional=True),
    count("row_count", "Data lines in the bytes; NULL where they could not be read", optional=True),
    moment("fetched_at", "UTC time at which the last byte came"),
    text("run_id", "Dagster run that fetched it"),
)

Index("captures_by_group", captures.c.group_id, captures.c.part_number)
Index("captures_by_sha256", captures.c.sha256)
Index("captures_by_time", captures.c.fetched_at, captures.c.capture_id)

deliveries = table(
    "deliveries",
    "One row per delivery of a partition: what was read of its captures, and what came of it.",
    text("group_id", "The delivery", key=True),
    text("table_name", "The table that it was meant for", key=True),
    text("partition_key", PIECE),
    text("source", SOURCES),
    text("dataset", "The source's name of the dataset"),
    text("source_version", "What tells this state of the source from another"),
    count("record_total", "Rows that the source promised; NULL: it promises none", optional=True),
    text("scope", "The part of the partition for which it is complete, JSON; {}: all of it"),
    count("part_count", "Captures that make it up, parts 1 to this; 0: never read whole"),
    text("outcome", "landed, held_back (by an audit) or refused (not to be checked)"),
    text("replay_of", "Of a replay: the delivery that was fetched", optional=True),
    text("rule_version", "Version of our rules"),
    text("run_id", "Dagster run that checked it"),
    moment("recorded_at", "UTC time"),
    text("write_disposition", "How it is written: replace_scope, merge, append", optional=True),
)

Index("deliveries_by_partition", deliveries.c.table_name, deliveries.c.partition_key)
Index("deliveries_by_run", deliveries.c.run_id)

rejects = table(
    "rejects",
    "One row per source line that broke the contract.",
    count("capture_id", "The capture that holds the line", key=True),
    text("table_name", "The table that refused it", key=True),
    count("line_number", "Line in the capture, from 1, the header included", key=True),
    count("byte_offset", "Where the line starts in the capture, bytes from 0"),
    text(
        "record",
        "The line; bytes outside printable ASCII as backslash escapes",
        from_senders=True,
    ),
    text("reason_code", "The rule that it broke, one word"),
    text("reason", "The rule that it broke, a sentence"),
    text("run_id", "Dagster run"),
    moment("rejected_at", "UTC time"),
)

audits = table(
    "audits",
    "One row per delivery of a partition and audit; a failed one of severity error held it back.",
    text("group_id", "The delivery", key=True),
    text("table_name", "The table that it was meant for", key=True),
    text("name", "The audit", key=True),
    text("partition_key", PIECE),
    text("severity", "error (blocks) or warning"),
    text("outcome", "passed, failed or not_applicable"),
    text("expected", "What the audit asks for"),
    text("found", "What came"),
    text("offenders", "The first 20 offenders, a JSON list"),
    text("run_id", "Dagster run"),
    moment("audited_at", "UTC time"),
)

Index("audits_by_name", audits.c.table_name, audits.c.name, audits.c.audited_at)

landings = table(
    "landings",
    "One row per transaction that brought a delivery into a table.",
    text("group_id", "The delivery", key=True),
    text("table_name", "The table", key=True),
    text("scope", "The part of the table for which the delivery is complete"),
    text("partition_key", PIECE),
    text("source", SOURCES),
    text("source_version", "What tells this state of the source from another"),
    text("content_sha256", "SHA-256 over the landed values, hex"),
    count("rows_added", "Rows whose key is new"),
    count("rows_changed", "Rows with other values under the same key"),
    count("rows_removed", "Rows that the delivery no longer has"),
    count("rows_unchanged", "Rows that stayed as they were"),
    count("rows_rejected", "Source lines refused by the contract"),
    text("change_cause", "first, more (days of a range), source, metadata, ours or none"),
    text("rule_version", "Version of our rules"),
    text("run_id", "Dagster run"),
    moment("landed_at", "UTC time; known_from of the rows that it wrote"),
)

Index(
    "landings_by_partition", landings.c.table_name, landings.c.partition_key, landings.c.landed_at
)

pending_announcements = table(
    "pending_announcements",
    "One row per load that Dagster is not known to have an event of: what that event announces.",
    text("table_name", "The table", key=True),
    text("partition_key", "Dagster's key of the partition", key=True),
    moment("landed_at", "UTC time; known_from of the rows that it wrote", key=True),
    text("group_id", "The delivery"),
    text("change_cause", "first, more (days of a range), source, metadata, ours or none"),
    text("sentence", "What the load changed, in words; blank: nothing"),
    text("figures", "What the load changed, in figures, JSON; null: the dataset has none"),
    text("run_id", "Dagster run that loaded it"),
    internal=True,
)

fences = table(
    "fences",
    "One row per table and coarsest scope: its lock, its token, and its current state.",
    text("table_name", "The table", key=True),
    text("scope_key", "The coarsest scope, such as T1|2025-11-10", key=True),
    count("token", "Deliveries recorded so far; one that saw an older token cannot commit"),
    moment("known_from", "The latest known_from handed out; the next one is later"),
    text("source_version", "Source's state in the latest audited delivery", optional=True),
    moment("landed_at", "landed_at of the latest landing; NULL: nothing landed", optional=True),
    text("landed_source", "source of the latest landing", optional=True),
    text("landed_source_version", "source_version of the latest landing", optional=True),
    text("landed_content_sha256", "content_sha256 of the latest landing", optional=True),
    text("landed_rule_version", "rule_version of the latest landing", optional=True),
    text("landed_scope", "scope of the latest landing", optional=True),
    text("landed_run_id", "run_id of the latest landing", optional=True),
    moment("first_landed_at", "landed_at of the first landing", optional=True),
    count("changed_token", "Token of the latest landing with new values or rules", optional=True),
    text("audited_group_id", "group_id of the latest delivery that has audits", optional=True),
    internal=True,
)

outbox = table(
    "outbox",
    "One row per thing that is to be done outside: one per entity and version of the intention.",
    text("topic", "From where to where, such as peopleforce>jira", key=True),
    text("entity", "What it is about, such as task|42", key=True),
    count("version_number", "From 1, rises with each intention for the entity", key=True),
    text("payload", "What is intended, a JSON object"),
    text("cause", "Why, one word: source, rules, target or replay"),
    text("state", "waiting, done, superseded (by a later version), or dead (it was refused)"),
    count("attempt_count", "Times that it was tried in vain"),
    text("reason", "Why the latest try was in vain; NULL: none was", optional=True),
    moment("planned_at", "UTC time"),
    moment("due_at", "UTC time before which it is not tried"),
    moment("changed_at", "UTC time at which state or reason last changed"),
    text("run_id", "Dagster run that changed it last"),
    internal=True,
)

Index("outbox_by_state", outbox.c.topic, outbox.c.state, outbox.c.due_at, outbox.c.entity)

leases = table(
    "leases",
    "One row per thing that one process at a time works on: who does, and until when.",
    text("name", "The thing, such as peopleforce>jira|task|42", key=True),
    text("holder", "Dagster run that took it last; empty: it gave it back"),
    count("token", "Rises with each taking; what is recorded of the work must still have it"),
    moment("expires_at", "UTC time from which another may take it"),
    internal=True,
)

database_labels = table(
    "database_labels",
    "What this database holds, so that made-up data never mixes with real data.",
    text("name", "Name of the label", key=True),
    text("value", "Its value, such as demo or real", optional=False),
)

source_fields = table(
    "source_fields",
    "One row per dataset, field and period in which a source listed it in one type.",
    text("source", "Where from: demo or api", key=True),
    text("dataset", "The source's name of the dataset", key=True),
    text("field_name", "The field, exact to the byte", key=True),
    moment(
        "first_seen_at", "UTC time of the first look that found the field in this type", key=True
    ),
    text("field_type", "Its type in the source's words"),
    moment("last_seen_at", "UTC time of the last look that did"),
    moment(
        "gone_at",
        "UTC time of the first look that did not any more; NULL: it is there",
        optional=True,
    ),
)
