"""Application of planned actions: claimed in the outbox, taken once, and settled.

A process that ends between an action and its record leaves a claim that expires; the next attempt
has the same idempotency key. Actions that write into the database do so as they are settled.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, select, update

from orchestration_project.connections.clock import Clock
from orchestration_project.contracts.attempts import LEASE, MAX_ATTEMPTS, wait_after
from orchestration_project.engine.outbox import is_due
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.warehouse.frames import within
from orchestration_project.errors import (
    ConfigurationError,
    OrchestrationError,
    TransientError,
)
from orchestration_project.registry import (
    ActionEnvironment,
    ActionRequest,
    Registry,
    RoutingAction,
)
from orchestration_project.resources.events_routing.planning import (
    TOPIC_PREFIX,
    Letter,
    RoutedKey,
    add_letter,
    shown,
)
from orchestration_project.resources.events_routing.targets import (
    RoutingTargets,
    opened_connections,
)
from orchestration_project.settings import Settings
from orchestration_project.tables.events_routing import events_routed
from orchestration_project.tables.spine import outbox

MAX_FAILURES_IN_ROW = 3
"""Failed attempts at a target, one after the other, after which a run leaves it alone."""

ACTIONS_PER_RUN = 5_000


class DueAction(NamedTuple):
    """A row of the outbox that is due."""

    topic: str
    entity: str
    version_number: int
    attempt_count: int

    @property
    def action(self) -> str:
        """Name of the action."""
        return self.topic.removeprefix(TOPIC_PREFIX)

    @property
    def key(self) -> RoutedKey:
        """Delivery and rule."""
        return RoutedKey.of_entity(self.entity)


@dataclass(frozen=True)
class _Claim:
    due: DueAction
    until: datetime
    routed: Row[Any]


@dataclass(frozen=True)
class ActionResult:
    """End of an attempt: ``outcome`` is done, waiting, dead, superseded, busy or overtaken."""

    due: DueAction
    outcome: str
    target: str = ""
    detail: str = ""


@dataclass
class ApplySummary:
    """Ends of a run's attempts, by action and outcome, and the first of them."""

    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    results: list[ActionResult] = field(default_factory=list)

    def add(self, result: ActionResult) -> None:
        """Count an attempt."""
        self.counts[result.due.action, result.outcome] += 1
        if len(self.results) < 100:
            self.results.append(result)


