"""Steps of a sync run: a full poll by the tick, or the records of one webhook."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import polars as pl

from orchestration_project.domains.saas import jira, peopleforce
from orchestration_project.domains.saas.events import TaskEvent
from orchestration_project.domains.saas.tables import saas_source_states
from orchestration_project.engine.captures import Captures
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.frame_types import REJECT_SCHEMA
from orchestration_project.engine.contracts.rules import escape_bytes
from orchestration_project.engine.warehouse import TableSpec, Warehouse
from orchestration_project.engine.warehouse.target import skip_summary
from orchestration_project.errors import ConfigurationError, ContractError, OrchestrationError
from orchestration_project.resources.saas.applying import ApplyResult
from orchestration_project.resources.saas.reconciling import PollResult, Reconciler
from orchestration_project.resources.saas.ticks import Ticks
from orchestration_project.services.inbox.rows import Content, build_delivery, capture_of

READERS: Mapping[str, Callable[[bytes], TaskEvent]] = {
    peopleforce.SYSTEM: peopleforce.event_in,
    jira.SYSTEM: jira.event_in,
}
"""How a system's deliveries are read; a source of webhooks.yaml is named after its system."""

RULE_VERSION = "1"


@dataclass(frozen=True)
class SyncResult:
    """Result of a run: counts, and failures, if any.

    ``rejection``: why the delivery that it is for cannot be read; empty: it can.
    """

    counts: Mapping[str, int | str]
    problem: OrchestrationError | None
    rejection: str = ""


def poll_all(
    reconciler: Reconciler, warehouse: Warehouse, clock: Clock, *, is_dry_run: bool = False
) -> SyncResult:
    """Look at all tasks and do what is due; the tick says so only if all went well.

    A dry run only plans: no tick, and nothing is applied.
    """
    if is_dry_run:
        poll_result = reconciler.poll()
        return SyncResult(_count_polled(poll_result), poll_result.problem)
    ticks, began_at = Ticks(warehouse, reconciler.pair), clock.now()
    ticks.begin(began_at)
    poll_result = reconciler.poll()
    applied = reconciler.apply()
    problem = poll_result.problem or applied.problem
    if problem is None:
        ticks.end(began_at)
    return SyncResult({**_count_polled(poll_result), **_count_applied(applied)}, problem)


def _count_polled(poll_result: PollResult) -> dict[str, int | str]:
    counts: dict[str, int | str] = {"seen": poll_result.seen_count, "gone": poll_result.gone_count}
    unreadable = {"unreadable": len(poll_result.unreadable)} if poll_result.unreadable else {}
    return {**counts, **poll_result.planned.actions, **unreadable}


def follow_delivery(
    reconciler: Reconciler, content: Content, *, is_dry_run: bool = False
) -> SyncResult:
    """Reconcile the tasks that a webhook concerns; if nothing follows from it, the counts say why.

    Raises:
        ConfigurationError: No system of the pair is called like the source of the delivery.
    """
    reader = READERS.get(content.source)
    if reader is None:
        raise ConfigurationError(
            f"deliveries of {content.source} are none of a system that is reconciled",
            expected=f"a source called {' or '.join(READERS)}",
            remedy="name the source in WEBHOOKS_FILE after its system, or give it another job",
        )
    try:
        event = reader(content.body)
    except ContractError as error:
        reason = f"{error.what}; expected: {error.expected}; found: {error.found}"
        return SyncResult({"webhook": "rejected", "reason": reason}, None, reason)
    effect = reconciler.handle_event(event)
    is_due = effect.entities and not is_dry_run
    applied = reconciler.apply(effect.entities) if is_due else ApplyResult()
    counts: dict[str, int | str] = {"webhook": effect.outcome, "event": content.kind or event.kind}
    if effect.reason and not applied.outcomes:
        counts["reason"] = effect.reason
    return SyncResult({**counts, **_count_applied(applied)}, effect.problem or applied.problem)


def record_rejection(
    warehouse: Warehouse, captures: Captures, content: Content, reason: str, *, run_id: str
) -> None:
    """Record a delivery that cannot be read: its bytes in `captures`, the reason in `rejects`."""
    capture = captures.store(capture_of(content))
    key = f"{content.source}|{content.delivery_id}"
    spec = TableSpec(table=saas_source_states, rule_version=RULE_VERSION, summarise=skip_summary)
    target = spec.target(key, {}, warehouse.state(saas_source_states, key), run_id=run_id)
    reject = (1, 1, "unreadable", reason, 0, escape_bytes(content.body))
    delivery = replace(build_delivery(content, capture), captures=(), discarded=(capture,))
    rejects = pl.DataFrame([reject], REJECT_SCHEMA, orient="row")
    warehouse.record_refused(target, delivery, rejects)


def _count_applied(applied: ApplyResult) -> dict[str, int]:
    return {f"applied_{outcome}": number for outcome, number in applied.outcomes.items()}
