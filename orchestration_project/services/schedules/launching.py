"""A tick of the schedules that are data: each due time starts exactly one run.

A due time is stored as a launch before Dagster is asked for its run, and asked for again, under the
same run key, if no run was seen after `RETRY_AFTER`: for a run key, Dagster starts one run.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from operator import eq
from typing import Any

import dagster as dg
from sqlalchemy import Connection, RowMapping, bindparam, select, update

from orchestration_project.engine.contracts.flags import FlagSet
from orchestration_project.engine.contracts.problems import Problem
from orchestration_project.engine.contracts.ticks import PlannedRun
from orchestration_project.engine.tracing.traceparent import HIDDEN_PREFIX
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.warehouse.frames import KEYS_AT_ONCE, insert_absent
from orchestration_project.services.alerts import Alerts
from orchestration_project.services.alerts.inbox import (
    build_recovery_wording,
    build_wording,
    is_always_open,
)
from orchestration_project.services.alerts.rules.messages import Message
from orchestration_project.services.flags import select_flags
from orchestration_project.services.pauses import Pauses
from orchestration_project.services.schedules.jobs import ScheduledJobs, run_config_of
from orchestration_project.services.schedules.rules.schedules import StoredSchedule
from orchestration_project.services.schedules.rules.timetable import find_due_times
from orchestration_project.services.schedules.store import SCHEDULE_STORE
from orchestration_project.tables.operations_edits import (
    operations_schedule_launches as launches,
)
from orchestration_project.tables.operations_edits import operations_schedules as schedules

MAX_LAUNCHES = 250
"""Runs that one tick asks for: Dagster's daemon makes them within a minute."""

MAX_SCHEDULES = 2_000
"""Due schedules that one tick looks at; the others are due at the next one."""

RETRY_AFTER = timedelta(minutes=5)
"""Several times as long as the daemon needs to make `MAX_LAUNCHES` runs."""

NO_PARTITION = "no partition that is published yet"

RUN_KEY = "dagster/run_key"
SCHEDULE_TAG, DUE_TAG = "schedule", f"{HIDDEN_PREFIX}schedule_due_at"

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


@dataclass
class _Plan:
    """Writes of a tick, gathered before its transaction."""

    room: int
    rows: list[dict[str, Any]] = field(default_factory=list)
    following: dict[str, tuple[StoredSchedule, datetime | None]] = field(default_factory=dict)
    disabled: dict[str, tuple[StoredSchedule, str]] = field(default_factory=dict)


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
    seen_names = _find_runs(instance, opened)
    again = [row for row in opened if _build_key(row) not in seen_names and _is_lost(row, now)][
        :MAX_LAUNCHES
    ]
    plan = _Plan(MAX_LAUNCHES - len(again))
    for stored in due:
        if plan.room <= 0:
            break
        _plan(plan, stored, jobs, flags, now)
    with warehouse.writing() as connection:
        SCHEDULE_STORE.lock(connection)
        _settle(connection, opened, seen_names, again, now)
        entries, disabled = _write(connection, plan, now)
    requests = [_request(row) for row in [*again, *entries] if row["state"] == "requested"]
    return TickResult(requests, sum(row["state"] == "skipped" for row in entries), disabled)


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
) -> list[RowMapping]:
    query = (
        select(launches)
        .where(launches.c.state == "requested")
        .order_by(launches.c.requested_at)
        .limit(MAX_SCHEDULES)
    )
    rows = connection.execute(query).mappings()
    return [row for row in rows if _is_ours(row["job"], elsewhere, jobs)]


def _find_runs(instance: dg.DagsterInstance, opened: Sequence[RowMapping]) -> Mapping[str, str]:
    """Return the run of each open launch that has one, by run key."""
    keys, runs = [_build_key(row) for row in opened], dict[str, str]()
    for start in range(0, len(keys), KEYS_AT_ONCE):
        runs_filter = dg.RunsFilter(tags={RUN_KEY: keys[start : start + KEYS_AT_ONCE]})
        runs |= {run.tags[RUN_KEY]: run.run_id for run in instance.get_runs(runs_filter)}
    return runs


def _is_lost(row: RowMapping, now: datetime) -> bool:
    """Whether its request is so old that the tick's daemon ended before it made the run."""
    return not row["requested_at"] <= now < row["requested_at"] + RETRY_AFTER


def _read_flags(connection: Connection, due: Sequence[StoredSchedule], now: datetime) -> FlagSet:
    """Return the flags in effect, if a due schedule has one."""
    if any(stored_schedule.schedule.flag is not None for stored_schedule in due):
        return select_flags(connection, now)
    return FlagSet({}, now)


