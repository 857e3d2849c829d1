"""Application of the outbox: one lease and one record of the outcome per task."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, insert, select, update

from orchestration_project.connections.clock import Clock
from orchestration_project.contracts.attempts import LEASE
from orchestration_project.domains.saas.intents import Intent
from orchestration_project.domains.saas.stored_tasks import canonical, read_task, recorded
from orchestration_project.domains.saas.values import UnfitValueError
from orchestration_project.engine.environment import open_all
from orchestration_project.engine.leases import (
    Lease,
    LostLeaseError,
    give_back,
    lock_row,
    still_held,
    take,
)
from orchestration_project.engine.outbox import (
    DONE,
    Entry,
    Outcome,
    fail,
    read_due,
    read_due_entities,
    settle,
)
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.warehouse.frames import storable, within
from orchestration_project.errors import (
    ConfigurationError,
    ContractError,
    OrchestrationError,
    SourceError,
    TransientError,
)
from orchestration_project.redaction import redacted
from orchestration_project.resources.saas.agreeing import (
    NoStepError,
    PendingCreate,
    SyncPair,
    SyncState,
    UnderWayError,
)
from orchestration_project.resources.saas.audit import Entity, record
from orchestration_project.resources.saas.states import SyncContext
from orchestration_project.resources.saas.systems import (
    RefusedError,
    SourceSystem,
    TargetSystem,
)
from orchestration_project.tables.saas import saas_dead_letters, saas_source_states

FIRST_WAIT = timedelta(minutes=1)
"""Before the second try, doubled for each further one."""

MAX_FAILURES_IN_ROW = 3
"""Tries in vain, one after the other, after which a run takes the systems to be down."""

AMBIGUOUS_STATUSES = (401, 404, 408, 409, 429)
"""Statuses that may say nothing of the task: our key, or what changed between two requests."""

SETTLED_STATES = ("done", "dead")

MAX_AMBIGUOUS_ATTEMPTS = 5
"""Tries after which such a status counts as a refusal, as does an answer without sense."""

LONGEST_REASON = 2_000


@dataclass
class ApplyResult:
    """How many intentions came to which end, and what stopped the rest, if anything did."""

    outcomes: dict[str, int] = field(default_factory=dict)
    problem: TransientError | None = None

    def count(self, outcome: str) -> None:
        """Count one."""
        self.outcomes[outcome] = self.outcomes.get(outcome, 0) + 1


@dataclass(frozen=True)
class ClaimedIntent:
    """An intention that is worked on: its entry of the outbox, its task's state, our lease."""

    entity: Entity
    entry: Entry
    state: Row[Any]
    lease: Lease


class _End(NamedTuple):
    """How a try ended, as the outbox and the dead letters say it."""

    outcome: Outcome
    reason_code: str = ""
    http_status: int | None = None


