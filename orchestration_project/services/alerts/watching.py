"""Looking at what ended since the last tick, and storing what it raises.

Dagster's own `run_failure_sensor` moves its cursor on when our code fails, and would lose that run;
here the cursor moves only once all is stored, and what is stored is stored once per cause.
"""

import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from operator import eq

import dagster as dg

from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.problems import EndedRun
from orchestration_project.engine.dagster_private.automation import (
    FINISHED_TICKS,
    InstigatorTick,
    TickStatus,
    find_ticks,
    iterate_running_states,
)
from orchestration_project.errors import OrchestrationError
from orchestration_project.services.alerts.alerts import Alerts
from orchestration_project.services.alerts.conditions import (
    ConditionResult,
    apply_conditions,
    build_rules_condition,
    see,
    split_suspects,
)
from orchestration_project.services.alerts.inbox import Inbox, build_wording, is_always_open
from orchestration_project.services.alerts.policy import Links, collect_names
from orchestration_project.services.alerts.rules.decisions import (
    MAX_POLLS_FOR_RETRY,
    Progress,
    find_problems,
    match_resolved,
)
from orchestration_project.services.alerts.rules.messages import (
    Message,
    backfill_failure,
    build_database_recovery,
    build_tick_failure,
    run_messages,
)
from orchestration_project.services.alerts.rules.notification import build_facts
from orchestration_project.services.backfills import find_failed_backfills
from orchestration_project.services.ended_runs import (
    RunEnd,
    extract_message,
    find_latest_end,
    list_ends_after,
    read_run,
    retry_of,
)

RUNS_PER_TICK = 2000
SECONDS_PER_TICK = 30
"""Dagster ends a tick that takes longer than 60 s; a run over 444 partitions takes about 1 s."""

LOOKBACK = timedelta(days=1)
"""Earlier failures are not reported: an installation may have years of them before its alerts."""


@dataclass(frozen=True)
class WatchResult:
    """Result of one poll, and the cursor of the next one."""

    said: str
    progress: Progress


def start_polling(instance: dg.DagsterInstance) -> WatchResult:
    """Begin with the runs that ended within `LOOKBACK`, so before the daemon first started, too."""
    position = find_latest_end(instance, Clock().now() - LOOKBACK)
    hours = LOOKBACK // timedelta(hours=1)
    text = f"The next tick evaluates the runs that ended in the last {hours} hours."
    return WatchResult(text, Progress(seen=[position]))


def poll_runs(
    instance: dg.DagsterInstance,
    alerts: Alerts,
    progress: Progress,
    repository: dg.RepositoryDefinition | None = None,
) -> WatchResult:
    """Store the alerts of ended runs and lasting conditions; notify directly of a lost database.

    Args:
        instance: Whose runs, backfills, sensors and queue are looked at.
        alerts: The channels, and the store of alerts.
        progress: What the look before left.
        repository: Whose names rules may match, and whose assets are backfilled; None: neither is
            looked at.
    """
    names = collect_names(repository) if repository else None
    conditions = [*alerts.conditions(instance), build_rules_condition(alerts.policy, names)]
    sure, suspects = split_suspects(see(conditions, Clock()), progress.suspected)
    progress = progress.model_copy(update={"suspected": suspects})
    try:
        with alerts.inbox() as inbox:
            lasting = apply_conditions(sure, inbox, alerts.links)
            if repository:
                lasting += take_backfills(instance, repository, inbox, alerts.links)
            return _store_alerts(instance, alerts, inbox, progress, lasting)
    except OrchestrationError as error:
        notified = alerts.notify_of_lost_database(error, progress.told)
        who = ", ".join(notified) or "none"
        return WatchResult(
            f"Alerts cannot be stored, and wait. Notified channels: {who}. {error}",
            progress.model_copy(update={"told": notified}),
        )


def watch(alerts: Alerts, seen: Sequence[ConditionResult]) -> list[str]:
    """Store and send what was seen from outside of the daemon; return a report of it.

    If the database is lost, each channel is notified of that directly.
    """
    try:
        with alerts.inbox() as inbox:
            _report_recovery(alerts, inbox, {})
            messages = apply_conditions(seen, inbox, alerts.links)
            number, reasons = alerts.deliver(inbox)
    except OrchestrationError as error:
        informed = alerts.notify_of_lost_database(error, alerts.last_resort_log.read())
        alerts.last_resort_log.keep(informed)
        who = ", ".join(informed) or "none"
        return [f"alerts cannot be stored. Notified channels: {who}. {error}"]
    titles = [f"{message.severity}: {message.title}" for message in messages]
    return [*titles, f"sent {number} alerts", *reasons.values()]


