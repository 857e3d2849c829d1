"""One look at a pair of systems: what changed is planned, and what is planned is done."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any

from sqlalchemy import Connection, Row, select

from orchestration_project.domains.saas.events import TaskEvent
from orchestration_project.domains.saas.intents import Intent, completion
from orchestration_project.domains.saas.records import Issue
from orchestration_project.domains.saas.rules import RuleSet
from orchestration_project.domains.saas.stored_tasks import state_hash
from orchestration_project.domains.saas.tables import saas_dead_letters, saas_source_states
from orchestration_project.engine.captures import Capture
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.errors import ContractError, OrchestrationError
from orchestration_project.resources.saas.applying import Applier, ApplyResult
from orchestration_project.resources.saas.audit import Entity
from orchestration_project.resources.saas.pages import record_new_pages
from orchestration_project.resources.saas.rules import rules_in_effect
from orchestration_project.resources.saas.states import (
    FetchedTask,
    PlanCounts,
    SyncContext,
    entity_of,
    known_states,
    mark_gone,
    plan,
    plan_again,
    refresh,
    seen,
)
from orchestration_project.resources.saas.systems import (
    DigestScheme,
    RefusedError,
    SourcePage,
    SourceSystem,
    TargetSystem,
)
from orchestration_project.tables.spine import outbox

STATES = saas_source_states.c

MAX_PLANNED_TASKS = 1_000
"""Tasks of one transaction."""

MAX_REQUESTED_TASKS = 200
"""Tasks that a listing lacks and that are requested by their id; the others at the next look."""

UNREADABLE = "unreadable"
"""How a sweep calls an issue that exists, and of which no more is known."""

MANY_UNREADABLE_SHARE = 0.2
"""Maximum share of listed records that are not tasks; above it, the format has changed."""


@dataclass
class PollResult:
    """Result of a poll of the source.

    Attributes:
        unreadable: Why some of the records that were listed, or else asked for, are not tasks.
        problem: What ended the look before all was seen; None: all was.
    """

    seen_count: int = 0
    gone_count: int = 0
    unreadable: list[str] = field(default_factory=list)
    planned: PlanCounts = field(default_factory=PlanCounts)
    kept: list[Capture] = field(default_factory=list)
    problem: OrchestrationError | None = None

    @property
    def reason_for_nothing(self) -> str:
        """Why nothing follows from a look at one task; empty: something may."""
        if self.unreadable:
            return self.unreadable[0]
        if self.gone_count:
            return "the source has deleted the task; its issue stays as it is"
        if not self.seen_count:
            return "unknown task: the source does not have it"
        return self.planned.reason_for_nothing

    def add(self, planned: PlanCounts) -> None:
        """Add the plan's counts for a part of the tasks."""
        for what, number in planned.actions.items():
            self.planned.actions[what] = self.planned.actions.get(what, 0) + number


@dataclass(frozen=True)
class WebhookEffect:
    """Result of a webhook: tasks that may be due now, or the reason for none."""

    outcome: str
    entities: Sequence[Entity] = ()
    problem: OrchestrationError | None = None
    reason: str = ""


@dataclass(frozen=True)
class SyncDrift:
    """How a linked issue differs from its task, if that is known.

    It is missing, or only one of both is completed; or it cannot be read.
    """

    entity: Entity
    target_key: str
    what: str


