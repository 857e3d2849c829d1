"""The tables that every domain shares: what was delivered, fetched, refused, audited and loaded.

What grows with every delivery has an index for each way in which a load or a replay looks into it,
so that neither becomes slower with the years.
"""

from collections.abc import Mapping

from sqlalchemy import Index, and_, func

from orchestration_project.tables.schema import (
    BYTEWISE_TEXT,
    count,
    day,
    flag,
    moment,
    table,
    text,
    trace_id,
)
from orchestration_project.tables.views import ViewColumn, as_it_is, labelled, view

SOURCES = "Source: demo, api, files, webhooks, alpha_vantage or yahoo"
PIECE = "Partition key of Dagster; for prices, the symbol"

inbox = table(
    "inbox",
    "One row per webhook delivery with a valid signature, stored before the response.",
    text("source", "Name of the source in webhooks.yaml", key=True),
    text(
        "delivery_id",
        "Delivery ID of the sender, else sha256: and the digest of the body",
        key=True,
        from_senders=True,
    ),
    text(
        "kind",
        "Event type in the sender's terms; NULL: no type",
        optional=True,
        from_senders=True,
    ),
    text(
        "body",
        "Body as received, Base64; NULL: in events_webhooks.payload, or removed by "
        "WEBHOOK_BODY_DAYS or WEBHOOK_DEAD_BODY_DAYS",
        optional=True,
    ),
    text("headers", "Headers without secrets and signatures, a JSON object", from_senders=True),
    text("sha256", "SHA-256 of the body as received, hex"),
    count("byte_count", "Size of the body as received, bytes"),
    moment("received_at", "UTC time of the receipt, unique among the rows of a process"),
    trace_id(),
    text("span_id", "W3C span ID of the delivery, 16 hex digits; NULL: no trace", optional=True),
)

Index("inbox_by_source", inbox.c.source, inbox.c.received_at, inbox.c.delivery_id)
Index("inbox_by_trace", inbox.c.trace_id)

uploads = table(
    "uploads",
    "One row per file that was uploaded to an inbox: its bytes are a blob, its name is data.",
    text("inbox", "Name of the inbox in inboxes.yaml", key=True),
    text("upload_id", "First 128 bits of the SHA-256 of sha256 and file_name, hex", key=True),
    text("file_name", "Name of the file as the sender gave it", from_senders=True),
    text("content_type", "Media type as the sender gave it", from_senders=True),
    text("sha256", "SHA-256 of the bytes, hex"),
    count("byte_count", "Size, bytes"),
    text("user_name", "Owner of the key", from_senders=True),
    moment("received_at", "UTC time at which the file was complete"),
    count("capture_id", "Capture of the bytes"),
)

Index("uploads_by_sha256", uploads.c.sha256)

upload_refusals = table(
    "upload_refusals",
    "One row per file that an inbox refused over HTTP, by sender and status; its bytes are gone.",
    text("refusal_id", "First 128 bits of the SHA-256 of inbox, user, name and status", key=True),
    text("inbox", "Name of the inbox in inboxes.yaml"),
    text("file_name", "Name of the file as the sender gave it", from_senders=True),
    text("user_name", "Owner of the key", from_senders=True),
    count("status", "HTTP status of the answer, such as 413"),
    text("reason", "Reason in words"),
    text("expected", "Files that the inbox accepts, in words; empty: see the reason"),
    count("byte_count", "Size that the request named, bytes; NULL: none", optional=True),
    count("attempt_count", "Requests that were refused so"),
    moment("first_refused_at", "UTC time of the first refusal"),
    moment("refused_at", "UTC time of the latest refusal"),
)

Index("upload_refusals_by_user", upload_refusals.c.user_name, upload_refusals.c.refused_at)

