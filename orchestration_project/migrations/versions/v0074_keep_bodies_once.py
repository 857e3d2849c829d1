"""Keep bodies of loaded webhook deliveries once, in events_webhooks."""

import base64
import hashlib
import logging
from collections.abc import Iterator, Sequence
from typing import Any

import sqlalchemy as sa
from alembic import op

from orchestration_project.migrations.changes import ChangeComment, downgrade_by, upgrade_by

revision = "0074"
down_revision = "0073"

# fmt: off
CHANGES = [
    ChangeComment("inbox", "body", "Body as received, Base64; NULL: removed by WEBHOOK_BODY_DAYS or WEBHOOK_DEAD_BODY_DAYS", "Body as received, Base64; NULL: in events_webhooks.payload, or removed by WEBHOOK_BODY_DAYS or WEBHOOK_DEAD_BODY_DAYS"),
]
# fmt: on

BATCH_ROWS = 500

_INBOX = sa.table("inbox", sa.column("source"), sa.column("delivery_id"), sa.column("body"))
_EVENTS = sa.table(
    "events_webhooks", sa.column("source"), sa.column("delivery_id"), sa.column("payload")
)
_KEY = (_INBOX.c.source, _INBOX.c.delivery_id)

logger = logging.getLogger("orchestration_project.migrations")


def upgrade() -> None:
    """Remove each body whose SHA-256 is that of the payload; log those that differ, and keep them."""
    connection = op.get_bind()
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
    upgrade_by(CHANGES)


def downgrade() -> None:
    """Copy the payloads back."""
    connection = op.get_bind()
    downgrade_by(CHANGES)
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
