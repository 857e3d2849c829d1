"""Routing of webhook deliveries: rules, what each delivery led to, dead letters and routed rows.

Actions to take are in the spine's `outbox`, under topics such as ``routing/http_request``, with
their outcomes. Values of deliveries are in the tables here alone, where an erasure finds them.
"""

from sqlalchemy import Index, and_, func

from orchestration_project.tables import spine
from orchestration_project.tables.schema import count, flag, moment, table, text
from orchestration_project.tables.views import ViewColumn, as_it_is, view

TOPIC_PREFIX = "routing/"
"""Topics of the outbox: the prefix and the name of an action."""

events_routing_rules = table(
    "events_routing_rules",
    "One row per version of a routing rule from webhook deliveries to actions; all matches apply.",
    text("rule_id", "Name of the rule", key=True),
    count("version_number", "Version of the rule, from 1, incremented by each edit", key=True),
    text("source", "Source in webhooks.yaml"),
    text("kind", "Kind of the deliveries; NULL: all", optional=True),
    text("conditions", "Conditions on a delivery, a JSON list; []: matches every delivery"),
    text("action", "Action, such as http_request"),
    text("target", "Target of the action in webhooks.yaml"),
    text("mappings", "Mappings of the target's fields, a JSON list"),
    flag("is_active", "Whether the version is in effect; at most one version of a rule is"),
    text("edited_by", "User who wrote this version"),
    moment("edited_at", "UTC time at which the version was written"),
    text("ended_by", "User who ended this version; NULL: in effect", optional=True),
    moment("ended_at", "UTC time at which the version ended; NULL: in effect", optional=True),
)

events_routed = table(
    "events_routed",
    "One row per delivery and rule that matched it: its action.",
    text("source", "Source in webhooks.yaml", key=True),
    text("delivery_id", "ID of the delivery", key=True, from_senders=True),
    text("rule_id", "Name of the rule", key=True),
    count("version_number", "Version of the rule that planned the action last"),
    text("action", "Action, such as http_request"),
    text("target", "Target of the action in webhooks.yaml"),
    text(
        "outcome",
        "Outcome without the outbox: done or dead (a dead letter); NULL: in the outbox",
        values=("done", "dead"),
        optional=True,
    ),
    text("idempotency_key", "Key that the target gets, equal for all attempts"),
    count("intention_number", "Versions of the intention in the outbox; 0: never planned"),
    text(
        "fields",
        "Values of the target's fields, a JSON object; {}: not planned, or removed with the body",
        from_senders=True,
    ),
    text("hops", "Rules that the data went through, this one last, a JSON list"),
    text("progress", "Facts that were found before a request, JSON; NULL: none", optional=True),
    text("result", "Result at the target, such as a key or run ID; NULL: none", optional=True),
    text("reason", "Reason of the outcome dead; NULL: none, or in the outbox", optional=True),
    moment("planned_at", "UTC time at which the rule matched"),
    moment("changed_at", "UTC time at which the action was planned last"),
    text("run_id", "Dagster run that planned the action last"),
)

Index("events_routed_by_rule", events_routed.c.rule_id, events_routed.c.planned_at)

_own, _entry = events_routed.c, spine.outbox.c

WITH_OUTBOX = events_routed.outerjoin(
    spine.outbox,
    and_(
        _entry.topic == TOPIC_PREFIX + _own.action,
        _entry.entity == _own.source + "|" + _own.delivery_id + "|" + _own.rule_id,
        _entry.version_number == _own.intention_number,
        _own.outcome.is_(None),
    ),
)
"""Routed actions, each with the entry of the outbox that has its outcome."""

ROUTED_STATES = view(
    "events_routed_states",
    "One row per delivery and rule that matched it, with the outcome of its action.",
    *(
        as_it_is(_own[name])
        for name in ("source", "delivery_id", "rule_id", "version_number", "action", "target")
    ),
    ViewColumn(
        "outcome",
        func.coalesce(_own.outcome, _entry.state),
        "Outcome: waiting (in the outbox), done or dead (a dead letter)",
    ),
    ViewColumn(
        "attempt_count",
        func.coalesce(_entry.attempt_count, 0),
        "Failed attempts of the latest intention",
    ),
    *(as_it_is(_own[name]) for name in ("idempotency_key", "intention_number")),
    *(as_it_is(_own[name]) for name in ("fields", "hops", "progress", "result")),
    ViewColumn(
        "reason",
        func.coalesce(_own.reason, _entry.reason),
        "Reason of the latest failure; NULL: none",
        optional=True,
    ),
    as_it_is(_own.planned_at),
    ViewColumn(
        "changed_at",
        func.coalesce(_entry.changed_at, _own.changed_at),
        "UTC time of the latest change",
    ),
    ViewColumn(
        "run_id", func.coalesce(_entry.run_id, _own.run_id), "Dagster run of the latest change"
    ),
    source=WITH_OUTBOX,
)
events_routed_states = ROUTED_STATES.table

events_routing_dead_letters = table(
    "events_routing_dead_letters",
    "One row per action that could not be planned, or that its target refused.",
    text("source", "Source in webhooks.yaml", key=True),
    text("delivery_id", "ID of the delivery", key=True, from_senders=True),
    text("rule_id", "Name of the rule", key=True),
    count("letter_number", "Number of the letter, from 1 per delivery and rule", key=True),
    count("version_number", "Version of the rule"),
    text("action", "Action, such as http_request"),
    text("target", "Target of the action in webhooks.yaml"),
    text(
        "stage",
        "Stage: plan (loop, mapping or type) or apply (refused by the target)",
        values=("plan", "apply"),
    ),
    text("reason_code", "Kind of the refusal, one word, such as wrong_type"),
    text("reason", "Refusal in words"),
    moment("failed_at", "UTC time of the refusal"),
    moment("ended_at", "UTC time of its replay; NULL: not replayed", optional=True),
    text("run_id", "Dagster run of the refusal"),
)

Index(
    "events_routing_dead_letters_by_end",
    events_routing_dead_letters.c.ended_at,
    events_routing_dead_letters.c.failed_at,
)

events_routed_rows = table(
    "events_routed_rows",
    "One row per row that the action row wrote into a table declared in webhooks.yaml.",
    text("table_name", "Name of the declared table", key=True),
    text("row_key", "Idempotency key of the action", key=True),
    text("source", "Source in webhooks.yaml"),
    text("delivery_id", "ID of the delivery", from_senders=True),
    text("rule_id", "Name of the rule"),
    text("data", "Values by column, a JSON object", from_senders=True),
    moment("written_at", "UTC time at which it was written"),
    text("run_id", "Dagster run that wrote it"),
)

Index(
    "events_routed_rows_by_time", events_routed_rows.c.table_name, events_routed_rows.c.written_at
)
Index(
    "events_routed_rows_by_delivery",
    events_routed_rows.c.source,
    events_routed_rows.c.delivery_id,
)

ROUTED_TABLES = (events_routed, events_routing_dead_letters, events_routed_rows)
"""Tables with rows of deliveries, which an erasure deletes with them."""