work_items = table(
    "work_items",
    "One row per work item, such as a message or a document: its state, attempts and lease.",
    text("topic", "Topic: kind of work, such as webhooks/github", key=True),
    text("item_key", "Key of the item, unique in its topic", key=True, from_senders=True),
    text("version", "Version of the item that is processed; a new one replaces it"),
    text(
        "state",
        "State: ready, leased, done, skipped, failed (it is retried) or dead (it is not)",
        values=("ready", "leased", "done", "skipped", "failed", "dead"),
    ),
    count("attempt_count", "Ended attempts at this version"),
    count("allowed_count", "Attempts after which the state is dead; a retry allows more"),
    moment(
        "enqueued_at",
        "UTC time at which the version was enqueued; items of a topic are processed in its order",
    ),
    moment("due_at", "UTC time from which it may be claimed; for a ready item, enqueued_at"),
    text("lease_holder", "Dagster run that has claimed the item; NULL: none", optional=True),
    count(
        "lease_token",
        "Fencing token, incremented with each claim and version; a settlement needs the "
        "current one",
    ),
    moment(
        "expires_at",
        "UTC time from which another run may claim the item; NULL: not leased",
        optional=True,
    ),
    text("input_sha256", "SHA-256 of the version's bytes, hex; NULL: unknown", optional=True),
    text(
        "result_version",
        "Version of the rules of the latest result; NULL: no result",
        optional=True,
    ),
    text(
        "reason_code", "Kind of the latest failure or reject, one word; NULL: none", optional=True
    ),
    text("reason", "Latest failure or reject, with its remedy; NULL: none", optional=True),
    text("run_id", "Dagster run of the latest attempt; NULL: none yet", optional=True),
    moment("changed_at", "UTC time of the latest change of state or run"),
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
    "One row per distinct content that was fetched.",
    text("sha256", "SHA-256 of the bytes as received, hex", key=True),
    count("byte_count", "Size as received, bytes"),
    count("stored_byte_count", "Size as stored (zstd), bytes"),
    text("storage_uri", "Path of the bytes, relative to the artifact store"),
    moment("stored_at", "UTC time at which the bytes were recorded at this path"),
    count("byte_offset", "Start in a pack, bytes; NULL: an object of its own", optional=True),
)


captures = table(
    "captures",
    "One row per fetch of a delivery; equal bytes share one blob.",
    count("capture_id", "First 63 bits of the SHA-256 of group and part", key=True),
    text("sha256", "SHA-256 of the blob"),
    text("source", SOURCES),
    text("dataset", "Name of the dataset in the source"),
    text("partition_key", PIECE),
    count("part_number", "Number of the part in its group, from 1"),
    text("group_id", "Delivery: ID of the fetches that it consists of"),
    text("url", "URL or file, without secrets"),
    text("request", "Request, JSON"),
    text("response_headers", "Headers of the response, JSON"),
    count("http_status", "HTTP status; NULL for a file", optional=True),
    count("row_count", "Data lines in the bytes; NULL: unreadable", optional=True),
    moment("fetched_at", "UTC time at which the last byte was received"),
    text("run_id", "Dagster run that fetched it"),
    trace_id(),
    moment(
        "erased_at",
        "UTC time at which an erasure replaced the bytes by redacted ones; NULL: as received",
        optional=True,
    ),
)

Index("captures_by_group", captures.c.group_id, captures.c.part_number)
Index("captures_by_sha256", captures.c.sha256)
Index("captures_by_time", captures.c.fetched_at, captures.c.capture_id)

deliveries = table(
    "deliveries",
    "One row per delivery of a partition: its captures, its version and its outcome.",
    text("group_id", "Delivery", key=True),
    text("table_name", "Target table", key=True),
    text("partition_key", PIECE),
    text("source", SOURCES),
    text("dataset", "Name of the dataset in the source"),
    text("source_version", "Source version, which identifies a state of the source"),
    count("record_total", "Row count that the source reported; NULL: none", optional=True),
    text("scope", "Scope: the part of the partition for which it is complete, JSON; {}: all of it"),
    count("part_count", "Number of captures in the delivery; 0: never read completely"),
    text(
        "outcome",
        "Outcome: landed, held_back (quarantined by an audit) or refused (cannot be validated)",
        values=("landed", "held_back", "refused"),
    ),
    text("replay_of", "Replayed delivery; NULL: not a replay", optional=True),
    text("rule_version", "Version of the rules"),
    text("run_id", "Dagster run that validated it"),
    moment("recorded_at", "UTC time at which the delivery was recorded"),
    text("write_disposition", "Write disposition: replace_scope, merge or append", optional=True),
    day(
        "published_on",
        "Publication day: latest last_update_date of its rows up to the day of the load, else that "
        "day; NULL: not loaded, or without such dates",
        optional=True,
    ),
    flag(
        "is_load_day",
        "Whether published_on is the day of the load in New York: the source dates no later change",
        optional=True,
    ),
)

