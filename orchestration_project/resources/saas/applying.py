"""Application of the outbox: one lease and one record of the outcome per task."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, insert, select, update

from orchestration_project.domains.saas.intents import Intent
from orchestration_project.domains.saas.stored_tasks import canonical, read_task, recorded
from orchestration_project.domains.saas.tables import saas_dead_letters, saas_source_states
from orchestration_project.domains.saas.values import UnfitValueError
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.environment import open_all
from orchestration_project.engine.leases import LostLeaseError, give_back
from orchestration_project.engine.outbox import (
    DONE,
    Claim,
    Ended,
    OutboxLoop,
    Outcome,
    fail,
    read_due,
    read_due_entities,
    take_entity,
)
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.warehouse.frames import clean_text, match_scope
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

FIRST_WAIT = timedelta(minutes=1)
"""Before the second try, doubled for each further one."""

MAX_FAILURES_IN_ROW = 3
"""Tries in vain, one after the other, after which a run takes the systems to be down."""

AMBIGUOUS_STATUSES = (401, 404, 408, 409, 429)
"""Statuses that may say nothing of the task: our key, or what changed between two requests."""

SETTLED_STATES = ("done", "dead")

MAX_AMBIGUOUS_ATTEMPTS = 5
"""Tries after which such a status counts as a refusal, as does an answer without sense."""

MAX_REASON_LENGTH = 2_000


@dataclass
class ApplyResult:
    """How many intentions came to which end, and what stopped the rest, if anything did."""

    outcomes: dict[str, int] = field(default_factory=dict)
    problem: TransientError | None = None

    def count(self, outcome: str) -> None:
        """Count one."""
        self.outcomes[outcome] = self.outcomes.get(outcome, 0) + 1


@dataclass(kw_only=True)
class ClaimedIntent(Claim):
    """An intention that is worked on, its task's state, and what came of it."""

    entity: Entity
    state: Row[Any]
    agreement: SyncState
    problem: OrchestrationError | None = None
    reason_code: str = ""
    http_status: int | None = None


