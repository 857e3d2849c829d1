"""Sensors and schedules whose latest tick failed."""

from functools import partial
from operator import eq

import dagster as dg

from orchestration_project.domains.operations.messages import Message, tick_failure
from orchestration_project.engine.dagster_private import (
    FINISHED_TICKS,
    InstigatorTick,
    TickStatus,
    find_ticks,
    running_instigators,
)
from orchestration_project.services.alerts.inbox import Inbox, is_always_open, words_of
from orchestration_project.services.alerts.policy import Links
from orchestration_project.services.ended_runs import error_text

KIND = "tick_failed"


def take_ticks(instance: dg.DagsterInstance, inbox: Inbox, links: Links) -> list[Message]:
    """Store what failed ticks raise and later ones recover; return the messages."""
    latest = _latest_ticks(instance)
    messages: list[Message] = []
    for name, tick in latest.items():
        if tick.status == TickStatus.FAILURE:
            message = tick_failure(name, _error(tick), links)
            messages += inbox.take(
                _cause(tick), message.problems, is_always_open, words_of(message)
            )
    failing = {problem.subject: problem for problem in inbox.open_problems([KIND])}
    for name, problem in failing.items():
        tick = latest.get(name)
        if tick is not None and tick.status in (TickStatus.SUCCESS, TickStatus.SKIPPED):
            messages += (
                inbox.recover(  # maybe of the very tick that failed: Dagster tries some again
                    f"{_cause(tick)} {tick.status.value}", partial(eq, problem), "by a later tick"
                )
            )
    return messages


def _latest_ticks(instance: dg.DagsterInstance) -> dict[str, InstigatorTick]:
    """Return the latest finished tick of everything that is switched on, by name.

    Of one that several code locations have had, that of the location which ticked last.
    """
    found = [
        tick
        for state in running_instigators(instance)
        for tick in find_ticks(instance, state, limit=1, statuses=FINISHED_TICKS)
    ]
    found.sort(key=lambda tick: tick.timestamp)
    return {tick.instigator_name: tick for tick in found}


def _cause(tick: InstigatorTick) -> str:
    """Return a name for a tick: numbers begin again with a new storage of Dagster's."""
    return f"tick {tick.instigator_name} {tick.tick_id} {tick.timestamp}"


def _error(tick: InstigatorTick) -> str:
    return error_text(tick.error) if tick.error else "Dagster gives no reason"