def _plan(
    plan: _Plan, stored: StoredSchedule, jobs: ScheduledJobs, flags: FlagSet, now: datetime
) -> None:
    schedule, first = stored.schedule, stored.next_due_at
    if first is None:
        return
    if problems := jobs.problems(schedule):
        plan.disabled[schedule.name] = stored, "; ".join(problems)
        return
    due = find_due_times(schedule.timetable, first, now, schedule.catch_up, schedule.max_catch_up)
    launched, following = due.launched[: plan.room], due.following
    if len(launched) < len(due.launched):
        following = due.launched[len(launched)]
    if due.skipped is not None:
        start, end = due.skipped
        reason = f"not caught up ({schedule.catch_up}), with all due times until {end:%F %R} UTC"
        row = _build_row(stored, start, None, now)
        plan.rows.append(row | {"state": "skipped", "reason": reason})
    config = json.dumps(run_config_of(schedule), sort_keys=True)
    for moment in launched:
        key = None if schedule.partitions == "none" else jobs.partition_key(schedule, moment)
        row = _build_row(stored, moment, key, now) | {"run_config": config}
        if key is None and schedule.partitions != "none":
            row |= {"state": "skipped", "reason": f"{schedule.partitions}: {NO_PARTITION}"}
        elif schedule.flag and (why := flags.why_off(schedule.flag, key or moment.isoformat())):
            row |= {"state": "skipped", "reason": why}
        else:
            plan.room -= 1
        plan.rows.append(row)
    plan.following[schedule.name] = stored, following


def _build_row(
    stored: StoredSchedule, due: datetime, partition_key: str | None, now: datetime
) -> dict[str, Any]:
    return {
        "name": stored.schedule.name,
        "due_at": due,
        "version_number": stored.version_number,
        "job": stored.schedule.job,
        "partition_key": partition_key,
        "state": "requested",
        "reason": None,
        "run_config": None,
        "requested_at": now,
        "run_id": None,
    }


def _settle(
    connection: Connection,
    opened: Sequence[RowMapping],
    seen: Mapping[str, str],
    again: Sequence[RowMapping],
    now: datetime,
) -> None:
    """Note the runs that were seen, and the launches that are asked for again."""
    is_it = (launches.c.name == bindparam("of_name"), launches.c.due_at == bindparam("of_due"))
    places = {_build_key(row): {"of_name": row["name"], "of_due": row["due_at"]} for row in opened}
    if entries := [places[key] | {"found_run": run} for key, run in seen.items() if key in places]:
        values = {"state": "launched", "run_id": bindparam("found_run")}
        connection.execute(update(launches).where(*is_it).values(values), entries)
    if again:
        values = {"requested_at": bindparam("asked_at")}
        requested = [places[_build_key(row)] | {"asked_at": now} for row in again]
        connection.execute(update(launches).where(*is_it).values(values), requested)


def _write(
    connection: Connection, plan: _Plan, now: datetime
) -> tuple[list[dict[str, Any]], Mapping[str, str]]:
    """Write the plans of schedules that are as they were read; return those."""
    names = [*plan.following, *plan.disabled]
    current: dict[str, tuple[int, datetime | None]] = {}
    query = select(schedules.c.name, schedules.c.version_number, schedules.c.next_due_at)
    for start in range(0, len(names), KEYS_AT_ONCE):
        chosen = schedules.c.name.in_(names[start : start + KEYS_AT_ONCE])
        for name, number, due in connection.execute(query.where(chosen)):
            current[name] = number, due

    def is_as_read(stored: StoredSchedule) -> bool:
        return current.get(stored.schedule.name) == (stored.version_number, stored.next_due_at)

    times = {name: at for name, (value, at) in plan.following.items() if is_as_read(value)}
    rows = [row for row in plan.rows if row["name"] in times]
    if rows:
        insert_absent(connection, launches, rows)
    if times:
        is_it = schedules.c.name == bindparam("of_name")
        statement = update(schedules).where(is_it).values(next_due_at=bindparam("following"))
        times = [{"of_name": name, "following": at} for name, at in times.items()]
        connection.execute(statement, times)
    disabled = {name: why for name, (value, why) in plan.disabled.items() if is_as_read(value)}
    if disabled:
        SCHEDULE_STORE.disable(connection, disabled, by=SENSOR_NAME, at=now)
    return rows, disabled


def _build_key(row: Mapping[str, Any] | RowMapping) -> str:
    """Return the run key of a launch."""
    return f"{row['name']} at {row['due_at'].isoformat()}"


def _request(row: Mapping[str, Any] | RowMapping) -> PlannedRun:
    return PlannedRun(
        run_key=_build_key(row),
        job_name=row["job"],
        partition_key=row["partition_key"],
        run_config=json.loads(row["run_config"] or "{}"),
        tags={SCHEDULE_TAG: row["name"], DUE_TAG: row["due_at"].isoformat()},
    )


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
