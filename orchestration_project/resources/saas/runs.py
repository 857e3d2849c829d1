"""What a run of reconciliation does: a whole look by the tick, or what one webhook tells of."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from orchestration_project.domains.saas import jira, peopleforce
from orchestration_project.domains.saas.events import Event
from orchestration_project.errors import ConfigurationError, OrchestrationError
from orchestration_project.resources.clock import Clock
from orchestration_project.resources.inbox.work import Content
from orchestration_project.resources.saas.applying import Applied
from orchestration_project.resources.saas.reconciling import Reconciler
from orchestration_project.resources.saas.ticks import Ticks
from orchestration_project.resources.warehouse import Warehouse

READERS: Mapping[str, Callable[[bytes], Event]] = {
    peopleforce.SYSTEM: peopleforce.event_in,
    jira.SYSTEM: jira.event_in,
}
"""How a system's deliveries are read; a source of webhooks.yaml is named after its system."""


@dataclass(frozen=True)
class Done:
    """What a run did, as counts, and what it could not do, if anything."""

    counts: Mapping[str, int | str]
    problem: OrchestrationError | None


def look_through(reconciler: Reconciler, warehouse: Warehouse, clock: Clock) -> Done:
    """Look at all tasks and do what is due; the tick says so only if all went well."""
    ticks, began_at = Ticks(warehouse, reconciler.pair), clock.now()
    ticks.begin(began_at)
    looked = reconciler.look()
    applied = reconciler.apply()
    problem = looked.problem or applied.problem
    if problem is None:
        ticks.end(began_at)
    counts = {"seen": looked.seen_count, "gone": looked.gone_count, **looked.planned.actions}
    if looked.unreadable:
        counts |= {"unreadable": len(looked.unreadable)}
    return Done({**counts, **_prefixed(applied)}, problem)


def follow_delivery(reconciler: Reconciler, content: Content) -> Done:
    """Do what a webhook gives reason for.

    Raises:
        ConfigurationError: No system of the pair is called like the source of the delivery.
        ContractError: It is no webhook of that system.
    """
    reader = READERS.get(content.source)
    if reader is None:
        raise ConfigurationError(
            f"deliveries of {content.source} are none of a system that is reconciled",
            expected=f"a source called {' or '.join(READERS)}",
            remedy="name the source in WEBHOOKS_FILE after its system, or give it another job",
        )
    heard = reconciler.hear(reader(content.body))
    applied = reconciler.apply(heard.entities) if heard.entities else Applied()
    return Done({"webhook": heard.outcome, **_prefixed(applied)}, heard.problem or applied.problem)


def _prefixed(applied: Applied) -> dict[str, int]:
    return {f"applied_{outcome}": number for outcome, number in applied.outcomes.items()}
