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

from sqlalchemy import Connection, select

from orchestration_project.domains.events.tables import TOPIC_PREFIX, events_routed
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.leases import LostLeaseError
from orchestration_project.engine.outbox import (
    DONE,
    Claim,
    Ended,
    Entry,
    OutboxLoop,
    Outcome,
    claim,
    fail_with,
    may_pass_later,
    read_due,
    settle,
)
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.warehouse.frames import match_scope
from orchestration_project.errors import OrchestrationError
from orchestration_project.registry import (
    ActionEnvironment,
    Registry,
    RoutingAction,
)
from orchestration_project.resources.events.routing.planning import (
    Routed,
    RoutedKey,
    add_letter,
    letter_of,
    request_of,
    shown,
    update_routed,
    write_row,
)
from orchestration_project.resources.events.routing.targets import (
    RoutingTargets,
    opened_connections,
)
from orchestration_project.settings import Settings

MAX_FAILURES_IN_ROW = 3
"""Failed attempts at a target, one after the other, after which a run leaves it alone."""

ACTIONS_PER_RUN = 5_000
LEFT_ALONE = "left_alone"
"""Outcome of an action whose target failed too often; it stays due."""

REPLACED = Outcome("superseded", "the delivery was erased, or a later intention replaces it")


@dataclass(kw_only=True)
class ClaimedAction(Claim):
    """A claimed action, its row, and what the target answered or why it failed."""

    routed: Routed
    answer: str | None = None
    error: OrchestrationError | None = None


EndedAction = Ended[Entry, ClaimedAction]


@dataclass(frozen=True)
class ActionResult:
    """End of an attempt: ``outcome`` is done, waiting, dead, superseded, busy or overtaken.

    ``key``: delivery and rule.
    """

    key: RoutedKey
    action: str
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
        due = due_actions(self.warehouse, self.clock, applied, limit=limit)
        for ended in self._loop.apply(due, self._begin, self._send, self._record):
            if ended.outcome != LEFT_ALONE:
                summary.add(_build_result(ended))
        return summary

    @property
    def _loop(self) -> OutboxLoop:
        return OutboxLoop(self.warehouse, self.clock, self.run_id)

    def _begin(self, connection: Connection, entry: Entry) -> ClaimedAction | EndedAction:
        action = begin_action(connection, entry, self.clock, self.run_id)
        if isinstance(action, Ended):
            return action
        now, routed = self.clock.now(), action.routed
        if self._failures[entry.topic, routed["target"]] >= MAX_FAILURES_IN_ROW:
            return Ended(entry, LEFT_ALONE)
        claimed = claim(connection, entry, now=now, run_id=self.run_id)
        if claimed is None:
            return Ended(entry, "busy", action)
        if self._action(entry).write is not None:  # an earlier release planned it
            return self._write(connection, ClaimedAction(claimed, routed=routed))
        return ClaimedAction(claimed, routed=routed)

    def _action(self, entry: Entry) -> RoutingAction:
        return self.targets.registry.actions[action_of(entry)]

    def _write(self, connection: Connection, claimed: ClaimedAction) -> EndedAction:
        now, run_id, entry = self.clock.now(), self.run_id, claimed.entry
        outcome = write_row(connection, self.targets, claimed.routed, now=now, run_id=run_id)
        settle(connection, [entry], outcome, now=now, run_id=run_id)
        claimed.answer = outcome.reason
        return Ended(entry, outcome.state, claimed, is_current=True)

    def _send(self, claimed: ClaimedAction) -> Outcome:
        action = self._action(claimed.entry)
        if action.send is None:
            raise AssertionError("an action has one of write, send and run")
        target = claimed.entry.topic, claimed.routed["target"]
        try:
            request = request_of(claimed.routed, self.targets, action)
            claimed.answer = action.send(request, self._environment(claimed))
        except LostLeaseError:
            raise
        except OrchestrationError as error:
            claimed.error = error
            self._failures[target] += may_pass_later(error)
            return fail_with(claimed.entry, error, shown(str(error)))
        self._failures[target] = 0
        return DONE

    def _environment(self, claimed: ClaimedAction) -> ActionEnvironment:
        def record_progress(text: str) -> None:
            with self._loop.recording(claimed) as connection:
                key = RoutedKey.of_entity(claimed.entry.entity)
                update_routed(connection, key, progress=text)

        return ActionEnvironment(
            settings=self.settings,
            warehouse=self.warehouse,
            clock=self.clock,
            run_id=self.run_id,
            open=self.open_connection,
            record_progress=record_progress,
        )

    def _record(
        self, connection: Connection, claimed: ClaimedAction, outcome: Outcome, is_current: bool
    ) -> None:
        if is_current:
            record_action(connection, claimed, outcome, now=self.clock.now(), run_id=self.run_id)


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


def record_action(
    connection: Connection, claimed: ClaimedAction, outcome: Outcome, *, now: datetime, run_id: str
) -> None:
    """Record the answer to an action, or the dead letter of one that failed for good."""
    key = RoutedKey.of_entity(claimed.entry.entity)
    if claimed.answer is not None:
        update_routed(connection, key, result=shown(claimed.answer))
    if outcome.state == "dead" and claimed.error is not None:
        query = select(events_routed.c.rule_id).where(match_scope(events_routed, key._asdict()))
        connection.execute(query.with_for_update())
        letter = letter_of(claimed.routed, claimed.error)
        add_letter(connection, key, letter, now=now, run_id=run_id)


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


def _build_result(ended: EndedAction) -> ActionResult:
    entry, claimed = ended.key, ended.claim
    key, action = RoutedKey.of_entity(entry.entity), action_of(entry)
    if claimed is None:
        return ActionResult(key, action, ended.outcome, detail=str(REPLACED.reason))
    is_overtaken = ended.outcome != "busy" and not ended.is_current
    outcome = "overtaken" if is_overtaken else ended.outcome
    detail = claimed.answer or shown(str(claimed.error or ""))
    return ActionResult(key, action, outcome, claimed.routed["target"], detail)


def begin_action(
    connection: Connection, entry: Entry, clock: Clock, run_id: str
) -> ClaimedAction | EndedAction:
    """Return a due action with its row, which this transaction locks.

    Settle it if the delivery was erased or a later intention replaces it.
    """
    condition = match_scope(events_routed, RoutedKey.of_entity(entry.entity)._asdict())
    routed = connection.execute(select(events_routed).where(condition).with_for_update()).first()
    if routed is None or routed.intention_number != entry.version_number:
        settle(connection, [entry], REPLACED, now=clock.now(), run_id=run_id)
        return Ended(entry, REPLACED.state)
    return ClaimedAction(entry, routed=dict(routed._mapping))
