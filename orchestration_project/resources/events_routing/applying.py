"""Application of planned actions: claimed in the outbox, taken once, and settled.

A process that ends between an action and its record leaves a claim that expires; the next attempt
has the same idempotency key. Actions that only write a row are taken as they are planned.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, select, update

from orchestration_project.connections.clock import Clock
from orchestration_project.engine.outbox import (
    DONE,
    Entry,
    Outcome,
    claim,
    fail_with,
    may_pass_later,
    read_due,
    settle,
)
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.warehouse.frames import within
from orchestration_project.errors import OrchestrationError
from orchestration_project.registry import (
    ActionEnvironment,
    Registry,
    RoutingAction,
)
from orchestration_project.resources.events_routing.planning import (
    TOPIC_PREFIX,
    Letter,
    Routed,
    RoutedKey,
    letter_of,
    note_outcome,
    request_of,
    shown,
    write_row,
)
from orchestration_project.resources.events_routing.targets import (
    RoutingTargets,
    opened_connections,
)
from orchestration_project.settings import Settings
from orchestration_project.tables.events_routing import events_routed

MAX_FAILURES_IN_ROW = 3
"""Failed attempts at a target, one after the other, after which a run leaves it alone."""

ACTIONS_PER_RUN = 5_000
REPLACED = Outcome("superseded", "the delivery was erased, or a later intention replaces it")


@dataclass(frozen=True)
class _Claim:
    entry: Entry
    routed: Routed


@dataclass(frozen=True)
class ActionResult:
    """End of an attempt: ``outcome`` is done, waiting, dead, superseded, busy or overtaken."""

    entry: Entry
    outcome: str
    target: str = ""
    detail: str = ""

    @property
    def action(self) -> str:
        """Name of the action."""
        return action_of(self.entry)

    @property
    def key(self) -> RoutedKey:
        """Delivery and rule."""
        return RoutedKey.of_entity(self.entry.entity)


@dataclass
class ApplySummary:
    """Ends of a run's attempts, by action and outcome, and the first of them."""

    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    results: list[ActionResult] = field(default_factory=list)

    def add(self, result: ActionResult) -> None:
        """Count an attempt."""
        self.counts[result.action, result.outcome] += 1
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
    _failures: Counter[tuple[str, str]] = field(default_factory=Counter)

    def apply_due(self, *, limit: int = ACTIONS_PER_RUN) -> ApplySummary:
        """Take the actions that are due, the oldest first; what fails waits for its next attempt.

        Raises:
            OrchestrationError: The database cannot be used.
        """
        summary = ApplySummary()
        actions = self.targets.registry.actions.values()
        applied = [action.name for action in actions if not action.run]
        for entry in due_actions(self.warehouse, self.clock, applied, limit=limit):
            result = self._apply(entry)
            if result is not None:
                summary.add(result)
        return summary

    def _apply(self, entry: Entry) -> ActionResult | None:
        action = self.targets.registry.actions[action_of(entry)]
        with self.warehouse.writing() as connection:
            claim = self._claim(connection, entry)
            if not isinstance(claim, _Claim):
                return claim
            if action.write is not None:  # an earlier release planned it
                return self._write(connection, claim)
        return self._send(claim, action)

    def _claim(self, connection: Connection, entry: Entry) -> _Claim | ActionResult | None:
        """Claim an action; None: its target is left alone for now."""
        now, routed = self.clock.now(), read_routed(connection, entry, is_locked=True)
        if routed is None:
            record_outcome(connection, entry, REPLACED, now=now, run_id=self.run_id)
            return ActionResult(entry, REPLACED.state, detail=str(REPLACED.reason))
        if self._failures[entry.topic, routed["target"]] >= MAX_FAILURES_IN_ROW:
            return None
        claimed = claim(connection, entry, now=now, run_id=self.run_id)
        if claimed is None:
            return ActionResult(entry, "busy", routed["target"])
        return _Claim(claimed, routed)

    def _write(self, connection: Connection, claim: _Claim) -> ActionResult:
        now, run_id, routed = self.clock.now(), self.run_id, claim.routed
        outcome = write_row(connection, self.targets, routed, now=now, run_id=run_id)
        settle(connection, [claim.entry], outcome, now=now, run_id=run_id)
        return ActionResult(claim.entry, outcome.state, routed["target"], outcome.reason or "")

    def _send(self, claim: _Claim, action: RoutingAction) -> ActionResult:
        """Take an action outside of a transaction."""
        if action.send is None:
            raise AssertionError("an action has one of write, send and run")
        try:
            request = request_of(claim.routed, self.targets, action)
            answer = action.send(request, self._environment(claim))
        except OrchestrationError as error:
            with self.warehouse.writing() as connection:
                return self._settle_failed(connection, claim, error)
        with self.warehouse.writing() as connection:
            return self._settle(connection, claim, DONE, answer=answer)

    def _environment(self, claim: _Claim) -> ActionEnvironment:
        def record_progress(text: str) -> None:
            with self.warehouse.writing() as connection:
                connection.execute(
                    update(events_routed).where(_is_routed(claim.entry)).values(progress=text)
                )

        return ActionEnvironment(
            settings=self.settings,
            warehouse=self.warehouse,
            clock=self.clock,
            run_id=self.run_id,
            open=self.open_connection,
            record_progress=record_progress,
        )

    def _settle_failed(
        self, connection: Connection, claim: _Claim, error: OrchestrationError
    ) -> ActionResult:
        outcome = fail_with(claim.entry, error, shown(str(error)))
        return self._settle(connection, claim, outcome, error=error)

    def _settle(
        self,
        connection: Connection,
        claim: _Claim,
        outcome: Outcome,
        *,
        answer: str | None = None,
        error: OrchestrationError | None = None,
    ) -> ActionResult:
        target = claim.routed["target"]
        if error is None:
            self._failures[claim.entry.topic, target] = 0
        elif may_pass_later(error):
            self._failures[claim.entry.topic, target] += 1
        is_own = record_outcome(
            connection,
            claim.entry,
            outcome,
            now=self.clock.now(),
            run_id=self.run_id,
            answer=answer,
            letter=None if error is None else letter_of(claim.routed, error),
        )
        if not is_own:
            return ActionResult(claim.entry, "overtaken", target)
        return ActionResult(claim.entry, outcome.state, target, answer or outcome.reason or "")


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


