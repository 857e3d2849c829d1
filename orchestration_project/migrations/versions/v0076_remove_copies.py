"""Keep bodies of loaded deliveries and outcomes of routed actions once."""

import base64
import hashlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import sqlalchemy as sa
from alembic import op

from orchestration_project.migrations.changes import (
    ChangeComment,
    CreateView,
    RebuildTable,
    SchemaChange,
    downgrade_by,
    upgrade_by,
)
from orchestration_project.migrations.frozen import Column, Index, Table, View

revision = "0076"
down_revision = "0075"

# fmt: off
COMMENT = ChangeComment("inbox", "body", "Body as received, Base64; NULL: removed by WEBHOOK_BODY_DAYS or WEBHOOK_DEAD_BODY_DAYS", "Body as received, Base64; NULL: in events_webhooks.payload, or removed by WEBHOOK_BODY_DAYS or WEBHOOK_DEAD_BODY_DAYS")
BEFORE = Table("events_routed", "One row per delivery and rule that matched it: its action and outcome.", [
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
    Column("fields", "text", "Values of the target's fields, a JSON object; {}: not planned, or removed with the body"),
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
])
AFTER = Table("events_routed", "One row per delivery and rule that matched it: its action.", [
    Column("source", "text", "Source in webhooks.yaml", key=True),
    Column("delivery_id", "text", "ID of the delivery", key=True),
    Column("rule_id", "text", "Name of the rule", key=True),
    Column("version_number", "bigint", "Version of the rule that planned the action last"),
    Column("action", "text", "Action, such as http_request"),
    Column("target", "text", "Target of the action in webhooks.yaml"),
    Column("outcome", "text", "Outcome without the outbox: done or dead (a dead letter); NULL: in the outbox", optional=True),
    Column("idempotency_key", "text", "Key that the target gets, equal for all attempts"),
    Column("intention_number", "bigint", "Versions of the intention in the outbox; 0: never planned"),
    Column("fields", "text", "Values of the target's fields, a JSON object; {}: not planned, or removed with the body"),
    Column("hops", "text", "Rules that the data went through, this one last, a JSON list"),
    Column("progress", "text", "Facts that were found before a request, JSON; NULL: none", optional=True),
    Column("result", "text", "Result at the target, such as a key or run ID; NULL: none", optional=True),
    Column("reason", "text", "Reason of the outcome dead; NULL: none, or in the outbox", optional=True),
    Column("planned_at", "timestamp", "UTC time at which the rule matched"),
    Column("changed_at", "timestamp", "UTC time at which the action was planned last"),
    Column("run_id", "text", "Dagster run that planned the action last"),
], indexes=[
    Index("events_routed_by_rule", ["rule_id", "planned_at"]),
])
STATES = CreateView(View("events_routed_states", "One row per delivery and rule that matched it, with the outcome of its action.", {
    "source": "Source in webhooks.yaml",
    "delivery_id": "ID of the delivery",
    "rule_id": "Name of the rule",
    "version_number": "Version of the rule that planned the action last",
    "action": "Action, such as http_request",
    "target": "Target of the action in webhooks.yaml",
    "outcome": "Outcome: waiting (in the outbox), done or dead (a dead letter)",
    "attempt_count": "Failed attempts of the latest intention",
    "idempotency_key": "Key that the target gets, equal for all attempts",
    "intention_number": "Versions of the intention in the outbox; 0: never planned",
    "fields": "Values of the target's fields, a JSON object; {}: not planned, or removed with the body",
    "hops": "Rules that the data went through, this one last, a JSON list",
    "progress": "Facts that were found before a request, JSON; NULL: none",
    "result": "Result at the target, such as a key or run ID; NULL: none",
    "reason": "Reason of the latest failure; NULL: none",
    "planned_at": "UTC time at which the rule matched",
    "changed_at": "UTC time of the latest change",
    "run_id": "Dagster run of the latest change",
}, """
SELECT events_routed.source AS source,
events_routed.delivery_id AS delivery_id,
events_routed.rule_id AS rule_id,
events_routed.version_number AS version_number,
events_routed.action AS action,
events_routed.target AS target,
coalesce(events_routed.outcome, outbox.state) AS outcome,
coalesce(outbox.attempt_count, 0) AS attempt_count,
events_routed.idempotency_key AS idempotency_key,
events_routed.intention_number AS intention_number,
events_routed.fields AS fields,
events_routed.hops AS hops,
events_routed.progress AS progress,
events_routed.result AS result,
coalesce(events_routed.reason, outbox.reason) AS reason,
events_routed.planned_at AS planned_at,
coalesce(outbox.changed_at, events_routed.changed_at) AS changed_at,
coalesce(outbox.run_id, events_routed.run_id) AS run_id
FROM events_routed LEFT OUTER JOIN outbox ON outbox.topic = ('routing/' || events_routed.action) AND outbox.entity = (events_routed.source || '|' || events_routed.delivery_id || '|' || events_routed.rule_id) AND outbox.version_number = events_routed.intention_number AND events_routed.outcome IS NULL
"""))
# fmt: on

CHANGES: list[SchemaChange] = [COMMENT, RebuildTable(BEFORE, AFTER), STATES]