Index("deliveries_by_partition", deliveries.c.table_name, deliveries.c.partition_key)
Index("deliveries_by_run", deliveries.c.run_id)

rejects = table(
    "rejects",
    "One row per source line that the contract rejects.",
    count("capture_id", "Capture of the line", key=True),
    text("table_name", "Target table", key=True),
    count(
        "line_number", "Number of the line in the capture, from 1, including the header", key=True
    ),
    count("byte_offset", "Offset of the line in the capture, bytes from 0"),
    text(
        "record",
        "Line, with bytes outside printable ASCII as backslash escapes",
        from_senders=True,
    ),
    text("reason_code", "Rule that it violates, one word"),
    text("reason", "Rule that it violates, a sentence"),
    text("run_id", "Dagster run"),
    moment("rejected_at", "UTC time of the reject"),
)

audits = table(
    "audits",
    "One row per delivery of a partition and audit; a failed one of severity error quarantines it.",
    text("group_id", "Delivery", key=True),
    text("table_name", "Target table", key=True),
    text("name", "Name of the audit", key=True),
    text("partition_key", PIECE),
    text(
        "severity",
        "Severity: error (quarantines the delivery) or warning",
        values=("error", "warning"),
    ),
    text(
        "outcome",
        "Outcome: passed, failed or not_applicable",
        values=("passed", "failed", "not_applicable"),
    ),
    text("expected", "Expectation of the audit"),
    text("found", "Finding of the audit"),
    text("offenders", "First 20 violations, a JSON list"),
    text("run_id", "Dagster run"),
    moment("audited_at", "UTC time of the audit"),
)

Index("audits_by_name", audits.c.table_name, audits.c.name, audits.c.audited_at)

balances = table(
    "balances",
    "One row per equation of a stage: what came in, and where all of it went.",
    text("table_name", "Table of the subject; empty: of no table", key=True),
    text("subject", "Delivery, run or work item that the numbers are of", key=True),
    text("equation", "Name of the equation, such as records", key=True),
    count(
        "came_in",
        "What came in, counted apart from what it became; NULL: not counted",
        optional=True,
    ),
    text("went_to", "Where it went, a JSON object: count by name of the place"),
    text(
        "state",
        "State: balanced, unbalanced or not_counted",
        values=("balanced", "unbalanced", "not_counted"),
    ),
    text("run_id", "Dagster run"),
    moment("recorded_at", "UTC time at which the stage ended"),
)

Index("balances_by_state", balances.c.state, balances.c.recorded_at)
Index("balances_by_run", balances.c.run_id)

landings = table(
    "landings",
    "One row per load: the transaction that wrote a delivery into a table.",
    text("group_id", "Delivery", key=True),
    text("table_name", "Table", key=True),
    text("scope", "Scope: the part of the table for which the delivery is complete"),
    text("partition_key", PIECE),
    text("source", SOURCES),
    text("source_version", "Source version, which identifies a state of the source"),
    text("content_sha256", "SHA-256 over the loaded values, hex"),
    count("rows_added", "Rows with a new key"),
    count("rows_changed", "Rows with the same key and other values"),
    count("rows_removed", "Rows that the delivery no longer contains"),
    count("rows_unchanged", "Rows without a change"),
    count("rows_rejected", "Source lines rejected by the contract"),
    text(
        "change_cause",
        "Cause of the change: first (load), more (days of a range), source, metadata, ours "
        "(rules) or none",
    ),
    text("rule_version", "Version of the rules"),
    text("run_id", "Dagster run"),
    moment("landed_at", "UTC time; known_from of the rows that it wrote"),
)