class Applier:
    """Applies the waiting entries in the outbox of one pair of systems."""

    def __init__(
        self,
        warehouse: Warehouse,
        clock: Clock,
        context: SyncContext,
        source: SourceSystem,
        target: TargetSystem,
    ) -> None:
        self._warehouse = warehouse
        self._clock = clock
        self._context = context
        self._source = source
        self._target = target
        self._loop = OutboxLoop(warehouse, clock, context.run_id)

    def apply(self, entities: Sequence[Entity] | None = None) -> ApplyResult:
        """Apply due intentions, of all tasks or just of these.

        Several tries in vain after each other end it: the rest waits for the next run. Where
        nothing is due, no system is opened.

        Raises:
            OrchestrationError: A system cannot be opened; nothing was tried.
        """
        applied, failures_in_row, due = ApplyResult(), 0, self._due(entities)
        if due:
            open_all(self._source, self._target)
        for ended in self._loop.apply(due, self._begin, self._send, self._record):
            problem = _find_stopping_problem(ended)
            applied.count(ended.outcome)
            failures_in_row = failures_in_row + 1 if problem else 0
            is_throttled = problem is not None and problem.retry_in_seconds > 0
            if problem and (is_throttled or failures_in_row >= MAX_FAILURES_IN_ROW):
                applied.problem = problem
                break
            is_settled = ended.outcome in SETTLED_STATES
            if is_settled and self._due([ended.key]):  # planned by a run that found us at work
                due.append(ended.key)
        return applied

    def _due(self, entities: Sequence[Entity] | None) -> list[Entity]:
        names = None if entities is None else [entity.outbox_entity for entity in entities]
        with self._warehouse.reading() as connection:
            due = read_due_entities(connection, self._context.topic, self._clock.now(), among=names)
        return [Entity.of_outbox(self._source.system, name) for name in due]

    def _begin(
        self, connection: Connection, entity: Entity
    ) -> ClaimedIntent | Ended[Entity, ClaimedIntent]:
        now, topic, name = self._clock.now(), self._context.topic, entity.outbox_entity
        lease = take_entity(connection, topic, name, now=now, run_id=self._context.run_id)
        if lease is None:
            return Ended(entity, "busy")
        state = _read_state(connection, entity)
        due = read_due(connection, [topic], now, entity=name)
        latest = [entry for entry in due if entry.version_number == state.version_number]
        if not latest:  # another run did it meanwhile, or tried
            give_back(connection, lease)
            return Ended(entity, "done_before")
        agreement = _read_agreement(entity, state)
        return ClaimedIntent(latest[0], lease, entity=entity, state=state, agreement=agreement)

    def _send(self, waiting: ClaimedIntent) -> Outcome:
        """Apply the intention of one task; return its outcome."""
        pair = SyncPair(
            self._source,
            self._target,
            now=self._clock.now,
            before_write=lambda: self._loop.verify_lease(waiting),
            ahead=lambda agreement: self._record_ahead(waiting, agreement),
        )
        try:
            pair.agree(waiting.agreement, _read_intent(waiting))
        except LostLeaseError:
            raise
        except ConfigurationError as error:  # as of a key that ends: no task goes on
            waiting.problem = error
            return _retry_later(waiting, error)
        except (TransientError, SourceError, ContractError, UnfitValueError) as error:
            return _record_failure(waiting, error)
        return DONE

    def _record_ahead(self, waiting: ClaimedIntent, agreement: SyncState) -> None:
        """Record the known facts before a write whose answer may never come.

        Raises:
            LostLeaseError: The task is another run's by now.
        """
        facts = {"target_key": agreement.target_key, "applied": _render_applied(agreement)}
        with self._loop.recording(waiting) as connection:
            _update_state(connection, waiting.entity, facts)
            at, run_id = self._clock.now(), self._context.run_id
            record(connection, agreement.entries, at=at, run_id=run_id)
        agreement.entries.clear()

    def _record(
        self, connection: Connection, waiting: ClaimedIntent, outcome: Outcome, is_current: bool
    ) -> None:
        now, run_id, agreement = self._clock.now(), self._context.run_id, waiting.agreement
        latest = _read_state(connection, waiting.entity)
        facts = _collect_facts(waiting, latest.record, now)
        if latest.version_number != waiting.entry.version_number:
            facts.pop("intended", None)  # something newer is intended already
        _update_state(connection, waiting.entity, facts)
        if outcome.state == "dead":
            agreement.note("refused", reason_code=waiting.reason_code, reason=outcome.reason)
            if is_current:  # a superseded version needs no dead letter
                _insert_letter(connection, waiting, outcome, now, run_id)
        record(connection, agreement.entries, at=now, run_id=run_id)


def _read_agreement(entity: Entity, state: Row[Any]) -> SyncState:
    applied = json.loads(state.applied) if state.applied else {}
    begun = applied.get("begun")
    return SyncState(
        entity,
        state.target_key,
        applied.get("fields", {}),
        applied.get("is_completed"),
        state.unresolved_email,
        PendingCreate(begun["mark"], datetime.fromisoformat(begun["at"])) if begun else None,
    )


def _render_applied(agreement: SyncState) -> str | None:
    """Return the agreed state of both sides as JSON; without an issue, which create is in doubt."""
    if agreement.target_key:
        return canonical({"fields": agreement.fields, "is_completed": agreement.is_completed})
    return canonical({"begun": vars(agreement.begun)}) if agreement.begun else None


def _read_intent(waiting: ClaimedIntent) -> Intent:
    """Return the intended issue; we may have completed the task since that was planned."""
    intent = Intent.read(waiting.entry.payload)
    return intent.completed() if waiting.state.is_completed else intent