ENTRY = """
    SELECT {} FROM outbox AS entry
    WHERE entry.topic = 'routing/' || events_routed.action
        AND entry.entity = events_routed.source || '|' || events_routed.delivery_id || '|'
            || events_routed.rule_id
        AND entry.version_number = events_routed.intention_number
"""
IS_SAME = "entry.state = events_routed.outcome AND {} = {}".format(
    "COALESCE(entry.reason, '')", "COALESCE(events_routed.reason, '')"
)
COPIES_TO_REMOVE = f"""
UPDATE events_routed SET outcome = NULL, reason = NULL
WHERE EXISTS ({ENTRY.format("1")} AND (events_routed.outcome = 'waiting' OR {IS_SAME}))
"""  # noqa: S608 - ours
"""An outcome that differs is that of an action which did not wait in the outbox."""

COPIED = ("attempt_count", "reason", "changed_at", "run_id")
COPIES = f"""
UPDATE events_routed SET
    outcome = COALESCE(({ENTRY.format("entry.state")}), 'waiting'),
    {", ".join(f"{name} = ({ENTRY.format(f'entry.{name}')})" for name in COPIED)}
WHERE outcome IS NULL
"""  # noqa: S608 - ours

BATCH_ROWS = 500

_INBOX = sa.table("inbox", sa.column("source"), sa.column("delivery_id"), sa.column("body"))
_EVENTS = sa.table(
    "events_webhooks", sa.column("source"), sa.column("delivery_id"), sa.column("payload")
)
_KEY = (_INBOX.c.source, _INBOX.c.delivery_id)

logger = logging.getLogger("orchestration_project.migrations")


def upgrade() -> None:
    """Make the changes; copies that differ stay, and those of bodies are logged."""
    if not op.get_context().as_sql:  # there is no database to read
        _remove_bodies(op.get_bind())
    upgrade_by(CHANGES)
    op.execute(COPIES_TO_REMOVE)


def downgrade() -> None:
    """Undo them; the copies are made again."""
    optional = {"outcome", "attempt_count"}
    nullable = replace(
        BEFORE,
        columns=[
            replace(column, optional=True) if column.name in optional else column
            for column in BEFORE.columns
        ],
        indexes=[],
    )
    downgrade_by([COMMENT, RebuildTable(nullable, AFTER), STATES])
    op.execute(COPIES)
    op.execute("UPDATE events_routed SET attempt_count = 0 WHERE attempt_count IS NULL")
    downgrade_by([RebuildTable(BEFORE, nullable)])
    if not op.get_context().as_sql:
        _copy_bodies(op.get_bind())


def _remove_bodies(connection: sa.Connection) -> None:
    for rows in _batches(connection, _INBOX.c.body.is_not(None)):
        same = [row for row in rows if _sha256_of_body(row) == _sha256(row.payload.encode())]
        _set_bodies(connection, [(row, None) for row in same])
        for row in rows:
            if row not in same:
                logger.warning(
                    "the body of delivery %s of %s stays in inbox: its SHA-256 is not that of "
                    "events_webhooks.payload",
                    *(row.delivery_id, row.source),
                    extra={"event": "webhook_body_differs"},
                )


def _copy_bodies(connection: sa.Connection) -> None:
    for rows in _batches(connection, _INBOX.c.body.is_(None)):
        bodies = [base64.b64encode(row.payload.encode()).decode() for row in rows]
        _set_bodies(connection, list(zip(rows, bodies, strict=True)))


def _batches(
    connection: sa.Connection, condition: sa.ColumnElement[bool]
) -> Iterator[Sequence[Any]]:
    """Yield the loaded deliveries for which a condition of `inbox` holds, by their key."""
    is_loaded = sa.and_(
        _EVENTS.c.source == _INBOX.c.source,
        _EVENTS.c.delivery_id == _INBOX.c.delivery_id,
        _EVENTS.c.payload.is_not(None),
    )
    loaded = (
        sa.select(*_KEY, _INBOX.c.body, _EVENTS.c.payload)
        .select_from(_INBOX.join(_EVENTS, is_loaded))
        .where(condition)
        .order_by(*_KEY)
        .limit(BATCH_ROWS)
    )
    rows = connection.execute(loaded).all()
    while rows:
        yield rows
        last = rows[-1]
        is_later = sa.or_(
            _INBOX.c.source > last.source,
            sa.and_(_INBOX.c.source == last.source, _INBOX.c.delivery_id > last.delivery_id),
        )
        rows = connection.execute(loaded.where(is_later)).all()


def _sha256_of_body(row: Any) -> str:
    try:
        return _sha256(base64.b64decode(row.body, validate=True))
    except ValueError:
        return "not Base64"


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _set_bodies(connection: sa.Connection, bodies: Sequence[tuple[Any, str | None]]) -> None:
    own = [
        {"of_source": row.source, "of_delivery": row.delivery_id, "new_body": body}
        for row, body in bodies
    ]
    statement = (
        sa.update(_INBOX)
        .where(
            _INBOX.c.source == sa.bindparam("of_source"),
            _INBOX.c.delivery_id == sa.bindparam("of_delivery"),
        )
        .values(body=sa.bindparam("new_body"))
    )
    if own:
        connection.execute(statement, own)