Index(
    "landings_by_partition", landings.c.table_name, landings.c.partition_key, landings.c.landed_at
)

Index("landings_by_run", landings.c.run_id)

pending_announcements = table(
    "pending_announcements",
    "One row per load whose Dagster event is not confirmed: the content of that event.",
    text("table_name", "Table", key=True),
    text("partition_key", "Partition key of Dagster", key=True),
    moment("landed_at", "UTC time; known_from of the rows that it wrote", key=True),
    text("group_id", "Delivery"),
    text(
        "change_cause",
        "Cause of the change: first (load), more (days of a range), source, metadata, ours "
        "(rules) or none",
    ),
    text("sentence", "Changes of the load, a sentence; blank: no changes"),
    text("figures", "Changes of the load, numbers as JSON; null: the dataset has none"),
    text("run_id", "Dagster run that loaded it"),
    internal=True,
)

fences = table(
    "fences",
    "One row per table and coarsest scope: its lock, its token, and its current state.",
    text("table_name", "Table", key=True),
    text("scope_key", "Coarsest scope, such as T1|2025-11-10", key=True),
    count(
        "token",
        "Fencing token: deliveries recorded so far; a load with an older token cannot commit",
    ),
    moment("known_from", "Latest known_from that was assigned; the next one is later"),
    text(
        "source_version", "Source version of the latest audited delivery; NULL: none", optional=True
    ),
    moment("landed_at", "landed_at of the latest load; NULL: nothing loaded", optional=True),
    text("landed_source", "source of the latest load; NULL: nothing loaded", optional=True),
    text(
        "landed_source_version",
        "source_version of the latest load; NULL: nothing loaded",
        optional=True,
    ),
    text(
        "landed_content_sha256",
        "content_sha256 of the latest load; NULL: nothing loaded",
        optional=True,
    ),
    text(
        "landed_rule_version",
        "rule_version of the latest load; NULL: nothing loaded",
        optional=True,
    ),
    text("landed_scope", "scope of the latest load; NULL: nothing loaded", optional=True),
    text("landed_run_id", "run_id of the latest load; NULL: nothing loaded", optional=True),
    moment("first_landed_at", "landed_at of the first load; NULL: nothing loaded", optional=True),
    count(
        "changed_token",
        "Token of the latest load with new values or rules; NULL: none",
        optional=True,
    ),
    text(
        "audited_group_id", "group_id of the latest delivery with audits; NULL: none", optional=True
    ),
    text(
        "delivery_table",
        "Table in the group_id of the latest delivery, if it was renamed since; NULL: table_name",
        optional=True,
    ),
    internal=True,
)

load_chain = table(
    "load_chain",
    "One row per record of the chain of a loaded table.",
    text("table_name", "Loaded table", key=True),
    count("number", "Number of the record in the chain of its table, from 1", key=True),
    text(
        "kind",
        "Kind: start (of the chain), columns (that later records hash), load, quarantine, refusal, "
        "erasure, retention or schema (these replace the hashes of an earlier record), rename (of "
        "the table)",
        values=(
            *("start", "columns", "load", "quarantine", "refusal"),
            *("erasure", "retention", "schema", "rename"),
        ),
    ),
    text("group_id", "Delivery; NULL: the record is of no delivery", optional=True),
    text("partition_key", "Partition key of Dagster; NULL: of no delivery", optional=True),
    text("partition", "Partition as column values, JSON; NULL: of no delivery", optional=True),
    count("amends", "Number of the record whose hashes it replaces; NULL: none", optional=True),
    text("payload", "Hashed and signed fields, JSON"),
    text("salt", "Salt of its hashes, hex; NULL: replaced by a later record", optional=True),
    text("record_sha256", "SHA-256 of payload, hex"),
    text(
        "signature",
        "Ed25519 signature of record_sha256, Base64; NULL: a later record of its transaction is "
        "signed",
        optional=True,
    ),
    text("public_key", "Public key of the signature, Base64; NULL: not signed", optional=True),
    moment("recorded_at", "UTC time; known_from of the rows that the load wrote"),
    internal=True,
)