class Reconciler:
    """Brings the tasks of a source and the issues of a target into agreement."""

    def __init__(
        self,
        warehouse: Warehouse,
        clock: Clock,
        source: SourceSystem,
        target: TargetSystem,
        *,
        run_id: str,
    ) -> None:
        self._warehouse = warehouse
        self._clock = clock
        self._source = source
        self._target = target
        self._context = SyncContext(f"{source.system}>{target.system}", run_id)
        self._applier = Applier(warehouse, clock, self._context, source, target)
        self.unreadable_issues: dict[str, str] = {}
        """Those that the latest sweep met, linked to a task or not: why, by their keys."""

    @property
    def pair(self) -> str:
        """The pair of systems, as the outbox and the ticks call it."""
        return self._context.topic

    def rules(self) -> RuleSet:
        """Return the rules in effect."""
        with self._warehouse.reading() as connection:
            return rules_in_effect(connection)

    def poll(self) -> PollResult:
        """Plan for every task that is new, changed or gone; unchanged ones cost no statement."""
        rules, poll_result = self.rules(), PollResult()
        with self._warehouse.reading() as connection:
            known_names = known_states(connection, self._source.system)
        missing = set(known_names)
        began_at = self._clock.now()  # what another run sees from now on is newer
        changed: list[FetchedTask] = []
        digesting = DigestScheme(rules.version, partial(state_hash, rules=rules))
        try:
            for page in self._source.pages(digesting, kept=poll_result.kept):
                poll_result.seen_count += len(page.digests)
                missing.difference_update(page.digests)
                changed += _select_changed(page, known_names, began_at)
                if len(changed) >= MAX_PLANNED_TASKS:
                    poll_result.add(self._plan(rules, changed))
                    changed = []
            missing -= {
                unreadable_record.entity_id for unreadable_record in self._source.unreadable
            }  # they are listed
            changed += self._request_task(sorted(missing), rules, poll_result)
            listed = [unreadable_record.reason for unreadable_record in self._source.unreadable]
            poll_result.unreadable = listed or poll_result.unreadable
            poll_result.problem = _check_unreadable(poll_result)
        except OrchestrationError as error:
            poll_result.problem = error
        poll_result.add(self._plan(rules, changed))
        self._record_pages(poll_result)
        if poll_result.problem is None and len(missing) <= MAX_REQUESTED_TASKS:
            with self._warehouse.writing() as connection:
                refresh(connection, self._source.system, began_at)
        return poll_result

    def _record_pages(self, poll_result: PollResult) -> None:
        record_new_pages(
            self._warehouse,
            poll_result.kept,
            self._source.unreadable,
            system=self._source.system,
            source=self._source.origin,
            run_id=self._context.run_id,
            at=self._clock.now(),
        )

    def poll_tasks(self, entity_ids: Iterable[str]) -> PollResult:
        """Do the same for some tasks, each asked for by its id."""
        rules, poll_result, chosen = self.rules(), PollResult(), sorted(set(entity_ids))
        with self._warehouse.reading() as connection:
            known_names = known_states(connection, self._source.system, chosen)
        changed: list[FetchedTask] = []
        try:
            changed += self._request_task(chosen, rules, poll_result)
        except OrchestrationError as error:
            poll_result.problem = error
        poll_result.seen_count = len(changed)
        poll_result.add(
            self._plan(
                rules,
                [
                    fetched_task
                    for fetched_task in changed
                    if known_names.get(fetched_task.task.entity_id) != fetched_task.state_hash
                ],
            )
        )
        return poll_result

    def compare(self, target_keys: Iterable[str]) -> PlanCounts:
        """Plan a comparison of the tasks whose issues these are: something happened to them."""
        keys = list(target_keys)
        with self._warehouse.reading() as connection:
            rows = connection.execute(
                select(saas_source_states).where(
                    STATES.system == self._source.system, STATES.target_key.in_(keys)
                )
            ).all()
        return self._plan_again([entity_of(row) for row in rows], "target")

    def handle_event(self, event: TaskEvent) -> WebhookEffect:
        """Plan for the records of a webhook; what comes back of our own writes is an echo."""
        if event.entity_id is None or event.kind in ("commented", "other"):
            return WebhookEffect(
                "nothing to do", reason="events of this type change no task and no issue"
            )
        is_of_source = event.system == self._source.system
        column = STATES.entity_id if is_of_source else STATES.target_key
        query = select(saas_source_states).where(
            STATES.system == self._source.system, column == event.entity_id
        )
        with self._warehouse.reading() as connection:
            row = connection.execute(query).first()
        if row is not None and event.kind == "completed" and row.is_completed:
            reason = f"already in this state: task {row.entity_id} is completed"
            return WebhookEffect("echo", reason=reason)
        if is_of_source:
            poll_result = self.poll_tasks([event.entity_id])
            entities = [self.entity(event.entity_id)]
            return WebhookEffect(
                "looked at", entities, poll_result.problem, poll_result.reason_for_nothing
            )
        if row is None:
            return WebhookEffect(
                "nothing to do", reason=f"unknown issue: no task has {event.entity_id}"
            )
        if event.kind not in ("completed", "deleted"):
            reason = "issues are followed when they are completed or deleted"
            return WebhookEffect("nothing to do", reason=reason)
        planned = self.compare([event.entity_id])
        return WebhookEffect("compared", [entity_of(row)], reason=planned.reason_for_nothing)

    def refused(self) -> set[Entity]:
        """Return the tasks with an intention that was refused, and is not settled."""
        with self._warehouse.reading() as connection:
            return self._refused(connection)

    def retry_refused(self, entities: Sequence[Entity] | None = None) -> PlanCounts:
        """Plan again for tasks whose intentions were refused: all of them, or just these."""
        refused = self.refused()
        chosen = refused if entities is None else refused & set(entities)
        return self._plan_again(sorted(chosen, key=lambda each: each.entity_id), "replay")

    def sweep(self) -> list[SyncDrift]:
        """Compare the issues of tasks that rules name, for changes without a webhook; plan repairs.

        What cannot be read is left to people: nothing is known that would have to follow.
        """
        rules = self.rules()
        with self._warehouse.reading() as connection:
            rows = connection.execute(
                select(saas_source_states).where(
                    STATES.system == self._source.system,
                    STATES.target_key.is_not(None),
                    STATES.gone_at.is_(None),
                    STATES.action == "sync",
                )
            ).all()
            unfinished = self._unfinished(connection)
        usable = [
            active_rule.rule for active_rule in rules.rules if not active_rule.disabled_reason
        ]
        named = {project for rule in usable if (project := rule.target_project)}
        issues = self._issues_in(named, {row.target_key for row in rows})
        drifts = [
            SyncDrift(entity_of(row), key, what)
            for row in rows
            if (key := row.target_key)
            and (
                what := _describe_drift(
                    row, issues.get(key), is_unreadable=key in self.unreadable_issues
                )
            )
        ]
        worth = {drift.entity for drift in drifts}
        worth |= {entity_of(row) for row in rows if row.unresolved_email}
        worth -= {drift.entity for drift in drifts if drift.what == UNREADABLE}
        chosen = [entity for entity in worth if entity.outbox_entity not in unfinished]
        self._plan_again(sorted(chosen, key=lambda each: each.entity_id), "target")
        return drifts

    def _issues_in(self, named: set[str], linked: set[str]) -> dict[str, Issue]:
        """Return the linked issues by their keys, of all projects that they are in.

        No usable rule may name such a project any more, and then it may be gone.
        """
        issues: dict[str, Issue] = {}
        self.unreadable_issues = {}
        for project in sorted({key.rpartition("-")[0] for key in linked}):
            try:
                for page in self._target.search(f'project = "{project}"'):
                    issues |= {issue.key: issue for issue in page if issue.key in linked}
                self.unreadable_issues |= self._target.unreadable
            except RefusedError:
                if project in named:
                    raise
        return issues

    def _unfinished(self, connection: Connection) -> set[str]:
        """Return of whom something waits already, or was refused until a person mends it."""
        waiting = select(outbox.c.entity).where(
            outbox.c.topic == self.pair, outbox.c.state == "waiting"
        )
        outbox_entities = {entity.outbox_entity for entity in self._refused(connection)}
        return outbox_entities | set(connection.execute(waiting).scalars())

    def _refused(self, connection: Connection) -> set[Entity]:
        letters = saas_dead_letters.c
        query = select(saas_dead_letters).where(
            letters.system == self._source.system, letters.ended_at.is_(None)
        )
        return {entity_of(row) for row in connection.execute(query)}

    def apply(self, entities: Sequence[Entity] | None = None) -> ApplyResult:
        """Apply pending outbox entries, all or those of ``entities``."""
        return self._applier.apply(entities)

    def entity(self, entity_id: str) -> Entity:
        """Return a task of the source as the tables name it."""
        return Entity(self._source.system, "task", entity_id)

    def _plan(self, rules: RuleSet, tasks: Sequence[FetchedTask]) -> PlanCounts:
        if not tasks:
            return PlanCounts()
        with self._warehouse.writing() as connection:
            return plan(connection, self._context, rules, tasks, self._clock.now())

    def _plan_again(self, entities: Sequence[Entity], cause: str) -> PlanCounts:
        if not entities:
            return PlanCounts()
        rules = self.rules()
        with self._warehouse.writing() as connection:
            return plan_again(
                connection, self._context, rules, entities, cause=cause, now=self._clock.now()
            )

    def _request_task(
        self, entity_ids: Sequence[str], rules: RuleSet, poll_result: PollResult
    ) -> list[FetchedTask]:
        """Request tasks that were not seen; return those that are there, and mark the others gone.

        A page that skips a task, or a listing that comes back empty, does not prove it gone.
        """
        fetched_tasks: list[FetchedTask] = []
        entities: list[Entity] = []
        for entity_id in entity_ids[:MAX_REQUESTED_TASKS]:
            fetched_at = self._clock.now()
            try:
                task = self._source.task(entity_id)
            except ContractError as error:
                poll_result.unreadable.append(str(error))
                continue
            if task is None:
                entities.append(self.entity(entity_id))
            else:
                fetched_tasks.append(seen(task, rules, fetched_at))
        if entities:
            with self._warehouse.writing() as connection:
                poll_result.gone_count += mark_gone(
                    connection, self._context, entities, self._clock.now()
                )
        return fetched_tasks


