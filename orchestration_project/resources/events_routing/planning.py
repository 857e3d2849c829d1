"""Actions of deliveries, planned in the transaction that loads these: once per delivery and rule.

Events of the outbox name the delivery and rule alone; values are in `events_routed`.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, NamedTuple

from sqlalchemy import Connection, func, insert, select

from orchestration_project.connections.clock import Clock
from orchestration_project.domains.events_routing.planning import (
    PlannedAction,
    RefusedAction,
    hops_of,
    idempotency_key,
    plan_delivery,
)
from orchestration_project.domains.events_routing.rules import RoutedDelivery
from orchestration_project.engine.outbox import Intention, add_intentions
from orchestration_project.engine.warehouse.frames import insert_absent, storable, within
from orchestration_project.redaction import redacted
from orchestration_project.resources.events_routing.rules import CachedRules
from orchestration_project.resources.events_routing.targets import RoutingTargets
from orchestration_project.services.inbox.rows import Content
from orchestration_project.tables.events_routing import (
    events_routed,
    events_routing_dead_letters,
)

TOPIC_PREFIX = "routing/"
"""Topics of the outbox: the prefix and the name of an action."""

MAX_REASON = 2_000

Cause = Literal["source", "replay"]


class RoutedKey(NamedTuple):
    """Key of a row of `events_routed`."""

    source: str
    delivery_id: str
    rule_id: str

    @property
    def entity(self) -> str:
        """Entity of the outbox; only the delivery's id may have a bar."""
        return "|".join(self)

    @classmethod
    def of_entity(cls, entity: str) -> "RoutedKey":
        """Return the key of an entity of the outbox."""
        source, _, rest = entity.partition("|")
        delivery_id, _, rule_id = rest.rpartition("|")
        return cls(source, delivery_id, rule_id)


@dataclass
class RoutingPlanner:
    """Plans the actions of deliveries by the rules in effect.

    Attributes:
        targets: What rules may name.
        clock: The database's time.
        run_id: Dagster's run.
    """

    targets: RoutingTargets
    clock: Clock
    run_id: str
    _rules: CachedRules = field(default_factory=CachedRules)

    def plan(self, connection: Connection, contents: Sequence[Content]) -> int:
        """Plan what was not planned before, and return how many actions and letters are new.

        Args:
            connection: The transaction that loads the deliveries.
            contents: Deliveries whose bodies are JSON objects.
        """
        rules = self._rules.read(connection)
        if not rules.rules:
            return 0
        planned = [
            (RoutedKey(each.source, each.delivery_id, found.rule.rule.rule_id), found)
            for each in contents
            for found in plan_delivery(rules, delivery_of(each), self.targets.fields_of)
        ]
        now = self.clock.now()
        rows = [_row(key, found, now, self.run_id) for key, found in planned]
        new = {RoutedKey(*each) for each in insert_absent(connection, events_routed, rows)}
        fresh = [(key, found) for key, found in planned if key in new]
        enqueue(
            connection,
            [
                (key, found.rule.rule.action, 1)
                for key, found in fresh
                if isinstance(found, PlannedAction)
            ],
            cause="source",
            now=now,
            run_id=self.run_id,
        )
        for key, found in fresh:
            if isinstance(found, RefusedAction):
                add_letter(connection, key, refused_letter(found), now=now, run_id=self.run_id)
        return len(fresh)


def delivery_of(content: Content) -> RoutedDelivery:
    """Return a delivery as rules see it."""
    payload = json.loads(content.body)
    return RoutedDelivery(
        content.source,
        content.delivery_id,
        content.kind,
        content.received_at,
        payload,
        hops_of(content.headers, payload),
    )


def _row(
    key: RoutedKey, found: PlannedAction | RefusedAction, now: datetime, run_id: str
) -> dict[str, Any]:
    return {
        **key._asdict(),
        "idempotency_key": idempotency_key(*key),
        "planned_at": now,
        **values_of(found, 1, now, run_id),
    }


def values_of(
    found: PlannedAction | RefusedAction, number: int, now: datetime, run_id: str
) -> dict[str, Any]:
    """Return the columns of `events_routed` that a plan decides.

    ``number``: version of the intention in the outbox, if an action is planned.
    """
    is_planned = isinstance(found, PlannedAction)
    rule = found.rule.rule
    return {
        "version_number": found.rule.version_number,
        "action": rule.action,
        "target": rule.target,
        "outcome": "waiting" if is_planned else "dead",
        "attempt_count": 0,
        "intention_number": number if is_planned else number - 1,
        "fields": as_json(found.fields) if is_planned else "{}",
        "hops": as_json(list(found.hops)) if is_planned else "[]",
        "progress": None,
        "result": None,
        "reason": None if is_planned else shown(found.reason),
        "changed_at": now,
        "run_id": run_id,
    }


def enqueue(
    connection: Connection,
    intentions: Iterable[tuple[RoutedKey, str, int]],
    *,
    cause: Cause,
    now: datetime,
    run_id: str,
) -> None:
    """Write intentions to the outbox: key, action and version of each."""
    rows = [
        Intention(TOPIC_PREFIX + action, key.entity, number, cause=cause)
        for key, action, number in intentions
    ]
    add_intentions(connection, rows, now=now, run_id=run_id)


class Letter(NamedTuple):
    """Content of a dead letter, besides its delivery and rule."""

    version_number: int
    action: str
    target: str
    stage: Literal["plan", "apply"]
    reason_code: str
    reason: str


def refused_letter(found: RefusedAction) -> Letter:
    """Return the dead letter of an action that cannot be planned."""
    rule = found.rule.rule
    return Letter(
        found.rule.version_number, rule.action, rule.target, "plan", found.reason_code, found.reason
    )


def add_letter(
    connection: Connection, key: RoutedKey, letter: Letter, *, now: datetime, run_id: str
) -> None:
    """Add a dead letter of a delivery and rule, whose row the transaction has locked."""
    letters = events_routing_dead_letters
    own = within(letters, key._asdict())
    wanted = select(func.coalesce(func.max(letters.c.letter_number), 0)).where(own)
    number = connection.execute(wanted).scalar_one()
    row = {
        **key._asdict(),
        **letter._asdict(),
        "reason": shown(letter.reason),
        "letter_number": number + 1,
        "failed_at": now,
        "ended_at": None,
        "run_id": run_id,
    }
    connection.execute(insert(letters).values(row))


def shown(reason: str) -> str:
    """Return a reason as it may be stored: without secrets, and short."""
    return storable(redacted(reason))[:MAX_REASON]


def as_json(value: Any) -> str:
    """Return a JSON value as a text that databases take."""
    return storable(json.dumps(value, ensure_ascii=False, sort_keys=True))
