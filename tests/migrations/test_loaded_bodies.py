"""Bodies of loaded deliveries are in `events_webhooks` alone; the way back copies them."""

import base64
import logging
from datetime import UTC, datetime
from typing import Any

import pytest
from alembic import command
from sqlalchemy import insert, select, text, update

from orchestration_project.engine.warehouse.migrating import build_alembic_config
from orchestration_project.services.inbox.rows import Inbox, NewDelivery, read_contents
from orchestration_project.tables.spine import inbox
from orchestration_project.tables.webhooks import events_webhooks

VERSION = "0075"
"""That before the one without copies of loaded bodies."""

LOGGER = "orchestration_project.migrations"

NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)
BODY = '{"name": "Änne"}'
BODIES = {
    # Body in the inbox, and payload in events_webhooks; None: removed; ...: no row
    **{f"loaded {number}": (BODY, BODY) for number in range(501)},
    "masked": ('{"name": "****"}', '{"name": "****"}'),
    "waiting": (BODY, ...),
    "rejected": ("no JSON", ...),
    "differing": ('{"name": "a"}', '{"name": "b"}'),
    "removed": (None, None),
}
MOVED = [key for key in BODIES if key.startswith(("loaded", "masked"))]


@pytest.mark.slow
@pytest.mark.slow_on_postgresql
def test_a_loaded_body_is_kept_once_and_one_that_differs_stays(migrated, caplog):
    take(migrated)
    with migrated.writing() as connection:
        config = build_alembic_config(connection)
        command.downgrade(config, VERSION)
        before = {key: body for key, (body, _) in BODIES.items()}
        assert bodies(connection) == before
        with caplog.at_level(logging.WARNING):
            command.upgrade(config, "head")
        assert bodies(connection) == before | dict.fromkeys(MOVED)
        contents = read_contents(connection, "git", list(BODIES))
        assert {key: content and content.body.decode() for key, content in contents.items()} == (
            before
        )
        command.downgrade(config, VERSION)
        assert bodies(connection) == before
    [message] = [record.message for record in caplog.records if record.name == LOGGER]
    assert message.startswith("the body of delivery differing of git stays in inbox")


@pytest.mark.slow_on_postgresql
def test_a_body_that_is_not_base64_stays(migrated, caplog):
    take(migrated)
    with migrated.writing() as connection:
        config = build_alembic_config(connection)
        command.downgrade(config, VERSION)
        connection.execute(text("UPDATE inbox SET body = '?' WHERE delivery_id = 'loaded 0'"))
        command.upgrade(config, "head")
        stored = select(inbox.c.body).where(inbox.c.delivery_id == "loaded 0")
        assert connection.execute(stored).scalar() == "?"


def take(warehouse: Any) -> None:
    """Store deliveries as releases before the migration stored them."""
    deliveries = [
        NewDelivery("git", key, None, (body or "").encode(), {}, 1)
        for key, (body, _) in BODIES.items()
    ]
    Inbox(warehouse, warehouse._clock).take(deliveries)
    with warehouse.writing() as connection:
        row = {"source": "git", "received_at": NOON, "capture_id": 1, "known_from": NOON}
        loaded = [
            row | {"delivery_id": key, "payload": payload}
            for key, (_, payload) in BODIES.items()
            if payload is not ...
        ]
        connection.execute(insert(events_webhooks), loaded)
        removed = inbox.c.delivery_id == "removed"
        connection.execute(update(inbox).where(removed).values(body=None))


def bodies(connection: Any) -> dict[str, str | None]:
    rows = connection.execute(select(inbox.c.delivery_id, inbox.c.body))
    return {key: body and base64.b64decode(body).decode() for key, body in rows}
