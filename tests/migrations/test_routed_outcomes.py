"""Outcomes of routed actions survive both ways, with those that never waited in the outbox."""

from datetime import UTC, datetime, timedelta

import pytest
from alembic import command
from sqlalchemy import insert, select, text

from orchestration_project.domains.events.tables import events_routed, events_routed_states
from orchestration_project.engine.warehouse.migrating import build_alembic_config
from orchestration_project.tables.spine import outbox

VERSION = "0075"
"""That before the one without copies of outcomes."""

PLANNED = datetime(2026, 1, 5, 12, tzinfo=UTC)
CHANGED = PLANNED + timedelta(minutes=5)

ACTIONS = [
    # Delivery, action, version in the outbox, its state and reason; outcome and reason of the row
    ("waiting", "http_request", 1, "waiting", "HTTP 503", "waiting", "HTTP 503"),
    ("done", "http_request", 2, "done", None, "done", None),
    ("dead", "run_job", 1, "dead", "no partition", "dead", "no partition"),
    ("written", "row", 0, None, None, "done", None),
    ("refused", "http_request", 0, None, None, "dead", "no such path"),
    ("refused again", "http_request", 1, "dead", "HTTP 400", "dead", "no such path"),
    ("written later", "row", 1, "dead", "HTTP 400", "done", None),
]
COLUMNS = ("delivery_id", "outcome", "reason", "attempt_count", "changed_at", "run_id")


@pytest.mark.slow_on_postgresql
def test_outcomes_stay_the_same_both_ways(migrated):
    with migrated.writing() as connection:
        config = build_alembic_config(connection)
        command.downgrade(config, VERSION)
        for action in ACTIONS:
            add(connection, *action)
        copies = text(f"SELECT {', '.join(COLUMNS)} FROM events_routed ORDER BY 1")  # noqa: S608
        before = connection.execute(copies).all()
        command.upgrade(config, "head")
        shown = [events_routed_states.c[name] for name in COLUMNS]
        after = connection.execute(select(*shown).order_by(shown[0])).all()
        own = select(events_routed.c.delivery_id).where(events_routed.c.outcome.is_(None))
        assert {*connection.scalars(own)} == {"waiting", "done", "dead"}
        command.downgrade(config, VERSION)
        assert connection.execute(copies).all() == before
    assert after == sorted(
        (delivery_id, outcome, reason, int(is_failed), CHANGED, "run")
        for delivery_id, _, _, _, _, outcome, reason in ACTIONS
        for is_failed in [delivery_id in ("waiting", "dead")]
    )


def add(connection, delivery_id, action, number, state, state_reason, outcome, reason) -> None:
    """Store an action and its entry as releases before the migration did."""
    times = {"planned_at": PLANNED, "changed_at": CHANGED}
    attempts = int(delivery_id in ("waiting", "dead"))
    if state is not None:
        entry = {
            "topic": f"routing/{'http_request' if action == 'row' else action}",
            "entity": f"shop|{delivery_id}|rule",
            "version_number": number,
            "payload": "{}",
            "cause": "source",
            "state": state,
            "attempt_count": attempts,
            "reason": state_reason,
            "due_at": CHANGED,
        }
        connection.execute(insert(outbox), entry | times | {"run_id": "run"})
    row = {"source": "shop", "delivery_id": delivery_id, "rule_id": "rule", "version_number": 1}
    row |= {"action": action, "target": "t", "outcome": outcome, "attempt_count": attempts}
    row |= {"idempotency_key": "k", "intention_number": number, "fields": "{}", "hops": "[]"}
    row |= {
        "reason": reason,
        "run_id": "run",
        **{name: f"{value:%Y-%m-%d %H:%M:%S.%f}" for name, value in times.items()},
    }
    names = ", ".join(row)
    values = ", ".join(f":{name}" for name in row)
    statement = f"INSERT INTO events_routed ({names}) VALUES ({values})"  # noqa: S608 - ours
    connection.execute(text(statement), row)