def action_of(entry: Entry) -> str:
    """Return the name of an entry's action."""
    return entry.topic.removeprefix(TOPIC_PREFIX)


def due_actions(
    warehouse: Warehouse, clock: Clock, actions: Sequence[str], *, limit: int
) -> list[Entry]:
    """Return the entries of actions that are due, the oldest first."""
    topics = [TOPIC_PREFIX + action for action in actions]
    with warehouse.reading() as connection:
        return read_due(connection, topics, clock.now(), limit=limit)


def read_routed(connection: Connection, entry: Entry, *, is_locked: bool = False) -> Routed | None:
    """Return the row of `events_routed` that an entry is of; None: it was erased or replaced.

    ``is_locked``: have others wait for it until this transaction ends.
    """
    row = select(events_routed).where(_is_routed(entry))
    routed = connection.execute(row.with_for_update() if is_locked else row).first()
    if routed is None or routed.intention_number != entry.version_number:
        return None
    return dict(routed._mapping)


def record_outcome(
    connection: Connection,
    entry: Entry,
    outcome: Outcome,
    *,
    now: datetime,
    run_id: str,
    answer: str | None = None,
    letter: Letter | None = None,
) -> bool:
    """Settle an entry, and its row of `events_routed`; return whether its claim was still valid.

    Args:
        connection: A transaction that writes.
        entry: The entry.
        outcome: End of its attempt.
        now: The present.
        run_id: Dagster's run.
        answer: What the target answered.
        letter: Dead letter of an action that is dead.
    """
    if not settle(connection, [entry], outcome, now=now, run_id=run_id):
        return False
    if outcome.state == "superseded":
        return True
    key = RoutedKey.of_entity(entry.entity)
    note_outcome(connection, key, outcome, now=now, run_id=run_id, answer=answer, letter=letter)
    return True


def _is_routed(entry: Entry) -> ColumnElement[bool]:
    return within(events_routed, RoutedKey.of_entity(entry.entity)._asdict())