def _collect_facts(waiting: ClaimedIntent, record: str, now: datetime) -> dict[str, Any]:
    """Return the facts of a task's state after a try, also after one that ended half way.

    ``record`` is the task as it was last seen.
    """
    agreement = waiting.agreement
    facts: dict[str, Any] = {
        "target_key": agreement.target_key,
        "applied": _render_applied(agreement),
        "unresolved_email": agreement.unresolved_email,
    }
    if any(entry.operation == "completed" for entry in agreement.entries):
        facts |= {
            "is_completed": True,
            "state_hash": "",  # so the next look also sees a task that was opened again meanwhile
            "record": recorded(replace(read_task(record), is_completed=True)),
            "last_seen_at": now,
            "intended": Intent.read(waiting.entry.payload).completed().payload,
        }
    return facts


def _read_state(connection: Connection, entity: Entity) -> Row[Any]:
    query = select(saas_source_states).where(match_scope(saas_source_states, entity.key))
    return connection.execute(query).one()


def _update_state(connection: Connection, entity: Entity, facts: Mapping[str, Any]) -> None:
    connection.execute(
        update(saas_source_states)
        .where(match_scope(saas_source_states, entity.key))
        .values(**facts)
    )


def _record_failure(waiting: ClaimedIntent, error: OrchestrationError | UnfitValueError) -> Outcome:
    """Return the outcome of a try that failed: another one follows, or it is refused for good."""
    if isinstance(error, UnfitValueError):
        waiting.reason_code = "unfit_value"
        return Outcome("dead", clean_text(str(error)))
    if isinstance(error, TransientError):
        waiting.problem = None if isinstance(error, UnderWayError) else error
        return _retry_later(waiting, error, error.retry_in_seconds)
    if isinstance(error, ContractError):
        waiting.reason_code = "no_transition" if isinstance(error, NoStepError) else "unreadable"
        return Outcome("dead", _describe_error(error))
    status = error.http_status if isinstance(error, RefusedError) else None
    waiting.reason_code, waiting.http_status = f"http_{status}" if status else "senseless", status
    outcome = fail(
        waiting.entry,
        _describe_error(error),
        may_pass=status is None or status in AMBIGUOUS_STATUSES,
        max_attempts=MAX_AMBIGUOUS_ATTEMPTS,
        first_wait=FIRST_WAIT,
    )
    if outcome.state == "waiting":
        waiting.problem = _build_passing_error(error)
    return outcome


def _build_passing_error(error: OrchestrationError) -> TransientError:
    return TransientError(str(error))


def _retry_later(waiting: ClaimedIntent, error: OrchestrationError, seconds: float = 0) -> Outcome:
    return fail(
        waiting.entry,
        _describe_error(error),
        retry_in_seconds=seconds,
        max_attempts=None,
        first_wait=FIRST_WAIT,
    )


def _find_stopping_problem(ended: Ended[Entity, ClaimedIntent]) -> TransientError | None:
    """Return a problem that may have the rest of the tasks fail too.

    Raises:
        ConfigurationError: It does.
    """
    problem = ended.claim.problem if ended.claim and ended.outcome != "overtaken" else None
    if problem is None or isinstance(problem, TransientError):
        return problem
    raise problem


def _describe_error(error: OrchestrationError) -> str:
    return clean_text(redacted(str(error)))[:MAX_REASON_LENGTH]


def _insert_letter(
    connection: Connection,
    waiting: ClaimedIntent,
    outcome: Outcome,
    now: datetime,
    run_id: str,
) -> None:
    connection.execute(
        insert(saas_dead_letters).values(
            **waiting.entity.key,
            version_number=waiting.entry.version_number,
            target_key=waiting.agreement.target_key,
            payload=waiting.entry.payload,
            reason_code=waiting.reason_code,
            reason=outcome.reason,
            http_status=waiting.http_status,
            failed_at=now,
            ended_at=None,
            run_id=run_id,
        )
    )