Index(
    "load_chain_by_partition",
    load_chain.c.table_name,
    load_chain.c.partition_key,
    load_chain.c.number,
)
Index("load_chain_by_group", load_chain.c.table_name, load_chain.c.group_id)

chain_heads = table(
    "chain_heads",
    "One row per loaded table: the newest record of its chain.",
    text("table_name", "Loaded table", key=True),
    count("number", "Number of the newest record; 0: none yet"),
    text("record_sha256", "SHA-256 of its payload, hex; empty: none yet"),
    count("columns_number", "Number of the newest record of kind columns; 0: none yet"),
    text("columns_sha256", "SHA-256 of the columns that it names, hex; empty: none yet"),
    internal=True,
)

outbox = table(
    "outbox",
    "One row per intended change of an outside system: entity and version of the intention.",
    text("topic", "Topic: source and target system, such as peopleforce>jira", key=True),
    text("entity", "Entity, such as task|42", key=True),
    count("version_number", "Version of the intention, from 1 per entity", key=True),
    text("payload", "Intended state, a JSON object"),
    text("cause", "Cause: source, rules, target or replay"),
    text(
        "state",
        "State: waiting, done, superseded (by a later version) or dead (rejected)",
        values=("waiting", "done", "superseded", "dead"),
    ),
    count("attempt_count", "Failed attempts"),
    text("reason", "Reason of the latest failed attempt; NULL: none failed", optional=True),
    moment("planned_at", "UTC time at which the intention was recorded"),
    moment("due_at", "UTC time from which the next attempt is due"),
    moment("changed_at", "UTC time of the latest change of state or reason"),
    text("run_id", "Dagster run of the latest change"),
    internal=True,
)

Index("outbox_by_state", outbox.c.topic, outbox.c.state, outbox.c.due_at, outbox.c.entity)

leases = table(
    "leases",
    "One row per resource that one process at a time may use: holder and expiry of its lease.",
    text("name", "Name of the resource, such as peopleforce>jira|task|42", key=True),
    text("holder", "Dagster run that acquired the lease last; empty: released"),
    count(
        "token",
        "Fencing token, incremented with each acquisition; a result is recorded only with the "
        "current one",
    ),
    moment("expires_at", "UTC time from which another run may acquire it"),
    internal=True,
)

database_labels = table(
    "database_labels",
    "One row per label of the database, so that synthetic data never mixes with real data.",
    text("name", "Name of the label", key=True),
    text("value", "Value of the label, such as demo or real", optional=False),
)

declared_tables = table(
    "declared_tables",
    "One row per table that a project's files declare, and per history of such a table.",
    text("table_name", "Name of the table", key=True),
    text("declaration", "Its comment, asset, history and columns, JSON"),
    moment("recorded_at", "UTC time at which this declaration was recorded"),
)

table_renames = table(
    "table_renames",
    "One row per rename of a table that a project declares.",
    text("old_name", "Name of the table before", key=True),
    moment("renamed_at", "UTC time of the rename", key=True),
    text("table_name", "Name that the table has now"),
    text("old_asset", "Asset that the table was before, such as shop/pieces"),
)

source_fields = table(
    "source_fields",
    "One row per dataset, field and period in which the source listed it with one type.",
    text("source", "Source: demo or api", key=True),
    text("dataset", "Name of the dataset in the source", key=True),
    text("field_name", "Name of the field, exact to the byte", key=True),
    moment(
        "first_seen_at", "UTC time of the first poll that found the field with this type", key=True
    ),
    text("field_type", "Type of the field in the source's terms"),
    moment("last_seen_at", "UTC time of the latest poll that found it"),
    moment(
        "gone_at",
        "UTC time of the first poll that no longer found it; NULL: it exists",
        optional=True,
    ),
)