def _check_unreadable(poll_result: PollResult) -> OrchestrationError | None:
    count, number = (
        len(poll_result.unreadable),
        poll_result.seen_count + len(poll_result.unreadable),
    )
    if count <= number * MANY_UNREADABLE_SHARE:
        return None
    return ContractError(
        f"{count} of {number} tasks that are listed cannot be read",
        expected=f"at most {MANY_UNREADABLE_SHARE:.0%}",
        found=poll_result.unreadable[0],
        remedy="the others were followed; `rejects` has the records: compare them with the "
        "source's API, whose format seems to have changed",
    )


def _select_changed(
    page: SourcePage, known: Mapping[str, str], fetched_at: datetime
) -> list[FetchedTask]:
    """Return the tasks on a page that are new, or not as they were."""
    changed = {key: digest for key, digest in page.digests.items() if known.get(key) != digest}
    tasks = page.read() if changed else ()
    return [
        FetchedTask(task, changed[task.entity_id], fetched_at)
        for task in tasks
        if task.entity_id in changed
    ]


def _describe_drift(row: Row[Any], issue: Issue | None, *, is_unreadable: bool) -> str:
    """Return in words how an issue differs from its task's state; empty: not so that we act."""
    if issue is None:
        return UNREADABLE if is_unreadable else "missing"
    applied = json.loads(row.applied) if row.applied else {}
    follows = completion(
        applied.get("is_completed"),
        source=row.is_completed,
        target=Intent.read(row.intended).ends(issue)
        if row.intended
        else issue.status_category == "done",
    )
    return follows if follows in ("to_source", "to_target") else ""
