"""Actions of deliveries, planned in the transaction that loads these: once per delivery and rule.

Actions that only write a row are taken there, too; the others wait in the outbox. Its entries name
the delivery and rule alone; values are in `events_routed`.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from sqlalchemy import Connection, func, insert, select, update
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError

from orchestration_project.domains.events.routing import (
    PlannedAction,
    RefusedAction,
    RoutedDelivery,
    hops_of,
    idempotency_key,
    plan_delivery,
)
from orchestration_project.domains.events.tables import (
    TOPIC_PREFIX,
    events_routed,
    events_routed_rows,
    events_routing_dead_letters,
)
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.matching import FieldType, TargetFields
from orchestration_project.engine.outbox import DONE, Intention, Outcome, add_intentions
from orchestration_project.engine.warehouse.frames import clean_text, insert_absent, match_scope
from orchestration_project.errors import OrchestrationError
from orchestration_project.redaction import redacted
from orchestration_project.registry import ActionRequest, Registry, RoutingAction
from orchestration_project.resources.events.routing.rules import CachedRules
from orchestration_project.resources.events.routing.targets import RoutingTargets
from orchestration_project.services.inbox.rows import Content
from orchestration_project.settings import Settings

MAX_REASON = 2_000

Routed = Mapping[str, Any]
"""Columns of a row of `events_routed`."""

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
        source, _, text = entity.partition("|")
        delivery_id, _, rule_id = text.rpartition("|")
        return cls(source, delivery_id, rule_id)


@dataclass
class RoutingPlanner:
    """Plans the actions of deliveries by the rules in effect.

    Attributes:
        targets: What rules may name.
        clock: The database's time.
        run_id: Dagster's run.
        has_enqueued: Whether an action waits that was planned here.
    """

    targets: RoutingTargets
    clock: Clock
    run_id: str
    has_enqueued: bool = False
    _rules: CachedRules = field(default_factory=CachedRules)

    def plan(self, connection: Connection, contents: Sequence[Content]) -> int:
        """Plan the unplanned actions, and return how many actions and letters are new.

        Args:
            connection: The transaction that loads the deliveries.
            contents: Deliveries whose bodies are JSON objects.
        """
        rules = self._rules.read(connection)
        if not rules.rules:
            return 0
        planned = [
            (RoutedKey(content.source, content.delivery_id, found.rule.rule.rule_id), found)
            for content in contents
            for found in plan_delivery(rules, delivery_of(content), self.targets.fields_of)
        ]
        now = self.clock.now()
        rows = [
            _build_row(key, action, self._intention_number(action), now, self.run_id)
            for key, action in planned
        ]
        new = {RoutedKey(*group) for group in insert_absent(connection, events_routed, rows)}
        later: list[tuple[RoutedKey, str, int]] = []
        for row, (key, action) in zip(rows, planned, strict=True):
            if key not in new:
                continue
            if isinstance(action, RefusedAction):
                add_letter(connection, key, refused_letter(action), now=now, run_id=self.run_id)
            elif is_row(self.targets, action):
                write_row(connection, self.targets, row, now=now, run_id=self.run_id)
            else:
                later.append((key, row["action"], 1))
        if later:
            enqueue(connection, later, cause="source", now=now, run_id=self.run_id)
            self.has_enqueued = True
        return len(new)

    def _intention_number(self, action: PlannedAction | RefusedAction) -> int:
        """Return 1, or 0 for an action that never waits in the outbox."""
        is_written = isinstance(action, PlannedAction) and is_row(self.targets, action)
        return 0 if is_written else 1


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


def _build_row(
    key: RoutedKey,
    found: PlannedAction | RefusedAction,
    number: int,
    now: datetime,
    run_id: str,
) -> dict[str, Any]:
    return {
        **key._asdict(),
        "idempotency_key": idempotency_key(*key),
        "planned_at": now,
        **values_of(found, number, now, run_id),
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
        "outcome": None if is_planned else "dead",
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
    condition = match_scope(letters, key._asdict())
    query = select(func.coalesce(func.max(letters.c.letter_number), 0)).where(condition)
    number = connection.execute(query).scalar_one()
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


def request_of(routed: Routed, targets: RoutingTargets, action: RoutingAction) -> ActionRequest:
    """Return the request of a row of `events_routed`.

    Raises:
        ConfigurationError: Its target is not declared any more.
    """
    _, declared = targets.find(action.name, routed["target"])
    return ActionRequest(
        target=routed["target"],
        declared=declared,
        fields=json.loads(routed["fields"]),
        idempotency_key=routed["idempotency_key"],
        hops=json.loads(routed["hops"]),
        source=routed["source"],
        delivery_id=routed["delivery_id"],
        rule_id=routed["rule_id"],
        planned_at=routed["planned_at"],
        progress=routed["progress"],
    )


def letter_of(routed: Routed, error: OrchestrationError | DBAPIError) -> Letter:
    """Return the dead letter of an action that failed for good."""
    category = error.category if isinstance(error, OrchestrationError) else "contract"
    return Letter(
        routed["version_number"], routed["action"], routed["target"], "apply", category, str(error)
    )


def is_row(targets: RoutingTargets, planned: PlannedAction) -> bool:
    """Whether an action only writes a row."""
    return targets.registry.actions[planned.rule.rule.action].write is not None


def write_row(
    connection: Connection,
    targets: RoutingTargets,
    routed: Routed,
    *,
    now: datetime,
    run_id: str,
) -> Outcome:
    """Take an action that only writes a row; one that fails is a dead letter and writes nothing.

    Args:
        connection: The transaction that plans it.
        targets: What rules may name.
        routed: Its row of `events_routed`.
        now: The present.
        run_id: Dagster's run.
    """
    key = RoutedKey(routed["source"], routed["delivery_id"], routed["rule_id"])
    action = targets.registry.actions[routed["action"]]
    if action.write is None:
        raise AssertionError(f"the action {action.name} writes no row")
    try:
        with connection.begin_nested():
            answer = action.write(connection, request_of(routed, targets, action), now, run_id)
    except (OrchestrationError, DataError, IntegrityError) as error:
        outcome = Outcome("dead", shown(str(error)))
        update_routed(connection, key, outcome=outcome.state, reason=outcome.reason)
        add_letter(connection, key, letter_of(routed, error), now=now, run_id=run_id)
        return outcome
    update_routed(connection, key, outcome=DONE.state, result=shown(answer))
    return DONE


def update_routed(connection: Connection, key: RoutedKey, **values: Any) -> None:
    """Update the row of a delivery and rule in `events_routed`."""
    condition = match_scope(events_routed, key._asdict())
    connection.execute(update(events_routed).where(condition).values(**values))


def shown(reason: str) -> str:
    """Return a reason as it may be stored: without secrets, and short."""
    return clean_text(redacted(reason))[:MAX_REASON]


def as_json(value: Any) -> str:
    """Return a JSON value as a text that databases take."""
    return clean_text(json.dumps(value, ensure_ascii=False, sort_keys=True))


MAX_COLUMNS = 200


class RowTable(BaseModel):
    """Declaration of a table.

    Attributes:
        columns: Type of each column: text, integer, number, boolean, timestamp or json.
        required: Columns that are never null.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    columns: dict[str, FieldType] = Field(min_length=1, max_length=MAX_COLUMNS)
    required: list[str] = []

    @model_validator(mode="after")
    def _requires_columns(self) -> Self:
        if unknown := sorted(set(self.required) - set(self.columns)):
            raise ValueError(f"expected required columns among the columns, found {unknown[0]}")
        return self


def _list_fields(declared: RowTable, _: Registry, __: Settings) -> TargetFields:
    return TargetFields(declared.columns, frozenset(declared.required))


def _write(connection: Connection, request: ActionRequest, now: datetime, run_id: str) -> str:
    row = {
        "table_name": request.target,
        "row_key": request.idempotency_key,
        "source": request.source,
        "delivery_id": request.delivery_id,
        "rule_id": request.rule_id,
        "data": as_json(request.fields),
        "written_at": now,
        "run_id": run_id,
    }
    insert_absent(connection, events_routed_rows, [row])
    return request.idempotency_key


ROW = RoutingAction(
    name="row",
    description="Writes a row of a table that WEBHOOKS_FILE declares.",
    declaration=RowTable,
    fields=_list_fields,
    write=_write,
)