@dataclass
class ActionApplier:
    """Takes the actions that are due.

    Attributes:
        warehouse: The database.
        clock: Its time.
        targets: What rules may name.
        settings: Settings, for the names of secrets.
        run_id: Dagster's run.
        open_connection: Opens a connection by the name of its resource.
    """

    warehouse: Warehouse
    clock: Clock
    targets: RoutingTargets
    settings: Settings
    run_id: str
    open_connection: Callable[[str], Any]
    _failures: Counter[str] = field(default_factory=Counter)

    def apply_due(self, *, limit: int = ACTIONS_PER_RUN) -> ApplySummary:
        """Take the actions that are due, the oldest first; what fails waits for its next attempt.

        Raises:
            OrchestrationError: The database cannot be used.
        """
        summary = ApplySummary()
        own = [each.name for each in self.targets.registry.actions.values() if not each.run]
        for due in due_actions(self.warehouse, self.clock, own, limit=limit):
            result = self._apply(due)
            if result is not None:
                summary.add(result)
        return summary

    def _apply(self, due: DueAction) -> ActionResult | None:
        action = self.targets.registry.actions[due.action]
        with self.warehouse.writing() as connection:
            claim = self._claim(connection, due)
            if not isinstance(claim, _Claim):
                return claim
            if action.write is not None:
                return self._write(connection, claim, action, action.write)
        return self._send(claim, action)

    def _claim(self, connection: Connection, due: DueAction) -> _Claim | ActionResult | None:
        """Claim an action; None: its target is left alone for now."""
        wanted = select(events_routed).where(within(events_routed, due.key._asdict()))
        routed = connection.execute(wanted.with_for_update()).first()
        if routed is None or routed.intention_number != due.version_number:
            reason = "the delivery was erased, or a later intention replaces it"
            settle(connection, due, "superseded", self.clock.now(), self.run_id, reason=reason)
            return ActionResult(due, "superseded", detail=reason)
        if self._failures[f"{due.action}|{routed.target}"] >= MAX_FAILURES_IN_ROW:
            return None
        now = self.clock.now()
        until = now + LEASE
        claimed = connection.execute(
            update(outbox)
            .where(*_is(due), is_due(now))
            .values(due_at=until, changed_at=now, run_id=self.run_id)
        )
        if not claimed.rowcount:
            return ActionResult(due, "busy", routed.target)
        return _Claim(due, until, routed)

    def _write(
        self,
        connection: Connection,
        claim: _Claim,
        action: RoutingAction,
        write: Callable[[Connection, ActionRequest, ActionEnvironment], str],
    ) -> ActionResult:
        """Take an action in the transaction that settles it; an error writes nothing of it."""
        try:
            with connection.begin_nested():
                found = write(connection, self._request(claim, action), self._environment(claim))
        except OrchestrationError as error:
            return self._settle_failed(connection, claim, error)
        return self._settle_done(connection, claim, found)

    def _send(self, claim: _Claim, action: RoutingAction) -> ActionResult:
        """Take an action outside of a transaction."""
        if action.send is None:
            raise AssertionError("an action has one of write, send and run")
        try:
            found = action.send(self._request(claim, action), self._environment(claim))
        except OrchestrationError as error:
            with self.warehouse.writing() as connection:
                return self._settle_failed(connection, claim, error)
        with self.warehouse.writing() as connection:
            return self._settle_done(connection, claim, found)

    def _request(self, claim: _Claim, action: RoutingAction) -> ActionRequest:
        return request_of(claim.routed, self.targets, action)

    def _environment(self, claim: _Claim) -> ActionEnvironment:
        def record_progress(text: str) -> None:
            with self.warehouse.writing() as connection:
                connection.execute(
                    update(events_routed)
                    .where(within(events_routed, claim.due.key._asdict()))
                    .values(progress=text)
                )

        return ActionEnvironment(
            settings=self.settings,
            warehouse=self.warehouse,
            clock=self.clock,
            run_id=self.run_id,
            open=self.open_connection,
            record_progress=record_progress,
        )

    def _settle_done(self, connection: Connection, claim: _Claim, found: str) -> ActionResult:
        now, due = self.clock.now(), claim.due
        self._failures[f"{due.action}|{claim.routed.target}"] = 0
        if not settle(connection, due, "done", now, self.run_id, until=claim.until):
            return ActionResult(due, "overtaken", claim.routed.target)
        note_outcome(connection, due, "done", now, self.run_id, result=shown(found), reason=None)
        return ActionResult(due, "done", claim.routed.target, found)

    def _settle_failed(
        self, connection: Connection, claim: _Claim, error: OrchestrationError
    ) -> ActionResult:
        now, due, target = self.clock.now(), claim.due, claim.routed.target
        reason = shown(str(error))
        may_pass = isinstance(error, TransientError | ConfigurationError)
        is_dead = not may_pass or due.attempt_count + 1 >= MAX_ATTEMPTS
        if may_pass:
            self._failures[f"{due.action}|{target}"] += 1
        state = "dead" if is_dead else "waiting"
        wait = max(
            wait_after(due.attempt_count + 1),
            timedelta(seconds=getattr(error, "retry_in_seconds", 0)),
        )
        is_own = settle(
            connection,
            due,
            state,
            now,
            self.run_id,
            reason=reason,
            until=claim.until,
            due_at=now + wait,
            failed=1,
        )
        if not is_own:
            return ActionResult(due, "overtaken", target)
        note_outcome(connection, due, state, now, self.run_id, reason=reason, failed=1)
        if is_dead:
            routed = claim.routed
            letter = Letter(
                routed.version_number, due.action, target, "apply", error.category, reason
            )
            add_letter(connection, due.key, letter, now=now, run_id=self.run_id)
        return ActionResult(due, state, target, reason)


