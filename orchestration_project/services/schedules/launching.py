"""A tick of the schedules that are data: each due time starts exactly one run.

A due time is stored as a launch before Dagster is asked for its run, and asked for again, under the
same run key, if no run was seen after `RETRY_AFTER`: for a run key, Dagster starts one run.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from functools import partial
from operator import eq

import dagster as dg
from sqlalchemy import Connection, bindparam, select, update

from orchestration_project.engine.contracts.flags import FlagSet
from orchestration_project.engine.contracts.problems import Problem
from orchestration_project.engine.contracts.ticks import PlannedRun
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.warehouse.frames import MAX_BATCH_KEYS, insert_absent
from orchestration_project.services.alerts import Alerts
from orchestration_project.services.alerts.inbox import (
    build_recovery_wording,
    build_wording,
    is_always_open,
)
from orchestration_project.services.alerts.rules.messages import Message
from orchestration_project.services.flags import select_flags
from orchestration_project.services.pauses import Pauses
from orchestration_project.services.schedules.jobs import ScheduledJobs
from orchestration_project.services.schedules.rules.launches import (
    Launch,
    LaunchPlan,
    plan_launches,
)
from orchestration_project.services.schedules.rules.schedules import StoredSchedule
from orchestration_project.services.schedules.store import SCHEDULE_STORE
from orchestration_project.tables.operations_edits import (
    operations_schedule_launches as launches,
)
from orchestration_project.tables.operations_edits import operations_schedules as schedules

MAX_SCHEDULES = 2_000
"""Due schedules that one tick looks at; the others are due at the next one."""

RUN_KEY = "dagster/run_key"

ALERT_KIND = "schedule_disabled"
SENSOR_NAME = "operations_start_scheduled"


@dataclass(frozen=True)
class TickResult:
    """Result of a tick.

    Attributes:
        requests: Runs of due schedules.
        skipped_count: Schedules with due times that start no run.
        disabled: Reasons by the names of schedules that were disabled.
    """

    requests: Sequence[PlannedRun] = ()
    skipped_count: int = 0
    disabled: Mapping[str, str] = field(default_factory=dict)


def launch_due(
    warehouse: Warehouse,
    instance: dg.DagsterInstance,
    jobs: ScheduledJobs,
    elsewhere: Collection[str],
    now: datetime,
) -> TickResult:
    """Store due launches, and return the runs to request.

    Args:
        warehouse: Has the schedules.
        instance: Has the runs of earlier launches.
        jobs: The jobs of this code location.
        elsewhere: Names of jobs that another code location may have; their schedules are left.
        now: When the tick is.
    """
    with warehouse.reading() as connection:
        due = _find_due(connection, elsewhere, jobs, now)
        opened = _open_launches(connection, elsewhere, jobs)
        flags = _read_flags(connection, due, now)
    due = _select_unpaused(warehouse, due, jobs)
    if not due and not opened:
        return TickResult()
    run_ids = _find_runs(instance, opened)
    plan = plan_launches(due, opened, run_ids, jobs, flags, now)
    with warehouse.writing() as connection:
        SCHEDULE_STORE.lock(connection)
        _settle(connection, opened, run_ids, plan.retried, now)
        written, disabled = _write(connection, plan, due, now)
    requested = [launch for launch in [*plan.retried, *written] if launch.state == "requested"]
    skipped_count = sum(launch.state == "skipped" for launch in written)
    return TickResult([launch.build_run() for launch in requested], skipped_count, disabled)


def _find_due(
    connection: Connection, elsewhere: Collection[str], jobs: ScheduledJobs, now: datetime
) -> list[StoredSchedule]:
    query = (
        select(schedules)
        .where(schedules.c.next_due_at <= now, schedules.c.is_enabled)
        .order_by(schedules.c.next_due_at, schedules.c.name)
        .limit(MAX_SCHEDULES)
    )
    found = map(SCHEDULE_STORE.stored, connection.execute(query).mappings())
    return [
        stored_schedule
        for stored_schedule in found
        if _is_ours(stored_schedule.schedule.job, elsewhere, jobs)
    ]


def _select_unpaused(
    warehouse: Warehouse, due: Sequence[StoredSchedule], jobs: ScheduledJobs
) -> list[StoredSchedule]:
    """Return the due schedules that no pause holds; the others catch up after it by their rule."""
    pauses = Pauses(warehouse).list_in_effect() if due else []
    return [stored for stored in due if not jobs.is_paused(stored.schedule.job, pauses)]


def _is_ours(job: str, elsewhere: Collection[str], jobs: ScheduledJobs) -> bool:
    return jobs.has(job) or job not in elsewhere


def _open_launches(
    connection: Connection, elsewhere: Collection[str], jobs: ScheduledJobs
) -> list[Launch]:
    query = (
        select(launches)
        .where(launches.c.state == "requested")
        .order_by(launches.c.requested_at)
        .limit(MAX_SCHEDULES)
    )
    stored = [Launch(**row) for row in connection.execute(query).mappings()]
    return [launch for launch in stored if _is_ours(launch.job, elsewhere, jobs)]


def _find_runs(instance: dg.DagsterInstance, opened: Sequence[Launch]) -> Mapping[str, str]:
    """Return the run of each open launch that has one, by run key."""
    keys, runs = [launch.run_key for launch in opened], dict[str, str]()
    for start in range(0, len(keys), MAX_BATCH_KEYS):
        runs_filter = dg.RunsFilter(tags={RUN_KEY: keys[start : start + MAX_BATCH_KEYS]})
        runs |= {run.tags[RUN_KEY]: run.run_id for run in instance.get_runs(runs_filter)}
    return runs


def _read_flags(connection: Connection, due: Sequence[StoredSchedule], now: datetime) -> FlagSet:
    """Return the flags in effect, if a due schedule has one."""
    if any(stored_schedule.schedule.flag is not None for stored_schedule in due):
        return select_flags(connection, now)
    return FlagSet({}, now)


def _settle(
    connection: Connection,
    opened: Sequence[Launch],
    seen: Mapping[str, str],
    retried: Sequence[Launch],
    now: datetime,
) -> None:
    """Note the runs that were seen, and the launches that are requested again."""
    is_it = (launches.c.name == bindparam("of_name"), launches.c.due_at == bindparam("of_due"))
    places = {
        launch.run_key: {"of_name": launch.name, "of_due": launch.due_at} for launch in opened
    }
    if entries := [places[key] | {"found_run": run} for key, run in seen.items() if key in places]:
        values = {"state": "launched", "run_id": bindparam("found_run")}
        connection.execute(update(launches).where(*is_it).values(values), entries)
    if retried:
        values = {"requested_at": bindparam("asked_at")}
        requested = [places[launch.run_key] | {"asked_at": now} for launch in retried]
        connection.execute(update(launches).where(*is_it).values(values), requested)


def _write(
    connection: Connection, plan: LaunchPlan, due: Sequence[StoredSchedule], now: datetime
) -> tuple[list[Launch], Mapping[str, str]]:
    """Write the plans of schedules that are as they were read; return those."""
    names = [*plan.following, *plan.disabled]
    current: dict[str, tuple[int, datetime | None]] = {}
    query = select(schedules.c.name, schedules.c.version_number, schedules.c.next_due_at)
    for start in range(0, len(names), MAX_BATCH_KEYS):
        chosen = schedules.c.name.in_(names[start : start + MAX_BATCH_KEYS])
        for name, number, due_at in connection.execute(query.where(chosen)):
            current[name] = number, due_at
    unchanged = {
        stored.schedule.name
        for stored in due
        if current.get(stored.schedule.name) == (stored.version_number, stored.next_due_at)
    }
    times = {name: at for name, at in plan.following.items() if name in unchanged}
    written = [launch for launch in plan.launches if launch.name in times]
    insert_absent(connection, launches, [asdict(launch) for launch in written])
    if times:
        is_it = schedules.c.name == bindparam("of_name")
        statement = update(schedules).where(is_it).values(next_due_at=bindparam("following"))
        times = [{"of_name": name, "following": at} for name, at in times.items()]
        connection.execute(statement, times)
    disabled = {name: reason for name, reason in plan.disabled.items() if name in unchanged}
    if disabled:
        SCHEDULE_STORE.disable(connection, disabled, by=SENSOR_NAME, at=now)
    return written, disabled


def raise_alerts(warehouse: Warehouse, alerts: Alerts) -> int:
    """Store an alert for each disabled schedule, and that others recovered; return how many."""
    query = select(schedules.c.name, schedules.c.job, schedules.c.disabled_reason)
    with warehouse.reading() as connection:
        rows = connection.execute(query.where(schedules.c.disabled_reason.is_not(None))).all()
    disabled = {Problem(ALERT_KIND, name): (job, reason) for name, job, reason in rows}
    with alerts.inbox() as inbox:
        known_problems = inbox.open_problems({ALERT_KIND})
        for problem in disabled.keys() - known_problems:
            job, reason = disabled[problem]
            message = _build_message(problem, job, reason, alerts.links.automation())
            inbox.observe(message.problems, is_always_open, build_wording(message))
        for problem in known_problems - disabled.keys():
            recovered = build_recovery_wording("by an edit of the schedule")
            inbox.observe(frozenset(), partial(eq, problem), recovered)
    return len(disabled.keys() - known_problems)


def _build_message(problem: Problem, job: str, reason: str, link: str) -> Message:
    body = (
        f"{reason}\n\nWhat to do: correct the schedule with the job operations_definitions_edit, "
        "then resume it"
    )
    return Message(
        kind=ALERT_KIND,
        severity="error",
        title=f"The schedule {problem.subject} was disabled: it cannot start {job}"[:200],
        body=body[:3500],
        problems=frozenset([problem]),
        job=job,
        link=link,
    )
