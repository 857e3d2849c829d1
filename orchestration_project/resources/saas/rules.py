"""The rules in effect: read, edited as a whole, and disabled by what the target proves wrong."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, and_, insert, select, update

from orchestration_project.domains.saas.dry_run import DryRun, dry_run
from orchestration_project.domains.saas.rules import (
    FORM,
    ActiveRule,
    RuleSet,
    StateMapping,
    SyncRule,
)
from orchestration_project.domains.saas.stored_tasks import read_task
from orchestration_project.domains.saas.tables import (
    saas_field_mappings,
    saas_routing_rules,
    saas_source_states,
)
from orchestration_project.engine.contracts.rule_edits import RuleChanges
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.errors import ConfigurationError
from orchestration_project.resources.saas.audit import Entity, SyncLogEntry, record
from orchestration_project.resources.saas.systems import TargetSystem
from orchestration_project.resources.saas.validating import RuleFindings, examine
from orchestration_project.services.rule_store import RuleStore

MAX_DIFFERENCES = 100
"""That a trial shows, so that an event stays small; the counts are of all."""

MAX_BATCH_ROWS = 1_000

RULES, MAPPINGS = saas_routing_rules.c, saas_field_mappings.c


def rules_in_effect(connection: Connection) -> RuleSet:
    """Return the rules in effect."""
    query = select(saas_routing_rules).where(RULES.is_active)
    is_of_it = and_(
        RULES.rule_id == MAPPINGS.rule_id, RULES.version_number == MAPPINGS.version_number
    )
    of_active = select(saas_field_mappings).join(saas_routing_rules, is_of_it)
    mappings: dict[tuple[str, int], list[dict[str, str]]] = {}
    for item in connection.execute(of_active.where(RULES.is_active)):
        mapping = {name: getattr(item, name) for name in ("target_field", "source_type", "value")}
        mappings.setdefault((item.rule_id, item.version_number), []).append(mapping)
    return RuleSet.of(
        _read_active_rule(row, mappings.get((row.rule_id, row.version_number), []))
        for row in connection.execute(query)
    )


def put_in_effect(
    connection: Connection,
    rules: Sequence[SyncRule],
    *,
    by: str,
    at: datetime,
    run_id: str,
    based_on: str | None = None,
) -> RuleChanges:
    """Have just these rules be in effect; those that differ from before get a new version.

    Raises:
        EditConflictError: Others than version ``based_on`` are in effect.
    """
    changes = STORE.put_in_effect(connection, rules, based_on=based_on, by=by, at=at)
    after = {rule.rule_id: rule for rule in rules}
    mappings = [
        {"rule_id": name, "version_number": number, **mapping.model_dump(mode="json")}
        for name, number in changes.numbers.items()
        for mapping in after[name].mappings
    ]
    if mappings:
        connection.execute(insert(saas_field_mappings), mappings)
    entries = [
        SyncLogEntry(
            _build_entity(name),
            "rule_changed" if name in changes.changed else "rule_added",
            detail={"by": by, "version": number, "rule": after[name].shown()},
        )
        for name, number in changes.numbers.items()
    ]
    entries += [
        SyncLogEntry(_build_entity(name), "rule_ended", detail={"by": by}) for name in changes.ended
    ]
    record(connection, entries, at=at, run_id=run_id)
    return changes


@dataclass(frozen=True)
class RuleTrial:
    """Effect of rules: on recorded tasks, and at the target.

    Attributes:
        version: Version of the rules in effect, which an edit names.
    """

    version: str
    run: DryRun
    problems: Sequence[str]
    doubts: Sequence[str]


def tried(warehouse: Warehouse, target: TargetSystem, rules: Sequence[SyncRule]) -> RuleTrial:
    """Return the result of a trial of rules; nothing is written."""
    examined = examine(target, rules)
    version, run = replayed(warehouse, rules)
    return RuleTrial(
        version,
        run,
        [f"{name}: {text}" for name, names in examined.proven.items() for text in names],
        [f"{name}: {reason}" for name, reason in examined.unknown.items()],
    )


def replayed(warehouse: Warehouse, rules: Sequence[SyncRule]) -> tuple[str, DryRun]:
    """Return the version of the rules in effect, and what others would do with recorded tasks."""
    query = select(saas_source_states.c.record).where(saas_source_states.c.gone_at.is_(None))
    after = RuleSet.of(ActiveRule(rule, 0) for rule in rules)
    with warehouse.reading() as connection:
        before = rules_in_effect(connection)
        records = connection.execution_options(yield_per=MAX_BATCH_ROWS).execute(query)
        run = dry_run(map(read_task, records.scalars()), before, after, most=MAX_DIFFERENCES)
    return before.version, run


def edit(
    warehouse: Warehouse,
    rules: Sequence[SyncRule],
    trial: RuleTrial,
    *,
    by: str,
    at: datetime,
    run_id: str,
    based_on: str | None = None,
) -> RuleChanges:
    """Put rules into effect that were tried.

    Raises:
        ConfigurationError: The target is sure to refuse what they would make, or others than
            version ``based_on`` are in effect.
    """
    if trial.problems:
        raise ConfigurationError(
            "the target refuses what the rules would make; those in effect stay as they are",
            expected="fields, projects and permissions that the target has",
            found="; ".join(trial.problems),
            remedy="correct the rules, or have the target's administrator mend it",
        )
    with warehouse.writing() as connection:
        return put_in_effect(connection, rules, by=by, at=at, run_id=run_id, based_on=based_on)


def revalidate(
    warehouse: Warehouse, target: TargetSystem, *, at: datetime, run_id: str
) -> RuleFindings:
    """Hold the rules in effect against the target: disable what it refuses, enable the others.

    A rule of which nothing is known stays as it is.
    """
    with warehouse.reading() as connection:
        active = {rule.rule.rule_id: rule for rule in rules_in_effect(connection).rules}
    examined = examine(target, [active_rule.rule for active_rule in active.values()])
    with warehouse.writing() as connection:
        for name, problems in examined.proven.items():
            reason = "; ".join(problems) or None
            note_proof(connection, active[name], reason, at=at, run_id=run_id)
    return examined


def note_proof(
    connection: Connection,
    rule: ActiveRule,
    reason: str | None,
    *,
    at: datetime,
    run_id: str,
) -> None:
    """Disable a rule for a reason that the target gave, or with None enable it again."""
    if reason == rule.disabled_reason:
        return
    connection.execute(
        update(saas_routing_rules)
        .where(_is(rule.rule.rule_id, rule.version_number))
        .values(disabled_reason=reason)
    )
    operation = "rule_disabled" if reason else "rule_enabled"
    entry = SyncLogEntry(_build_entity(rule.rule.rule_id), operation, detail={"reason": reason})
    record(connection, [entry], at=at, run_id=run_id)


def _build_entity(rule_id: str) -> Entity:
    return Entity("rules", "rule", rule_id)


def _read_active_rule(row: Row[Any], mappings: Iterable[dict[str, str]]) -> ActiveRule:
    rule = SyncRule.model_validate(
        {
            "rule_id": row.rule_id,
            "priority": row.priority,
            "conditions": json.loads(row.conditions),
            "action": row.action,
            "target_project": row.target_project,
            "issue_type": row.issue_type,
            "mappings": list(mappings),
            "states": {
                name: value
                for name in StateMapping.model_fields
                if (value := getattr(row, name)) is not None
            },
        }
    )
    return ActiveRule(rule, row.version_number, row.disabled_reason)


def _build_columns(rule: SyncRule) -> dict[str, Any]:
    conditions = [condition.model_dump(mode="json") for condition in rule.conditions]
    return {
        "priority": rule.priority,
        "conditions": json.dumps(conditions, sort_keys=True),
        "action": rule.action,
        "target_project": rule.target_project,
        "issue_type": rule.issue_type,
        **rule.states.model_dump(),
    }


STORE = RuleStore(saas_routing_rules, FORM.noun, rules_in_effect, _build_columns)


def _is(rule_id: str, number: int) -> Any:
    return and_(RULES.rule_id == rule_id, RULES.version_number == number)