http_hosts = table(
    "http_hosts",
    "One row per requested host and system: its rate limit and circuit breaker.",
    text("host", "Host name of the URLs, lower case, without port", key=True),
    text("system", "System that requests it, such as finra_api", key=True),
    count("interval_ms", "Interval of the rate limit, ms, with its margin"),
    text(
        "window_ms",
        "Times of the latest requests, milliseconds since 1970, oldest first, as {1,2}; of those "
        "counted together the latest",
    ),
    count("batch_count", "Requests that are counted together under the latest time"),
    count("wait_ms", "Wait that the latest decision asked for, ms; 0: the request was admitted"),
    count("failure_count", "Failed requests since the latest success"),
    text("last_failure", "Latest failure, without secrets; NULL: none", optional=True),
    moment(
        "opened_at", "UTC time at which the circuit breaker opened; NULL: closed", optional=True
    ),
    moment("retry_at", "UTC time from which one request may probe it; NULL: closed", optional=True),
    internal=True,
)

http_counts = table(
    "http_counts",
    "One row per requested host, system and outcome: the attempts that ended so.",
    text("host", "Host name of the URLs, lower case, without port", key=True),
    text("system", "System that requests it, such as finra_api", key=True),
    text("outcome", "Outcome: an HTTP status, or no_answer", key=True),
    count("request_count", "Attempts"),
    count("retry_count", "Attempts that were not the first of a request"),
    internal=True,
)

http_quotas = table(
    "http_quotas",
    "One row per system with a daily quota and day: the requests of that day.",
    text("system", "System that requests it, such as alpha_vantage", key=True),
    day("vendor_day", "Day in the vendor's time zone", key=True),
    count("request_count", "Sent requests, of any outcome"),
    flag("is_over", "Whether the vendor refuses further requests of that day"),
    internal=True,
)

dlt_states = table(
    "dlt_states",
    "One row per load of an incremental source, written in the transaction of the load.",
    text("table_name", "Table that the source is loaded into", key=True),
    count("state_number", "Number of the state, from 1; the load before has one less", key=True),
    text("partition_key", "Partition that was loaded"),
    text("state", "State of the source after the load, a JSON object; of dlt, as dlt stores it"),
    text("run_id", "Dagster run of the load"),
    moment("saved_at", "UTC time of the load"),
)
"""States of incremental sources: each load appends the state that the next starts from."""

DELIVERY_TOPICS = "webhooks/"
"""Prefix of the topics of deliveries; the name of the source follows."""

STATE_NAMES: Mapping[str, str] = {"ready": "received", "leased": "running", "skipped": "done"}
"""States of deliveries whose work item names them otherwise."""

_item = work_items.c

IS_ITEM_OF_DELIVERY = and_(
    _item.topic == DELIVERY_TOPICS + inbox.c.source, _item.item_key == inbox.c.delivery_id
)

_STATES = view(
    "inbox_states",
    "One row per webhook delivery of the inbox, with the state of its work item.",
    as_it_is(inbox.c.source),
    as_it_is(inbox.c.delivery_id),
    as_it_is(inbox.c.kind),
    as_it_is(inbox.c.received_at),
    ViewColumn(
        "state",
        func.coalesce(labelled(_item.state, STATE_NAMES), "done", type_=BYTEWISE_TEXT),
        "State: received, running, done, failed (it is retried) or dead (it is not)",
    ),
    ViewColumn(
        "attempt_count", func.coalesce(_item.attempt_count, 0), "Runs for the delivery that ended"
    ),
    ViewColumn(
        "allowed_count",
        func.coalesce(_item.allowed_count, 0),
        "Attempts after which the state is dead; a replay allows more; 0: without work",
    ),
    ViewColumn(
        "run_id", _item.run_id, "Dagster run of the latest attempt; NULL: none yet", optional=True
    ),
    ViewColumn(
        "changed_at",
        func.coalesce(_item.changed_at, inbox.c.received_at),
        "UTC time of the latest change of state or run",
    ),
    as_it_is(inbox.c.trace_id),
    as_it_is(inbox.c.span_id),
    source=inbox.outerjoin(work_items, IS_ITEM_OF_DELIVERY),
)
"""A delivery without a work item is done: nothing was to be done with it."""

inbox_states, select_states = _STATES.table, _STATES.select
"""The view, and its select, to which conditions of both tables can be added."""
