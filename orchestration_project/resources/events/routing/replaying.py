"""Replay of dead letters: actions that could not be planned are planned again by present rules."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, select, update

from orchestration_project.domains.events.routing import (
    PlannedAction,
    RefusedAction,
    plan_action,
)
from orchestration_project.domains.events.tables import (
    ROUTED_STATES,
    events_routed,
    events_routing_dead_letters,
)
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.warehouse.frames import match_scope
from orchestration_project.resources.events.routing.planning import (
    RoutedKey,
    add_letter,
    delivery_of,
    enqueue,
    is_row,
    refused_letter,
    update_routed,
    values_of,
    write_row,
)
from orchestration_project.resources.events.routing.rules import rules_in_effect
from orchestration_project.resources.events.routing.targets import RoutingTargets
from orchestration_project.services.inbox.rows import read_contents

LETTERS = events_routing_dead_letters.c


@dataclass(frozen=True)
class LetterFilter:
    """Filter of dead letters to replay; all given conditions must hold."""

    rule_id: str | None = None
    source: str | None = None
    reason_code: str | None = None
    limit: int = 10_000


@dataclass(frozen=True)
class ReplayedLetter:
    """A dead letter and its outcome: planned, dead (again), no_rule, no_delivery, body_removed."""

    key: RoutedKey
    reason_code: str
    outcome: str
    reason: str


def replay_letters(
    warehouse: Warehouse,
    clock: Clock,
    targets: RoutingTargets,
    wanted: LetterFilter,
    *,
    run_id: str,
    dry_run: bool,
) -> Sequence[ReplayedLetter]:
    """Plan the actions of dead letters again, each in a transaction of its own.

    The rule in effect now maps the delivery; the target gets the same idempotency key.

    Args:
        warehouse: The database.
        clock: Its time.
        targets: What rules may name.
        wanted: Which letters.
        run_id: Dagster's run.
        dry_run: Whether nothing is written; the outcome is what a replay would have.
    """
    statement = select(events_routing_dead_letters).where(LETTERS.ended_at.is_(None))
    given_names = {
        "rule_id": wanted.rule_id,
        "source": wanted.source,
        "reason_code": wanted.reason_code,
    }
    for name, value in given_names.items():
        if value is not None:
            statement = statement.where(LETTERS[name] == value)
    statement = statement.order_by(LETTERS.failed_at, LETTERS.delivery_id).limit(wanted.limit)
    with warehouse.reading() as connection:
        letters = connection.execute(statement).all()
    replayed_letters: list[ReplayedLetter] = []
    for letter in letters:
        if dry_run:
            with warehouse.reading() as connection:
                outcome = _name_outcome(_plan_letter(connection, targets, letter))
        else:
            with warehouse.writing() as connection:
                outcome = _replay(connection, clock, targets, letter, run_id)
        key = RoutedKey(letter.source, letter.delivery_id, letter.rule_id)
        replayed_letters.append(ReplayedLetter(key, letter.reason_code, outcome, letter.reason))
    return replayed_letters


def _name_outcome(planned: PlannedAction | RefusedAction | str) -> str:
    if isinstance(planned, str):
        return planned
    return "planned" if isinstance(planned, PlannedAction) else "dead"


def _replay(
    connection: Connection, clock: Clock, targets: RoutingTargets, letter: Row[Any], run_id: str
) -> str:
    key = RoutedKey(letter.source, letter.delivery_id, letter.rule_id)
    query = ROUTED_STATES.select.where(match_scope(events_routed, key._asdict()))
    routed = connection.execute(query.with_for_update(of=events_routed)).first()
    if routed is None:
        return "no_delivery"
    planned = _plan_letter(connection, targets, letter)
    if isinstance(planned, str):
        return planned
    now = clock.now()
    ended = connection.execute(
        update(events_routing_dead_letters)
        .where(
            match_scope(events_routing_dead_letters, key._asdict()),
            LETTERS.letter_number == letter.letter_number,
            LETTERS.ended_at.is_(None),
        )
        .values(ended_at=now)
    )
    if not ended.rowcount or routed.outcome != "dead":  # another run replayed it meanwhile
        return _name_outcome(planned)
    is_written = isinstance(planned, PlannedAction) and is_row(targets, planned)
    number = routed.intention_number + (0 if is_written else 1)
    values = values_of(planned, number, now, run_id)
    if isinstance(planned, PlannedAction):
        values["progress"] = routed.progress  # what an earlier attempt may have done
    update_routed(connection, key, **values)
    if isinstance(planned, RefusedAction):
        add_letter(connection, key, refused_letter(planned), now=now, run_id=run_id)
    elif is_written:
        row = {**routed._mapping, **values}
        outcome = write_row(connection, targets, row, now=now, run_id=run_id)
        return "dead" if outcome.state == "dead" else "planned"
    else:
        intention = (key, values["action"], number)
        enqueue(connection, [intention], cause="replay", now=now, run_id=run_id)
    return _name_outcome(planned)


def _plan_letter(
    connection: Connection, targets: RoutingTargets, letter: Row[Any]
) -> PlannedAction | RefusedAction | str:
    """Return the action that the present rule plans; or what is missing: no_rule, no_delivery
    or body_removed."""
    rules = {
        active_rule.rule.rule_id: active_rule for active_rule in rules_in_effect(connection).rules
    }
    rule = rules.get(letter.rule_id)
    if rule is None:
        return "no_rule"
    contents = read_contents(connection, letter.source, [letter.delivery_id])
    if letter.delivery_id not in contents:
        return "no_delivery"
    content = contents[letter.delivery_id]
    if content is None:
        return "body_removed"
    return plan_action(rule, delivery_of(content), targets.fields_of)