@contextmanager
def open_applier(
    warehouse: Warehouse, clock: Clock, settings: Settings, registry: Registry, *, run_id: str
) -> Iterator[ActionApplier]:
    """Give an applier that opens each connection once, when an action first needs it.

    Raises:
        ConfigurationError: WEBHOOKS_FILE cannot be used.
    """
    with opened_connections(registry, settings) as open_connection:
        targets = RoutingTargets.of(settings, registry)
        yield ActionApplier(warehouse, clock, targets, settings, run_id, open_connection)


def request_of(routed: Row[Any], targets: RoutingTargets, action: RoutingAction) -> ActionRequest:
    """Return the request of a row of `events_routed`.

    Raises:
        ConfigurationError: Its target is not declared any more.
    """
    _, declared = targets.find(action.name, routed.target)
    return ActionRequest(
        target=routed.target,
        declared=declared,
        fields=json.loads(routed.fields),
        idempotency_key=routed.idempotency_key,
        hops=json.loads(routed.hops),
        source=routed.source,
        delivery_id=routed.delivery_id,
        rule_id=routed.rule_id,
        planned_at=routed.planned_at,
        progress=routed.progress,
    )


def due_actions(
    warehouse: Warehouse, clock: Clock, actions: Sequence[str], *, limit: int
) -> list[DueAction]:
    """Return the intentions of actions that are due, the oldest first."""
    wanted = (
        select(*(outbox.c[name] for name in DueAction._fields))
        .where(
            outbox.c.topic.in_([TOPIC_PREFIX + each for each in actions]),
            outbox.c.state == "waiting",
            is_due(clock.now()),
        )
        .order_by(outbox.c.due_at, outbox.c.entity)
        .limit(limit)
    )
    with warehouse.reading() as connection:
        return [DueAction(*row) for row in connection.execute(wanted)]


def settle(
    connection: Connection,
    due: DueAction,
    state: str,
    now: datetime,
    run_id: str,
    *,
    reason: str | None = None,
    until: datetime | None = None,
    due_at: datetime | None = None,
    failed: int = 0,
) -> bool:
    """Record the end of an attempt in the outbox; return whether its claim was the current one.

    Args:
        connection: A transaction that writes.
        due: The row.
        state: Its state from now on.
        now: The present.
        run_id: Dagster's run.
        reason: Why it failed.
        until: End of the claim; None: it was not claimed.
        due_at: When the next attempt is due.
        failed: Failed attempts to add.
    """
    own = [*_is(due)]
    if until is not None:
        own += [outbox.c.due_at == until, outbox.c.run_id == run_id]
    values: dict[str, Any] = {"state": state, "reason": reason, "changed_at": now, "run_id": run_id}
    if due_at is not None:
        values["due_at"] = due_at
    settled = connection.execute(
        update(outbox).where(*own).values(**values, attempt_count=outbox.c.attempt_count + failed)
    )
    return bool(settled.rowcount)


def note_outcome(
    connection: Connection,
    due: DueAction,
    outcome: str,
    now: datetime,
    run_id: str,
    *,
    failed: int = 0,
    **values: Any,
) -> None:
    """Record the end of an attempt in `events_routed`."""
    connection.execute(
        update(events_routed)
        .where(within(events_routed, due.key._asdict()))
        .values(
            outcome=outcome,
            attempt_count=events_routed.c.attempt_count + failed,
            changed_at=now,
            run_id=run_id,
            **values,
        )
    )


def _is(due: DueAction) -> Sequence[Any]:
    return (
        outbox.c.topic == due.topic,
        outbox.c.entity == due.entity,
        outbox.c.version_number == due.version_number,
        outbox.c.state == "waiting",
    )
