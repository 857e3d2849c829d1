"""The states of a source's tasks, and what is planned for those that changed."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, and_, delete, insert, select, update

from orchestration_project.domains.saas.intents import Intent, intent_of
from orchestration_project.domains.saas.lookup import MissingPathError
from orchestration_project.domains.saas.records import Task
from orchestration_project.domains.saas.rules import Action, RuleSet
from orchestration_project.domains.saas.stored_tasks import read_task, recorded, state_hash
from orchestration_project.domains.saas.tables import saas_dead_letters, saas_source_states
from orchestration_project.engine.leases import lock_row
from orchestration_project.engine.outbox import Intention, add_intentions, supersede
from orchestration_project.engine.warehouse.frames import match_scope
from orchestration_project.resources.saas.audit import Entity, SyncLogEntry, record

STATES = saas_source_states.c
MISSING_PATH = "missing_path"
LAST_SEEN_TOLERANCE = timedelta(hours=1)
"""A task that stays as it is gets its time of being seen at most so late: it is one statement."""

CLOCK_SKEW_TOLERANCE = timedelta(minutes=5)
"""Tolerated clock skew of other machines; a later time is of a clock that was set back."""


@dataclass(frozen=True)
class FetchedTask:
    """A task as it was fetched at a time, with its state's digest."""

    task: Task
    state_hash: str
    fetched_at: datetime

    @property
    def entity(self) -> Entity:
        """Kind of the record."""
        return Entity(self.task.system, self.task.entity_type, self.task.entity_id)


@dataclass(frozen=True)
class RuleDecision:
    """Decision of the rules about a task: an intent, or the reason for none."""

    action: Action
    rule: str | None
    intent: Intent | None = None
    problem: str | None = None


@dataclass(frozen=True)
class SyncContext:
    """Planner and applier: a topic of the outbox, and a run.

    Rows of states are written whole, so transactions that write some of a topic come one by one.
    """

    topic: str
    run_id: str


NOTHING_FOLLOWS: Mapping[str, str] = {
    "completed_before": "the task was completed before it had an issue",
    "drop": "no rule makes an issue of the task",
    "hold": "the task's rule is disabled",
    "overtaken": "another run has seen the task later",
    "refused": "a mapping needs a part that the task lacks: see saas_dead_letters",
}
"""Why there is nothing to do after a plan, by what was planned."""


@dataclass
class PlanCounts:
    """How many tasks got which plan, and for which something is due now."""

    actions: dict[str, int] = field(default_factory=dict)
    entities: list[Entity] = field(default_factory=list)

    @property
    def reason_for_nothing(self) -> str:
        """Why nothing is due; empty: something is."""
        if self.entities:
            return ""
        whys = [NOTHING_FOLLOWS[name] for name in self.actions if name in NOTHING_FOLLOWS]
        return ", ".join(whys) or "already in this state: the task is as it was"

    def count(self, what: str, entity: Entity) -> None:
        """Count one."""
        self.actions[what] = self.actions.get(what, 0) + 1
        if what == "planned":
            self.entities.append(entity)


def entity_of(row: Row[Any]) -> Entity:
    """Return whose a row of the states is."""
    return Entity(row.system, row.entity_type, row.entity_id)


def known_states(
    connection: Connection, system: str, entity_ids: Sequence[str] | None = None
) -> dict[str, str]:
    """Return the digest of each task that a system had when it was last seen, or of just these."""
    query = select(STATES.entity_id, STATES.state_hash).where(
        STATES.system == system, STATES.gone_at.is_(None)
    )
    if entity_ids is not None:
        query = query.where(STATES.entity_id.in_(entity_ids))
    # Of 100,000 rows the driver's own tuples take half the time of rows with names.
    cursor = connection.execute(query).cursor
    return dict(cursor.fetchall())  # pyright: ignore[reportOptionalMemberAccess] - it is open


def judged(task: Task, rules: RuleSet) -> RuleDecision:
    """Return the decision of the rules about a task."""
    decision = rules.decide(task)
    rule = decision.rule.reference if decision.rule else None
    if decision.action != "sync" or decision.rule is None:
        return RuleDecision(decision.action, rule)
    try:
        return RuleDecision("sync", rule, intent_of(task, decision.rule))
    except MissingPathError as error:
        return RuleDecision("sync", rule, problem=f"{error}, which a mapping of {rule} needs")


def seen(task: Task, rules: RuleSet, fetched_at: datetime) -> FetchedTask:
    """Return a task as it was fetched."""
    return FetchedTask(task, state_hash(task, rules), fetched_at)