class Applier:
    """Does what waits in the outbox of one pair of systems."""

    def __init__(
        self,
        warehouse: Warehouse,
        clock: Clock,
        desk: SyncContext,
        source: SourceSystem,
        target: TargetSystem,
    ) -> None:
        self._warehouse = warehouse
        self._clock = clock
        self._desk = desk
        self._source = source
        self._target = target

    def apply(self, entities: Sequence[Entity] | None = None) -> ApplyResult:
        """Do what is due, of all tasks or just of these.

        Several tries in vain after each other end it: the rest waits for the next run. Where
        nothing is due, no system is opened.

        Raises:
            OrchestrationError: A system cannot be opened; nothing was tried.
        """
        applied, failures_in_row, due = ApplyResult(), 0, self._due(entities)
        if due:
            open_all(self._source, self._target)
        for entity in due:
            outcome, problem = self._try(entity)
            applied.count(outcome)
            failures_in_row = failures_in_row + 1 if problem else 0
            is_throttled = problem is not None and problem.retry_in_seconds > 0
            if problem and (is_throttled or failures_in_row >= MAX_FAILURES_IN_ROW):
                applied.problem = problem
                break
            if outcome in SETTLED_STATES and self._due(
                [entity]
            ):  # planned by a run that found us at work
                due.append(entity)
        return applied

    def _due(self, entities: Sequence[Entity] | None) -> list[Entity]:
        names = None if entities is None else [entity.outbox_entity for entity in entities]
        with self._warehouse.reading() as connection:
            due = read_due_entities(connection, self._desk.topic, self._clock.now(), among=names)
        return [Entity.of_outbox(self._source.system, name) for name in due]

    def _try(self, entity: Entity) -> tuple[str, TransientError | None]:
        """Do what is intended for one task; return in a word what came of it."""
        with self._warehouse.writing() as connection:
            waiting = self._begin(connection, entity)
        if isinstance(waiting, str):
            return waiting, None
        agreement = _agreement(waiting)
        problem = None
        try:
            try:
                self._both(waiting).agree(agreement, _intent(waiting))
                end = _End(DONE)
            except LostLeaseError:
                raise
            except (TransientError, SourceError, ContractError, UnfitValueError) as error:
                end = _end_of(waiting, error)
                is_due_to_us = end.outcome.state != "waiting" or isinstance(error, UnderWayError)
                problem = None if is_due_to_us else _passing(error)
            except ConfigurationError as error:  # as of a key that ends: no task goes on
                with self._warehouse.writing() as connection:
                    self._record(connection, waiting, agreement, _End(_again(waiting, error)))
                raise
            with self._warehouse.writing() as connection:
                self._record(connection, waiting, agreement, end)
        except LostLeaseError:
            return "overtaken", None
        return end.outcome.state, problem

    def _begin(self, connection: Connection, entity: Entity) -> ClaimedIntent | str:
        now = self._clock.now()
        name = f"{self._desk.topic}|{entity.outbox_entity}"
        lease = take(connection, name, holder=self._desk.run_id, now=now, until=now + LEASE)
        if lease is None:
            return "busy"
        state = _state(connection, entity)
        due = read_due(connection, [self._desk.topic], now, entity=entity.outbox_entity)
        latest = [entry for entry in due if entry.version_number == state.version_number]
        if not latest:  # another run did it meanwhile, or tried
            give_back(connection, lease)
            return "done_before"
        return ClaimedIntent(entity, latest[0], state, lease)

    def _both(self, waiting: ClaimedIntent) -> SyncPair:
        return SyncPair(
            self._source,
            self._target,
            now=self._clock.now,
            before_write=lambda: self._make_sure(waiting.lease),
            ahead=lambda agreement: self._record_ahead(waiting, agreement),
        )

    def _make_sure(self, lease: Lease) -> None:
        """Make sure, right before a write, that the lease is ours and has not run out.

        Raises:
            LostLeaseError: It is not, or has.
        """
        with self._warehouse.reading() as connection:
            still_held(connection, lease)
        if self._clock.now() >= lease.expires_at:
            raise LostLeaseError(
                f"the lease of {lease.name} has run out",
                expected=f"all requests within {LEASE}",
                remedy="nothing: the next run does it",
            )

    def _record_ahead(self, waiting: ClaimedIntent, agreement: SyncState) -> None:
        """Record what is known before a write whose answer may never come.

        Raises:
            LostLeaseError: The task is another run's by now.
        """
        facts = {"target_key": agreement.target_key, "applied": _applied(agreement)}
        with self._warehouse.writing() as connection:
            still_held(connection, waiting.lease)
            lock_row(connection, self._desk.topic)
            _update_state(connection, waiting.entity, facts)
            at, run_id = self._clock.now(), self._desk.run_id
            record(connection, agreement.entries, at=at, run_id=run_id)
        agreement.entries.clear()

    def _record(
        self, connection: Connection, waiting: ClaimedIntent, agreement: SyncState, end: _End
    ) -> None:
        still_held(connection, waiting.lease)
        lock_row(connection, self._desk.topic)
        now = self._clock.now()
        outcome, run_id = end.outcome, self._desk.run_id
        is_current = settle(connection, [waiting.entry], outcome, now=now, run_id=run_id)
        latest = _state(connection, waiting.entity)
        facts = _facts(waiting, agreement, latest.record, now)
        if latest.version_number != waiting.entry.version_number:
            facts.pop("intended", None)  # something newer is intended already
        _update_state(connection, waiting.entity, facts)
        if outcome.state == "dead":
            agreement.note("refused", reason_code=end.reason_code, reason=outcome.reason)
            if is_current:  # a superseded version needs no dead letter
                _insert_letter(connection, waiting, agreement, end, now, run_id)
        record(connection, agreement.entries, at=now, run_id=run_id)
        give_back(connection, waiting.lease)


