"""Reconciliation of two systems: states of tasks, routing rules, dead letters and audit log.

Intended changes are in the spine's `outbox`, and the leases of their workers in `leases`.
"""

from sqlalchemy import Index

from orchestration_project.tables.schema import count, flag, moment, table, text

saas_source_states = table(
    "saas_source_states",
    "One row per task of a source: its latest state, and that of its issue.",
    text("system", "Source system, such as peopleforce", key=True),
    text("entity_type", "Type of the entity, such as task", key=True),
    text("entity_id", "ID in the source system", key=True, from_senders=True),
    text("state_hash", "SHA-256 over the fields that rules use and rule_version, hex"),
    text("rule_version", "Digest of all rules that were in effect"),
    text("rule", "Rule that matched, rule_id@version; NULL: none", optional=True),
    text(
        "action",
        "Action: sync, drop or hold (the rule is disabled by a violation)",
        values=("sync", "drop", "hold"),
    ),
    text("target_key", "Key of its issue; NULL: no issue", optional=True),
    flag("is_completed", "Whether the task is completed in the source"),
    text("record", "Task as it was last polled, JSON"),
    text("intended", "Latest intended state of its issue, JSON; NULL: none", optional=True),
    text("applied", "Latest state on which both sides agreed, JSON; NULL: none", optional=True),
    text(
        "unresolved_email",
        "Assignee without a user in the target; NULL: none",
        optional=True,
        from_senders=True,
    ),
    count("version_number", "Number of intentions in the outbox so far"),
    moment(
        "last_seen_at",
        "UTC time of the latest poll that returned this state, at most an hour early",
    ),
    moment(
        "gone_at",
        "UTC time of the first poll that no longer returned it; NULL: the source has it",
        optional=True,
    ),
)

Index("saas_source_states_by_target", saas_source_states.c.target_key)
Index(  # all that a look reads of tasks that stay as they are
    "saas_source_states_by_hash",
    *(saas_source_states.c[name] for name in ("system", "gone_at", "entity_id", "state_hash")),
)

saas_routing_rules = table(
    "saas_routing_rules",
    "One row per version of a routing rule from tasks to issues; the first match applies.",
    text("rule_id", "Name of the rule", key=True),
    count("version_number", "Version of the rule, from 1, incremented by each edit", key=True),
    count("priority", "Order of evaluation, the lowest first; equal ones by rule_id"),
    text("conditions", "Conditions on a task, a JSON list; []: matches every task"),
    text("action", "Action: sync or drop", values=("sync", "drop")),
    text("target_project", "Project of the issues; NULL: drop", optional=True),
    text("issue_type", "Type of the issues; NULL: drop", optional=True),
    flag("is_active", "Whether the version is in effect; at most one version of a rule is"),
    text("disabled_reason", "Reason why the target rejects it; NULL: not disabled", optional=True),
    text("edited_by", "User who wrote this version"),
    moment("edited_at", "UTC time at which the version was written"),
    text(
        "cancelled_issue",
        "State of the task of an issue in a status such as Cancelled: completed or open; "
        "NULL: completed",
        values=("completed", "open"),
        optional=True,
    ),
    text(
        "completed_task",
        "State of the issue of a completed task: done or cancelled; NULL: done",
        values=("done", "cancelled"),
        optional=True,
    ),
)

saas_field_mappings = table(
    "saas_field_mappings",
    "One row per issue field that a version of a rule fills.",
    text("rule_id", "Name of the rule", key=True),
    count("version_number", "Version of the rule", key=True),
    text("target_field", "ID of the field, such as summary or customfield_10010", key=True),
    text("source_type", "Source of the value: static, path or template"),
    text("value", "Static value, path into the task, or text with {paths}"),
)

saas_dead_letters = table(
    "saas_dead_letters",
    "One row per intention that the target rejected, or that could not be built from its task.",
    text("system", "Source system", key=True),
    text("entity_type", "Type of the entity, such as task", key=True),
    text("entity_id", "ID in the source system", key=True, from_senders=True),
    count("version_number", "Version of the intention", key=True),
    text("target_key", "Key of its issue; NULL: no issue", optional=True),
    text("payload", "Intended state of the issue, JSON"),
    text("reason_code", "Kind of the rejection, one word"),
    text("reason", "Rejection and its reason"),
    count("http_status", "HTTP status; NULL: no request was sent", optional=True),
    moment("failed_at", "UTC time of the rejection"),
    moment(
        "ended_at", "UTC time of its replay or of a later intention; NULL: neither", optional=True
    ),
    text("run_id", "Dagster run of the rejection"),
)

saas_audit_log = table(
    "saas_audit_log",
    "One row per action or decision of reconciliation; rows are only added.",
    text("entry_id", "Entry ID: UTC time and a random part, sorts by time", key=True),
    moment("happened_at", "UTC time of the event"),
    text("system", "Source system; for rules: rules"),
    text("entity_type", "Type of the entity, such as task; for rules: rule"),
    text("entity_id", "ID in the source system; for rules: rule_id", from_senders=True),
    text("target_key", "Key of the issue; NULL: no issue", optional=True),
    text("operation", "Operation, one word, such as created, completed or rule_disabled"),
    text("detail", "Values before and after the change, or the reason, JSON"),
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
    "One row per pair of systems: interval and times of its polls.",
    text("pair", "Source and target, such as peopleforce>jira", key=True),
    count("interval_seconds", "Poll interval, seconds"),
    flag("is_paused", "Whether only a manual trigger starts a poll"),
    moment("triggered_at", "UTC time of the latest manual trigger; NULL: none", optional=True),
    moment("started_at", "UTC time at which the latest poll started; NULL: none", optional=True),
    moment(
        "synced_at",
        "UTC time at which the latest successful poll started; NULL: none",
        optional=True,
    ),
)