def plan(
    connection: Connection,
    context: SyncContext,
    rules: RuleSet,
    tasks: Sequence[FetchedTask],
    now: datetime,
) -> PlanCounts:
    """Record the states of tasks, and put into the outbox what is to be done about each.

    A task that was recorded since it was fetched is left as it is.
    """
    lock_row(connection, context.topic)
    latest = {task.entity: task for task in tasks}  # pages may repeat one
    before = _read_rows(connection, list(latest))
    planned, writer = PlanCounts(), _Writer(connection, context, now)
    for fetched_task in latest.values():
        row = before.get(fetched_task.entity)
        if (
            row is not None
            and fetched_task.fetched_at < row.last_seen_at <= now + CLOCK_SKEW_TOLERANCE
        ):
            planned.count("overtaken", fetched_task.entity)
            continue
        what = writer.plan(fetched_task, row, judged(fetched_task.task, rules), rules.version)
        planned.count(what, fetched_task.entity)
    writer.write()
    return planned


def plan_again(
    connection: Connection,
    context: SyncContext,
    rules: RuleSet,
    entities: Iterable[Entity],
    *,
    cause: str,
    now: datetime,
) -> PlanCounts:
    """Plan tasks again, as last seen, and put the intentions into the outbox."""
    lock_row(connection, context.topic)
    planned, writer = PlanCounts(), _Writer(connection, context, now)
    for row in _read_rows(connection, list(entities)).values():
        if row.gone_at is None:
            task = read_task(row.record)
            again = FetchedTask(task, state_hash(task, rules), row.last_seen_at)
            judgement = judged(task, rules)
            what = writer.plan(again, row, judgement, rules.version, cause=cause)
            planned.count(what, again.entity)
    writer.write()
    return planned


def mark_gone(
    connection: Connection, context: SyncContext, entities: Sequence[Entity], now: datetime
) -> int:
    """Record that a source has tasks no more; their issues stay as they are."""
    lock_row(connection, context.topic)
    rows = [row for row in _read_rows(connection, entities).values() if row.gone_at is None]
    writer = _Writer(connection, context, now)
    for row in rows:
        writer.supersede(entity_of(row))
        writer.entries.append(SyncLogEntry(entity_of(row), "source_deleted", row.target_key))
        connection.execute(
            update(saas_source_states)
            .where(match_scope(saas_source_states, entity_of(row).key))
            .values(gone_at=now, last_seen_at=now)
        )
    writer.write()
    return len(rows)


def refresh(connection: Connection, system: str, polled_at: datetime) -> None:
    """Record that all tasks of a system that are there were seen as they are."""
    connection.execute(
        update(saas_source_states)
        .where(
            STATES.system == system,
            STATES.gone_at.is_(None),
            STATES.last_seen_at < polled_at - LAST_SEEN_TOLERANCE,
        )
        .values(last_seen_at=polled_at)
    )