def _agreement(waiting: ClaimedIntent) -> SyncState:
    state = waiting.state
    applied = json.loads(state.applied) if state.applied else {}
    begun = applied.get("begun")
    return SyncState(
        waiting.entity,
        state.target_key,
        applied.get("fields", {}),
        applied.get("is_completed"),
        state.unresolved_email,
        PendingCreate(begun["mark"], datetime.fromisoformat(begun["at"])) if begun else None,
    )


def _applied(agreement: SyncState) -> str | None:
    """Return what both sides agree on as JSON; without an issue, which create is in doubt."""
    if agreement.target_key:
        return canonical({"fields": agreement.fields, "is_completed": agreement.is_completed})
    return canonical({"begun": vars(agreement.begun)}) if agreement.begun else None


def _intent(waiting: ClaimedIntent) -> Intent:
    """Return what is intended; we may have completed the task since that was planned."""
    intent = Intent.read(waiting.entry.payload)
    return intent.completed() if waiting.state.is_completed else intent


def _facts(
    waiting: ClaimedIntent, agreement: SyncState, record: str, now: datetime
) -> dict[str, Any]:
    """Return what a task's state says after a try, also after one that ended half way.

    ``record`` is the task as it was last seen.
    """
    facts: dict[str, Any] = {
        "target_key": agreement.target_key,
        "applied": _applied(agreement),
        "unresolved_email": agreement.unresolved_email,
    }
    if any(each.operation == "completed" for each in agreement.entries):
        facts |= {
            "is_completed": True,
            "state_hash": "",  # so the next look also sees a task that was opened again meanwhile
            "record": recorded(replace(read_task(record), is_completed=True)),
            "last_seen_at": now,
            "intended": Intent.read(waiting.entry.payload).completed().payload,
        }
    return facts


def _state(connection: Connection, entity: Entity) -> Row[Any]:
    wanted = select(saas_source_states).where(within(saas_source_states, entity.key))
    return connection.execute(wanted).one()


def _update_state(connection: Connection, entity: Entity, facts: Mapping[str, Any]) -> None:
    connection.execute(
        update(saas_source_states).where(within(saas_source_states, entity.key)).values(**facts)
    )


def _end_of(waiting: ClaimedIntent, error: OrchestrationError | UnfitValueError) -> _End:
    """Return the end of a try that failed: another one follows, or it is refused for good."""
    if isinstance(error, UnfitValueError):
        return _End(Outcome("dead", storable(str(error))), "unfit_value")
    if isinstance(error, TransientError):
        return _End(_again(waiting, error, error.retry_in_seconds))
    if isinstance(error, ContractError):
        code = "no_transition" if isinstance(error, NoStepError) else "unreadable"
        return _End(Outcome("dead", _reason(error)), code)
    status = error.http_status if isinstance(error, RefusedError) else None
    outcome = fail(
        waiting.entry,
        _reason(error),
        may_pass=status is None or status in AMBIGUOUS_STATUSES,
        max_attempts=MAX_AMBIGUOUS_ATTEMPTS,
        first_wait=FIRST_WAIT,
    )
    return _End(outcome, f"http_{status}" if status else "senseless", status)


def _again(waiting: ClaimedIntent, error: OrchestrationError, seconds: float = 0) -> Outcome:
    return fail(
        waiting.entry,
        _reason(error),
        retry_in_seconds=seconds,
        max_attempts=None,
        first_wait=FIRST_WAIT,
    )


def _passing(error: Exception) -> TransientError:
    return error if isinstance(error, TransientError) else TransientError(str(error))


def _reason(error: OrchestrationError) -> str:
    return storable(redacted(str(error)))[:LONGEST_REASON]


def _insert_letter(
    connection: Connection,
    waiting: ClaimedIntent,
    agreement: SyncState,
    end: _End,
    now: datetime,
    run_id: str,
) -> None:
    connection.execute(
        insert(saas_dead_letters).values(
            **waiting.entity.key,
            version_number=waiting.entry.version_number,
            target_key=agreement.target_key,
            payload=waiting.entry.payload,
            reason_code=end.reason_code,
            reason=end.outcome.reason,
            http_status=end.http_status,
            failed_at=now,
            ended_at=None,
            run_id=run_id,
        )
    )
