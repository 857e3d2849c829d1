"""States of deliveries survive both ways, also those whose work items were deleted before."""

from datetime import UTC, datetime

import pytest
from alembic import command
from sqlalchemy import select, text

from orchestration_project.engine.warehouse.migrating import build_alembic_config
from orchestration_project.tables.spine import inbox_states, work_items

VERSION = "0072"
"""That before the one without copies of the states."""

COLUMNS = ("delivery_id", "state", "attempt_count", "allowed_count", "run_id", "changed_at")
RECEIVED, CHANGED = "2026-01-05 12:00:00.000000", "2026-01-05 12:05:00.000000"

DELIVERY = text(
    "INSERT INTO inbox (source, delivery_id, body, headers, sha256, byte_count, received_at, "
    "state, attempt_count, allowed_count, run_id, changed_at) "
    "VALUES ('git', :id, :body, '{}', 'ab', 2, :received, :state, :attempts, :allowed, :run, :at)"
)
ITEM = text(
    "INSERT INTO work_items (topic, item_key, version, state, attempt_count, allowed_count, "
    "enqueued_at, due_at, lease_token, run_id, changed_at) "
    "VALUES ('webhooks/git', :id, 'ab', :item, :attempts, :allowed, :received, :received, 1, :run, "
    ":at)"
)

DELIVERIES = [
    # ID, state, state of its work item (None: it has none), body, attempts, allowed, run
    ("a", "received", "ready", "e30=", 0, 3, None),
    ("b", "running", "leased", "e30=", 1, 3, "run"),
    ("c", "failed", "failed", "e30=", 2, 3, "run"),
    ("d", "done", "skipped", "e30=", 1, 3, "run"),
    ("e", "done", None, None, 1, 3, "run"),
    ("f", "dead", None, None, 3, 3, "run"),
    ("g", "done", None, "e30=", 0, 0, None),
]


@pytest.mark.slow_on_postgresql
def test_states_stay_the_same_both_ways(migrated):
    with migrated.writing() as connection:
        config = build_alembic_config(connection)
        command.downgrade(config, VERSION)
        for delivery_id, state, item, body, attempts, allowed, run in DELIVERIES:
            values = {"id": delivery_id, "state": state, "item": item, "body": body, "run": run}
            times = {"received": RECEIVED, "at": CHANGED if run else RECEIVED}
            values |= {"attempts": attempts, "allowed": allowed, **times}
            connection.execute(DELIVERY, values)
            if item is not None:
                connection.execute(ITEM, values)
        before = connection.execute(text(COPIES)).all()
        command.upgrade(config, "head")
        columns = [inbox_states.c[name] for name in COLUMNS]
        after = connection.execute(select(*columns).order_by(columns[0])).all()
        reasons = select(work_items.c.item_key).where(work_items.c.reason_code == "body_removed")
        assert connection.execute(reasons).scalars().all() == ["f"]
        command.downgrade(config, VERSION)
        assert connection.execute(text(COPIES)).all() == before
    at = datetime(2026, 1, 5, 12, tzinfo=UTC)
    assert after == [
        (
            delivery_id,
            state,
            attempts,
            allowed,
            run,
            at.replace(minute=5) if run else at,
        )
        for delivery_id, state, _, _, attempts, allowed, run in DELIVERIES
    ]


COPIES = f"SELECT {', '.join(COLUMNS)} FROM inbox ORDER BY delivery_id"  # noqa: S608 - ours