class _Writer:
    """Collects the writes of a plan, so that many tasks take a few statements."""

    def __init__(self, connection: Connection, context: SyncContext, now: datetime) -> None:
        self._connection = connection
        self._context = context
        self._now = now
        self._superseded: list[Entity] = []
        self._states: list[dict[str, Any]] = []
        self._intentions: list[Intention] = []
        self._letters: list[dict[str, Any]] = []
        self.entries: list[SyncLogEntry] = []

    def plan(
        self,
        each: FetchedTask,
        row: Row[Any] | None,
        judgement: RuleDecision,
        version: str,
        *,
        cause: str | None = None,
    ) -> str:
        """Plan for one task; return in a word what."""
        state = self._state(each, row, judgement, version)
        self._states.append(state)
        if judgement.action != "sync":
            return self._leave(each.entity, row, state)
        if judgement.problem is not None:
            self._intend(each.entity, state, cause or "source", problem=judgement.problem)
            return "refused"
        payload = judgement.intent.payload if judgement.intent else ""
        is_same = row is not None and row.intended == payload and row.gone_at is None
        if is_same and cause is None:
            return "unchanged"
        is_over = each.task.is_completed and not state["version_number"]
        if is_over:  # it was completed before our first poll of it
            return "completed_before"
        state["intended"] = payload
        self._intend(each.entity, state, cause or _find_cause(row, each))
        return "planned"

    def supersede(self, entity: Entity) -> None:
        """Have nothing done of what waits for an entity."""
        self._superseded.append(entity)

    def write(self) -> None:
        """Write all of it."""
        for batch in _split_batches(self._superseded):
            self._end_earlier(batch)
        keys = [Entity(s["system"], s["entity_type"], s["entity_id"]) for s in self._states]
        for batch in _split_batches(keys):
            self._connection.execute(delete(saas_source_states).where(_match_entities(batch)))
        for table, rows in (
            (saas_source_states, self._states),
            (saas_dead_letters, self._letters),
        ):
            if rows:
                self._connection.execute(insert(table), rows)
        now, run_id = self._now, self._context.run_id
        add_intentions(self._connection, self._intentions, now=now, run_id=run_id)
        record(self._connection, self.entries, at=self._now, run_id=self._context.run_id)

    def _leave(self, entity: Entity, row: Row[Any] | None, state: dict[str, Any]) -> str:
        """Plan nothing for a task that its rule drops or holds, whatever was planned before."""
        action = state["action"]
        if row is not None and row.version_number:
            self.supersede(entity)
            state["intended"] = None
            if row.action != action:
                word = {"drop": "dropped", "hold": "held"}[action]
                detail = {"rule": state["rule"], "before": row.rule}
                self.entries.append(SyncLogEntry(entity, word, row.target_key, detail))
        return action

    def _state(
        self, each: FetchedTask, row: Row[Any] | None, judgement: RuleDecision, version: str
    ) -> dict[str, Any]:
        earlier = dict(row._mapping) if row is not None else {}
        return {
            **each.entity.key,
            "state_hash": each.state_hash,
            "rule_version": version,
            "rule": judgement.rule,
            "action": judgement.action,
            "target_key": earlier.get("target_key"),
            "is_completed": each.task.is_completed,
            "record": recorded(each.task),
            "intended": earlier.get("intended"),
            "applied": earlier.get("applied"),
            "unresolved_email": earlier.get("unresolved_email"),
            "version_number": earlier.get("version_number", 0),
            "last_seen_at": each.fetched_at,
            "gone_at": None,
        }

    def _intend(
        self, entity: Entity, state: dict[str, Any], cause: str, *, problem: str | None = None
    ) -> None:
        state["version_number"] += 1
        self.supersede(entity)
        self._intentions.append(
            Intention(
                self._context.topic,
                entity.outbox_entity,
                state["version_number"],
                "{}" if problem else state["intended"],
                cause,
                refusal=problem,
            )
        )
        if problem:
            state["intended"] = None
            self._letters.append(
                {
                    **entity.key,
                    "version_number": state["version_number"],
                    "target_key": state["target_key"],
                    "payload": "{}",
                    "reason_code": MISSING_PATH,
                    "reason": problem,
                    "http_status": None,
                    "failed_at": self._now,
                    "ended_at": None,
                    "run_id": self._context.run_id,
                }
            )

    def _end_earlier(self, entities: Sequence[Entity]) -> None:
        names = [entity.outbox_entity for entity in entities]
        now, run_id = self._now, self._context.run_id
        supersede(self._connection, self._context.topic, names, now=now, run_id=run_id)
        open_letters = and_(
            saas_dead_letters.c.system == entities[0].system,
            saas_dead_letters.c.entity_id.in_([each.entity_id for each in entities]),
            saas_dead_letters.c.ended_at.is_(None),
        )
        self._connection.execute(
            update(saas_dead_letters).where(open_letters).values(ended_at=self._now)
        )


def _find_cause(row: Row[Any] | None, each: FetchedTask) -> str:
    """Return why a task is planned for: it is new or changed, or only the rules are others."""
    if row is not None and row.record == recorded(each.task):
        return "rules"
    return "source"


IN_ONE_STATEMENT = 500
"""Keys that a condition lists: SQLite takes 32,766 values, and a plan is not slower for it."""


def _split_batches(entities: Sequence[Entity]) -> Iterable[Sequence[Entity]]:
    for start in range(0, len(entities), IN_ONE_STATEMENT):
        yield entities[start : start + IN_ONE_STATEMENT]


def _match_entities(entities: Sequence[Entity]) -> Any:
    """Return the condition that a state is of one of these, all of one system and type."""
    return and_(
        STATES.system == entities[0].system,
        STATES.entity_type == entities[0].entity_type,
        STATES.entity_id.in_([entity.entity_id for entity in entities]),
    )


def _read_rows(connection: Connection, entities: Sequence[Entity]) -> dict[Entity, Row[Any]]:
    return {
        entity_of(row): row
        for batch in _split_batches(entities)
        for row in connection.execute(select(saas_source_states).where(_match_entities(batch)))
    }
