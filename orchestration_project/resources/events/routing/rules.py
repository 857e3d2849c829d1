"""The routing rules in effect: read, tried on recorded deliveries, and edited as a whole."""

import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, func, select

from orchestration_project.domains.events.routing import (
    FORM,
    ActiveRule,
    PlannedAction,
    RoutedDelivery,
    RoutingDifference,
    RoutingRule,
    RuleSet,
    difference,
    hops_of,
    plan_delivery,
)
from orchestration_project.domains.events.tables import (
    events_routed_states,
    events_routing_rules,
)
from orchestration_project.engine.contracts.rule_edits import RuleChanges
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.warehouse.frames import clean_text
from orchestration_project.resources.events.routing.targets import RoutingTargets
from orchestration_project.services.rule_store import RuleStore
from orchestration_project.tables.webhooks import events_webhooks

RULES = events_routing_rules.c

MAX_DIFFERENCES = 100
"""Differences that a dry run shows; the counts are of all."""

MAX_DELIVERIES = 10_000
"""Deliveries that a dry run may replay."""


def rules_in_effect(connection: Connection) -> RuleSet:
    """Return the rules in effect."""
    return RuleSet.of(map(_read_active_rule, connection.execute(_select_in_effect())))


class RuleOutcome(NamedTuple):
    """Number of a rule's actions with an outcome, and the time of their latest change."""

    rule_id: str
    action: str
    outcome: str
    action_count: int
    changed_at: datetime


def outcomes_by_rule(connection: Connection) -> Sequence[RuleOutcome]:
    """Return the outcomes of all routed actions by rule."""
    columns = events_routed_states.c
    group = columns.rule_id, columns.action, columns.outcome
    query = (
        select(*group, func.count(), func.max(columns.changed_at)).group_by(*group).order_by(*group)
    )
    return [RuleOutcome(*row) for row in connection.execute(query)]


@dataclass
class CachedRules:
    """The rules in effect, compiled again only when one changed."""

    _rows: Sequence[Any] | None = None
    _rules: RuleSet = field(default_factory=lambda: RuleSet([]))

    def read(self, connection: Connection) -> RuleSet:
        """Return the rules in effect."""
        rows = connection.execute(_select_in_effect()).all()
        if rows != self._rows:
            self._rules = RuleSet.of(map(_read_active_rule, rows))
            self._rows = rows
        return self._rules


@dataclass
class RoutingTrial:
    """Effect that edited rules would have had on recorded deliveries.

    Attributes:
        version: Version of the rules in effect, which an edit names.
        delivery_count: Deliveries that were planned by both.
        planned: Actions by rule, of the edited rules.
        refused: Dead letters by rule, of the edited rules.
        difference_count: Differences of both plans.
        differences: The first of them.
    """

    version: str
    delivery_count: int = 0
    planned: dict[str, int] = field(default_factory=dict)
    refused: dict[str, int] = field(default_factory=dict)
    difference_count: int = 0
    differences: list[RoutingDifference] = field(default_factory=list)


def try_rules(
    warehouse: Warehouse,
    targets: RoutingTargets,
    rules: Sequence[RoutingRule],
    *,
    delivery_count: int,
) -> RoutingTrial:
    """Return the actions for the latest deliveries that rules would change; nothing is written.

    Args:
        warehouse: The database.
        targets: What rules may name.
        rules: All rules to try.
        delivery_count: Deliveries of the rules' sources, the latest first.
    """
    after = RuleSet.of(ActiveRule(rule, 0) for rule in rules)
    with warehouse.reading() as connection:
        before = rules_in_effect(connection)
        trial = RoutingTrial(before.version)
        sources = {active_rule.rule.source for active_rule in (*before.rules, *after.rules)}
        for delivery in _iterate_latest(connection, sources, min(delivery_count, MAX_DELIVERIES)):
            _try(trial, delivery, before, after, targets)
    return trial


def _try(
    trial: RoutingTrial,
    delivery: RoutedDelivery,
    before: RuleSet,
    after: RuleSet,
    targets: RoutingTargets,
) -> None:
    old = plan_delivery(before, delivery, targets.fields_of)
    new = plan_delivery(after, delivery, targets.fields_of)
    trial.delivery_count += 1
    for item in new:
        counts = trial.planned if isinstance(item, PlannedAction) else trial.refused
        name = item.rule.rule.rule_id
        counts[name] = counts.get(name, 0) + 1
    routing_differences = difference(delivery, old, new)
    trial.difference_count += len(routing_differences)
    trial.differences += routing_differences[: MAX_DIFFERENCES - len(trial.differences)]


def _iterate_latest(
    connection: Connection, sources: Collection[str], limit: int
) -> Iterator[RoutedDelivery]:
    query = (
        select(events_webhooks)
        .where(events_webhooks.c.source.in_(sources), events_webhooks.c.payload.is_not(None))
        .order_by(events_webhooks.c.received_at.desc(), events_webhooks.c.delivery_id)
        .limit(limit)
    )
    for row in connection.execution_options(yield_per=500).execute(query):
        payload = json.loads(row.payload)
        yield RoutedDelivery(
            row.source,
            row.delivery_id,
            row.kind,
            row.received_at,
            payload,
            hops_of({}, payload),
        )


def edit_rules(
    warehouse: Warehouse,
    rules: Sequence[RoutingRule],
    *,
    based_on: str,
    by: str,
    at: datetime,
) -> tuple[RuleChanges, str]:
    """Have just these rules be in effect; those that differ from before get a new version.

    Returns:
        What changed, and the version of all rules now.

    Args:
        warehouse: The database.
        rules: All rules, which were read with `FORM`.
        based_on: Version of the rules that the edit started from.
        by: User who edits.
        at: The present.

    Raises:
        EditConflictError: Others are in effect by now; nothing is written.
    """
    with warehouse.writing() as connection:
        changes = STORE.put_in_effect(connection, rules, based_on=based_on, by=by, at=at)
        return changes, rules_in_effect(connection).version


def _select_in_effect() -> Any:
    names = ("rule_id", "version_number", "source", "kind", "conditions", "action", "target")
    columns = [RULES[name] for name in (*names, "mappings")]
    return select(*columns).where(RULES.is_active).order_by(RULES.rule_id)


def _read_active_rule(row: Row[Any]) -> ActiveRule:
    rule = RoutingRule.model_validate(
        {
            "rule_id": row.rule_id,
            "source": row.source,
            "kind": row.kind,
            "conditions": json.loads(row.conditions),
            "action": row.action,
            "target": row.target,
            "mappings": json.loads(row.mappings),
        }
    )
    return ActiveRule(rule, row.version_number)


def _build_columns(rule: RoutingRule) -> dict[str, Any]:
    fields = rule.as_json()
    return {
        "source": rule.source,
        "kind": rule.kind,
        "conditions": _write(fields["conditions"]),
        "action": rule.action,
        "target": rule.target,
        "mappings": _write(fields["mappings"]),
    }


def _write(parts: Any) -> str:
    return clean_text(json.dumps(parts, ensure_ascii=False))


STORE = RuleStore(events_routing_rules, FORM.noun, rules_in_effect, _build_columns)
