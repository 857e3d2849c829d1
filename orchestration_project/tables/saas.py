"""Reconciliation of two systems: what each task was, by which rules, and what was done of it.

What is intended and not done yet lies in the spine's `outbox`, and who works on it in `leases`.
"""

from sqlalchemy import Index

from orchestration_project.tables.schema import count, flag, moment, table, text

saas_source_states = table(
    "saas_source_states",
    "One row per task of a source that was ever seen: as it was last, and what became of it.",
    text("system", "The source, such as peopleforce", key=True),
    text("entity_type", "Such as task", key=True),
    text("entity_id", "The source's id", key=True, from_senders=True),
    text("state_hash", "SHA-256 over the fields that rules use and rule_version, hex"),
    text("rule_version", "Digest of all rules that were in effect"),
    text("rule", "The rule that matched, rule_id@version; NULL: none", optional=True),
    text("action", "sync, drop, or hold: its rule is disabled by a violation"),
    text("target_key", "Key of its issue; NULL: there is none", optional=True),
    flag("is_completed", "Whether the source says that it is completed"),
    text("record", "The task as it was seen, JSON"),
    text("intended", "What was last intended for its issue, JSON; NULL: nothing", optional=True),
    text("applied", "What both sides last agreed on, JSON; NULL: nothing", optional=True),
    text(
        "unresolved_email",
        "Assignee whom the target does not know; NULL: none",
        optional=True,
        from_senders=True,
    ),
    count("version_number", "Intentions in the outbox so far"),
    moment("last_seen_at", "UTC time at which it was seen like this, at most an hour early"),
    moment("gone_at", "UTC time at which the source no longer had it; NULL: it has", optional=True),
)

Index("saas_source_states_by_target", saas_source_states.c.target_key)
Index(  # all that a look reads of tasks that stay as they are
    "saas_source_states_by_hash",
    *(saas_source_states.c[name] for name in ("system", "gone_at", "entity_id", "state_hash")),
)

saas_routing_rules = table(
    "saas_routing_rules",
    "One row per version of a rule: which tasks become which issues; the first match counts.",
    text("rule_id", "Its name", key=True),
    count("version_number", "From 1, rises with each edit", key=True),
    count("priority", "The lowest is asked first; of equal ones by rule_id"),
    text("conditions", "What must hold of a task, a JSON list; []: it matches everything"),
    text("action", "sync or drop"),
    text("target_project", "Project of the issues; NULL of drop", optional=True),
    text("issue_type", "Type of the issues; NULL of drop", optional=True),
    flag("is_active", "Whether it is in effect; at most one version of a rule is"),
    text("disabled_reason", "What the target refuses of it; NULL: nothing is known", optional=True),
    text("edited_by", "Who made this version"),
    moment("edited_at", "UTC time"),
)

saas_field_mappings = table(
    "saas_field_mappings",
    "One row per field of issues that a version of a rule fills.",
    text("rule_id", "The rule", key=True),
    count("version_number", "Its version", key=True),
    text("target_field", "The field's id, such as summary or customfield_10010", key=True),
    text("source_type", "static, path or template"),
    text("value", "The value itself, a path into the task, or text with {paths}"),
)

saas_dead_letters = table(
    "saas_dead_letters",
    "One row per intention that the target refused, or that could not be made of its task.",
    text("system", "The source", key=True),
    text("entity_type", "Such as task", key=True),
    text("entity_id", "The source's id", key=True, from_senders=True),
    count("version_number", "The intention's version", key=True),
    text("target_key", "Key of its issue; NULL: there is none", optional=True),
    text("payload", "What was intended, JSON"),
    text("reason_code", "What kind of refusal, one word"),
    text("reason", "What was refused and why"),
    count("http_status", "HTTP status; NULL: nothing was asked", optional=True),
    moment("failed_at", "UTC time"),
    moment("ended_at", "UTC time of its replay, or of a later intention; NULL", optional=True),
    text("run_id", "Dagster run that met the refusal"),
)

saas_audit_log = table(
    "saas_audit_log",
    "One row per thing that reconciliation did or decided; rows are only added.",
    text("entry_id", "UTC time and a random part: sorts as it happened", key=True),
    moment("happened_at", "UTC time"),
    text("system", "The source; of rules: rules"),
    text("entity_type", "Such as task; of rules: rule"),
    text("entity_id", "The source's id; of rules: rule_id", from_senders=True),
    text("target_key", "Key of the issue; NULL: there is none", optional=True),
    text("operation", "What was done, one word; docs/saas.md has all"),
    text("detail", "What changed from what into what, or why, JSON"),
    text("run_id", "Dagster run"),
)

Index(
    "saas_audit_log_by_entity",
    saas_audit_log.c.system,
    saas_audit_log.c.entity_type,
    saas_audit_log.c.entity_id,
    saas_audit_log.c.entry_id,
)
Index("saas_audit_log_by_target", saas_audit_log.c.target_key, saas_audit_log.c.entry_id)
Index("saas_audit_log_by_operation", saas_audit_log.c.operation, saas_audit_log.c.entry_id)

saas_ticks = table(
    "saas_ticks",
    "One row per pair of systems: how often it is looked through, and when it last was.",
    text("pair", "Source and target, such as peopleforce>jira", key=True),
    count("interval_seconds", "From one look to the next"),
    flag("is_paused", "Whether only a manual trigger starts a look"),
    moment("triggered_at", "UTC time at which somebody asked for a look", optional=True),
    moment("started_at", "UTC time at which the latest look began; NULL: none did", optional=True),
    moment(
        "synced_at",
        "UTC time at which the latest look began that ended well; NULL: none did",
        optional=True,
    ),
)
