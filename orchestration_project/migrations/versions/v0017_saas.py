"""Reconciliation of two systems: states, rules, outbox, leases, dead letters, audit, ticks."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

TEXT = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")
MOMENT = sa.DateTime().with_variant(postgresql.TIMESTAMP(timezone=True, precision=6), "postgresql")


def upgrade() -> None:
    """Create the tables."""
    _create_outbox()
    _create_leases()
    _create_states()
    _create_rules()
    _create_dead_letters()
    _create_audit_log()
    _create_ticks()


def _create_outbox() -> None:
    op.create_table(
        "outbox",
        _text("topic", "From where to where, such as peopleforce>jira"),
        _text("entity", "What it is about, such as task|42"),
        _number("version_number", "From 1, rises with each intention for the entity"),
        _text("payload", "What is intended, a JSON object"),
        _text("cause", "Why, one word: source, rules, target or replay"),
        _text("state", "waiting, done, superseded (by a later version), or dead (it was refused)"),
        _number("attempt_count", "Times that it was tried in vain"),
        _text("reason", "Why the latest try was in vain; NULL: none was", optional=True),
        _moment("planned_at", "UTC time"),
        _moment("due_at", "UTC time before which it is not tried"),
        _moment("changed_at", "UTC time at which state or reason last changed"),
        _text("run_id", "Dagster run that changed it last"),
        sa.PrimaryKeyConstraint("topic", "entity", "version_number"),
        comment="One row per thing that is to be done outside: one per entity and version of the intention.",
        sqlite_with_rowid=False,
    )
    op.create_index("outbox_by_state", "outbox", ["topic", "state", "due_at", "entity"])


def _create_leases() -> None:
    op.create_table(
        "leases",
        _text("name", "The thing, such as peopleforce>jira|task|42"),
        _text("holder", "Dagster run that took it last; empty: it gave it back"),
        _number("token", "Rises with each taking; what is recorded of the work must still have it"),
        _moment("expires_at", "UTC time from which another may take it"),
        sa.PrimaryKeyConstraint("name"),
        comment="One row per thing that one process at a time works on: who does, and until when.",
        sqlite_with_rowid=False,
    )


def _create_states() -> None:
    op.create_table(
        "saas_source_states",
        _text("system", "The source, such as peopleforce"),
        _text("entity_type", "Such as task"),
        _text("entity_id", "The source's id"),
        _text("state_hash", "SHA-256 over the fields that rules use and rule_version, hex"),
        _text("rule_version", "Digest of all rules that were in effect"),
        _text("rule", "The rule that matched, rule_id@version; NULL: none", optional=True),
        _text("action", "sync, drop, or hold: its rule is disabled by a violation"),
        _text("target_key", "Key of its issue; NULL: there is none", optional=True),
        _flag("is_completed", "Whether the source says that it is completed"),
        _text("record", "The task as it was seen, JSON"),
        _text(
            "intended", "What was last intended for its issue, JSON; NULL: nothing", optional=True
        ),
        _text("applied", "What both sides last agreed on, JSON; NULL: nothing", optional=True),
        _text(
            "unresolved_email", "Assignee whom the target does not know; NULL: none", optional=True
        ),
        _number("version_number", "Intentions in the outbox so far"),
        _moment("last_seen_at", "UTC time at which it was seen like this, at most an hour early"),
        _moment(
            "gone_at", "UTC time at which the source no longer had it; NULL: it has", optional=True
        ),
        sa.PrimaryKeyConstraint("system", "entity_type", "entity_id"),
        comment="One row per task of a source that was ever seen: as it was last, and what became of it.",
        sqlite_with_rowid=False,
    )
    op.create_index("saas_source_states_by_target", "saas_source_states", ["target_key"])


def _create_rules() -> None:
    op.create_table(
        "saas_routing_rules",
        _text("rule_id", "Its name"),
        _number("version_number", "From 1, rises with each edit"),
        _number("priority", "The lowest is asked first; of equal ones by rule_id"),
        _text("conditions", "What must hold of a task, a JSON list; []: it matches everything"),
        _text("action", "sync or drop"),
        _text("target_project", "Project of the issues; NULL of drop", optional=True),
        _text("issue_type", "Type of the issues; NULL of drop", optional=True),
        _flag("is_active", "Whether it is in effect; at most one version of a rule is"),
        _text(
            "disabled_reason",
            "What the target refuses of it; NULL: nothing is known",
            optional=True,
        ),
        _text("edited_by", "Who made this version"),
        _moment("edited_at", "UTC time"),
        sa.PrimaryKeyConstraint("rule_id", "version_number"),
        comment="One row per version of a rule: which tasks become which issues; the first match counts.",
        sqlite_with_rowid=False,
    )
    op.create_table(
        "saas_field_mappings",
        _text("rule_id", "The rule"),
        _number("version_number", "Its version"),
        _text("target_field", "The field's id, such as summary or customfield_10010"),
        _text("source_type", "static, path or template"),
        _text("value", "The value itself, a path into the task, or text with {paths}"),
        sa.PrimaryKeyConstraint("rule_id", "version_number", "target_field"),
        comment="One row per field of issues that a version of a rule fills.",
        sqlite_with_rowid=False,
    )


def _create_dead_letters() -> None:
    op.create_table(
        "saas_dead_letters",
        _text("system", "The source"),
        _text("entity_type", "Such as task"),
        _text("entity_id", "The source's id"),
        _number("version_number", "The intention's version"),
        _text("target_key", "Key of its issue; NULL: there is none", optional=True),
        _text("payload", "What was intended, JSON"),
        _text("reason_code", "What kind of refusal, one word"),
        _text("reason", "What was refused and why"),
        _number("http_status", "HTTP status; NULL: nothing was asked", optional=True),
        _moment("failed_at", "UTC time"),
        _moment("ended_at", "UTC time of its replay, or of a later intention; NULL", optional=True),
        _text("run_id", "Dagster run that met the refusal"),
        sa.PrimaryKeyConstraint("system", "entity_type", "entity_id", "version_number"),
        comment="One row per intention that the target refused, or that could not be made of its task.",
        sqlite_with_rowid=False,
    )


def _create_audit_log() -> None:
    op.create_table(
        "saas_audit_log",
        _text("entry_id", "UTC time and a random part: sorts as it happened"),
        _moment("happened_at", "UTC time"),
        _text("system", "The source; of rules: rules"),
        _text("entity_type", "Such as task; of rules: rule"),
        _text("entity_id", "The source's id; of rules: rule_id"),
        _text("target_key", "Key of the issue; NULL: there is none", optional=True),
        _text("operation", "What was done, one word; docs/saas.md has all"),
        _text("detail", "What changed from what into what, or why, JSON"),
        _text("run_id", "Dagster run"),
        sa.PrimaryKeyConstraint("entry_id"),
        comment="One row per thing that reconciliation did or decided; rows are only added.",
        sqlite_with_rowid=False,
    )
    op.create_index(
        "saas_audit_log_by_entity",
        "saas_audit_log",
        ["system", "entity_type", "entity_id", "entry_id"],
    )
    op.create_index("saas_audit_log_by_operation", "saas_audit_log", ["operation", "entry_id"])
    op.create_index("saas_audit_log_by_target", "saas_audit_log", ["target_key", "entry_id"])


def _create_ticks() -> None:
    op.create_table(
        "saas_ticks",
        _text("pair", "Source and target, such as peopleforce>jira"),
        _number("interval_seconds", "From one look to the next"),
        _flag("is_paused", "Whether only a manual trigger starts a look"),
        _moment("triggered_at", "UTC time at which somebody asked for a look", optional=True),
        _moment(
            "started_at", "UTC time at which the latest look began; NULL: none did", optional=True
        ),
        _moment(
            "synced_at",
            "UTC time at which the latest look began that ended well; NULL: none did",
            optional=True,
        ),
        sa.PrimaryKeyConstraint("pair"),
        comment="One row per pair of systems: how often it is looked through, and when it last was.",
        sqlite_with_rowid=False,
    )


def _text(name: str, comment: str, *, optional: bool = False) -> sa.Column[str]:
    return sa.Column(name, TEXT, nullable=optional, comment=comment)


def _number(name: str, comment: str, *, optional: bool = False) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), nullable=optional, autoincrement=False, comment=comment)


def _flag(name: str, comment: str) -> sa.Column[bool]:
    return sa.Column(name, sa.Boolean(), nullable=False, comment=comment)


def _moment(name: str, comment: str, *, optional: bool = False) -> sa.Column[object]:
    return sa.Column(name, MOMENT, nullable=optional, comment=comment)


def downgrade() -> None:
    """Drop them."""
    for name in (
        "saas_ticks",
        "saas_audit_log",
        "saas_dead_letters",
        "saas_field_mappings",
        "saas_routing_rules",
        "saas_source_states",
        "leases",
        "outbox",
    ):
        op.drop_table(name)
