"""The rules in effect: read, edited as a whole, and disabled by what the target proves wrong."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, and_, insert, select, update

from orchestration_project.contracts.edits import EditConflictError
from orchestration_project.domains.saas.dry_run import DryRun, dry_run
from orchestration_project.domains.saas.rules import ActiveRule, RuleSet, StateMapping, SyncRule
from orchestration_project.domains.saas.stored_tasks import read_task
from orchestration_project.engine.leases import lock_row
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.errors import ConfigurationError
from orchestration_project.resources.saas.audit import Entity, SyncLogEntry, record
from orchestration_project.resources.saas.systems import TargetSystem
from orchestration_project.resources.saas.validating import RuleFindings, examine
from orchestration_project.tables.saas import (
    saas_field_mappings,
    saas_routing_rules,
    saas_source_states,
)

MOST_DIFFERENCES = 100
"""That a trial shows, so that an event stays small; the counts are of all."""

ROWS_AT_ONCE = 1_000

RULES, MAPPINGS = saas_routing_rules.c, saas_field_mappings.c


@dataclass(frozen=True)
class RuleChanges:
    """Names of the rules that an edit made, changed or ended."""

    added: Sequence[str]
    changed: Sequence[str]
    ended: Sequence[str]


def rules_in_effect(connection: Connection) -> RuleSet:
    """Return the rules in effect."""
    wanted = select(saas_routing_rules).where(RULES.is_active)
    is_of_it = and_(
        RULES.rule_id == MAPPINGS.rule_id, RULES.version_number == MAPPINGS.version_number
    )
    of_active = select(saas_field_mappings).join(saas_routing_rules, is_of_it)
    mappings: dict[tuple[str, int], list[dict[str, str]]] = {}
    for each in connection.execute(of_active.where(RULES.is_active)):
        mapping = {name: getattr(each, name) for name in ("target_field", "source_type", "value")}
        mappings.setdefault((each.rule_id, each.version_number), []).append(mapping)
    return RuleSet.of(
        _active(row, mappings.get((row.rule_id, row.version_number), []))
        for row in connection.execute(wanted)
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
    lock_row(connection, saas_routing_rules.name)  # two edits at once would both be in effect
    present = rules_in_effect(connection)
    require_version(present, based_on)
    before = {each.rule.rule_id: each for each in present.rules}
    latest = _latest_versions(connection)
    after = {rule.rule_id: rule for rule in rules}
    changed = [name for name, rule in after.items() if not _is_same(before.get(name), rule)]
    ended = sorted(set(before) - set(after))
    _end(connection, [*ended, *(name for name in changed if name in before)])
    for name in changed:
        _insert(connection, after[name], latest.get(name, 0) + 1, by=by, at=at)
    entries = [
        SyncLogEntry(
            _entity(name),
            "rule_changed" if name in before else "rule_added",
            detail={"by": by, "version": latest.get(name, 0) + 1, "rule": after[name].shown()},
        )
        for name in changed
    ]
    entries += [SyncLogEntry(_entity(name), "rule_ended", detail={"by": by}) for name in ended]
    record(connection, entries, at=at, run_id=run_id)
    return RuleChanges(
        [name for name in changed if name not in before],
        [name for name in changed if name in before],
        ended,
    )


def require_version(present: RuleSet, based_on: str | None) -> None:
    """Make sure that an edit started from the rules in effect; None: from any.

    Raises:
        EditConflictError: They were edited meanwhile.
    """
    if based_on not in (None, present.version):
        raise EditConflictError(
            "the sync rules changed since they were read",
            expected=f"an edit of version {present.version}",
            found=f"an edit of version {based_on}"[:200],
            remedy="read the rules again, and repeat the edit on them",
        )


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
    """Return what rules would do; nothing is written."""
    examined = examine(target, rules)
    version, run = replayed(warehouse, rules)
    return RuleTrial(
        version,
        run,
        [f"{name}: {each}" for name, found in examined.proven.items() for each in found],
        [f"{name}: {reason}" for name, reason in examined.unknown.items()],
    )


def replayed(warehouse: Warehouse, rules: Sequence[SyncRule]) -> tuple[str, DryRun]:
    """Return the version of the rules in effect, and what others would do with recorded tasks."""
    wanted = select(saas_source_states.c.record).where(saas_source_states.c.gone_at.is_(None))
    after = RuleSet.of(ActiveRule(rule, 0) for rule in rules)
    with warehouse.reading() as connection:
        before = rules_in_effect(connection)
        records = connection.execution_options(yield_per=ROWS_AT_ONCE).execute(wanted)
        run = dry_run(map(read_task, records.scalars()), before, after, most=MOST_DIFFERENCES)
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
        active = {each.rule.rule_id: each for each in rules_in_effect(connection).rules}
    examined = examine(target, [each.rule for each in active.values()])
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
    entry = SyncLogEntry(_entity(rule.rule.rule_id), operation, detail={"reason": reason})
    record(connection, [entry], at=at, run_id=run_id)


def _entity(rule_id: str) -> Entity:
    return Entity("rules", "rule", rule_id)


def _is_same(active: ActiveRule | None, rule: SyncRule) -> bool:
    """Whether a rule is in effect as it is; one that is disabled gets a new version."""
    return active is not None and active.disabled_reason is None and active.rule == rule


def _active(row: Row[Any], mappings: Iterable[dict[str, str]]) -> ActiveRule:
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


def _latest_versions(connection: Connection) -> dict[str, int]:
    found: dict[str, int] = {}
    for rule_id, number in connection.execute(select(RULES.rule_id, RULES.version_number)):
        found[rule_id] = max(number, found.get(rule_id, 0))
    return found


def _end(connection: Connection, names: Sequence[str]) -> None:
    connection.execute(
        update(saas_routing_rules)
        .where(RULES.rule_id.in_(names), RULES.is_active)
        .values(is_active=False)
    )


def _insert(connection: Connection, rule: SyncRule, number: int, *, by: str, at: datetime) -> None:
    fields = rule.model_dump(mode="json")
    connection.execute(
        insert(saas_routing_rules).values(
            rule_id=rule.rule_id,
            version_number=number,
            priority=rule.priority,
            conditions=json.dumps(fields["conditions"], sort_keys=True),
            action=rule.action,
            target_project=rule.target_project,
            issue_type=rule.issue_type,
            **rule.states.model_dump(),
            is_active=True,
            disabled_reason=None,
            edited_by=by,
            edited_at=at,
        )
    )
    rows = [
        {"rule_id": rule.rule_id, "version_number": number, **each} for each in fields["mappings"]
    ]
    if rows:
        connection.execute(insert(saas_field_mappings), rows)


def _is(rule_id: str, number: int) -> Any:
    return and_(RULES.rule_id == rule_id, RULES.version_number == number)