def _store_alerts(
    instance: dg.DagsterInstance,
    alerts: Alerts,
    inbox: Inbox,
    progress: Progress,
    lasting: Sequence[Message],
) -> WatchResult:
    _report_recovery(alerts, inbox, progress.told)
    ends = list_ends_after(instance, progress.since, len(progress.seen) + RUNS_PER_TICK)
    new = [end for end in ends if end.place not in progress.seen]
    run_ends = [RunEnd(0, run_id, "failure") for run_id in progress.waiting] + new
    waiting, places, messages = dict(progress.waiting), list[int](), [*lasting]
    until = time.monotonic() + SECONDS_PER_TICK
    for end in run_ends:
        if time.monotonic() > until:
            break
        poll_count = waiting.pop(end.run_id, 0)
        retry = retry_of(instance, end.run_id) if end.outcome == "failure" else "none"
        if retry == "announced" and poll_count < MAX_POLLS_FOR_RETRY:
            waiting[end.run_id] = poll_count + 1
        else:
            messages += _take(instance, alerts, inbox, end, is_retried=retry == "made")
        places += [end.place] if end.place else []
    messages += take_ticks(instance, inbox, alerts.links)
    reached = progress.with_seen(places)
    return WatchResult(
        _summarize_tick(len(places), messages, waiting, alerts),
        reached.model_copy(update={"waiting": waiting, "told": {}}),
    )


def _report_recovery(alerts: Alerts, inbox: Inbox, notified_at: Mapping[str, datetime]) -> None:
    """Report that the database can be used again, to channels that were notified of its loss."""
    times = [*notified_at.values(), *alerts.last_resort_log.read().values()]
    if times:
        inbox.store_once(f"database {max(times)}", build_database_recovery())
        alerts.last_resort_log.forget()


def _take(
    instance: dg.DagsterInstance, alerts: Alerts, inbox: Inbox, end: RunEnd, *, is_retried: bool
) -> Sequence[Message]:
    run = read_run(instance, end)
    if run is None:
        return []
    run = _drop_reported(run, inbox.notices_of(run.run_id) if run.notices else set())
    bad = frozenset(problem for problem in find_problems(run) if not is_retried or problem.is_check)
    words = partial(run_messages, run, links=alerts.links)
    facts = partial(build_facts, job=run.job, together=run.together)
    return inbox.take(end.cause, bad, match_resolved(run), words, facts)


def _drop_reported(run: EndedRun, reported: Collection[tuple[str, str]]) -> EndedRun:
    """Leave out the notices of an earlier end: a run whose worker seemed lost may still succeed."""
    new = [notice for notice in run.notices if (notice.kind, notice.unit.partition) not in reported]
    return replace(run, notices=new)


def _summarize_tick(
    runs: int, messages: Sequence[Message], waiting: Iterable[str], alerts: Alerts
) -> str:
    names = [f"Evaluated {runs} ended runs."]
    names += [f"{message.severity}: {message.title}." for message in messages]
    names += [f"The run {run_id} is to be retried." for run_id in waiting]
    if messages and not alerts.channels:
        names.append("No channel is notified: ALERT_URLS is not set.")
    return " ".join(names)


def take_backfills(
    instance: dg.DagsterInstance,
    repository: dg.RepositoryDefinition,
    inbox: Inbox,
    links: Links,
) -> list[Message]:
    """Store the alerts that failed backfills raise, each once; return the messages.

    It is well again as what a failed run did not make is: partition by partition.
    """
    messages: list[Message] = []
    for backfill in find_failed_backfills(instance, repository, Clock().now() - LOOKBACK):
        message = backfill_failure(backfill, links)
        messages += inbox.take(
            f"backfill {backfill.backfill_id}",
            message.problems,
            is_always_open,
            build_wording(message),
            partial(build_facts, job=backfill.job, together=backfill.together),
        )
    return messages


KIND = "tick_failed"


def take_ticks(instance: dg.DagsterInstance, inbox: Inbox, links: Links) -> list[Message]:
    """Store the alerts that failed ticks raise and later ones recover; return the messages."""
    latest = _find_latest_ticks(instance)
    messages: list[Message] = []
    for name, tick in latest.items():
        if tick.status == TickStatus.FAILURE:
            message = build_tick_failure(name, _describe_error(tick), links)
            messages += inbox.take(
                _name_tick(tick), message.problems, is_always_open, build_wording(message)
            )
    failing = {problem.subject: problem for problem in inbox.open_problems([KIND])}
    for name, problem in failing.items():
        tick = latest.get(name)
        if tick is not None and tick.status in (TickStatus.SUCCESS, TickStatus.SKIPPED):
            messages += (
                inbox.recover(  # maybe of the very tick that failed: Dagster tries some again
                    f"{_name_tick(tick)} {tick.status.value}",
                    partial(eq, problem),
                    "by a later tick",
                )
            )
    return messages


def _find_latest_ticks(instance: dg.DagsterInstance) -> dict[str, InstigatorTick]:
    """Return the latest finished tick of everything that is switched on, by name.

    Of one that several code locations have had, that of the location which ticked last.
    """
    ticks = [
        tick
        for state in iterate_running_states(instance)
        for tick in find_ticks(instance, state, limit=1, statuses=FINISHED_TICKS)
    ]
    ticks.sort(key=lambda tick: tick.timestamp)
    return {tick.instigator_name: tick for tick in ticks}


def _name_tick(tick: InstigatorTick) -> str:
    """Return a name for a tick: numbers begin again with a new storage of Dagster's."""
    return f"tick {tick.instigator_name} {tick.tick_id} {tick.timestamp}"


def _describe_error(tick: InstigatorTick) -> str:
    return extract_message(tick.error) if tick.error else "Dagster gives no reason"
