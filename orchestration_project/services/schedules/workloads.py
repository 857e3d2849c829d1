"""Runs that are due in a year: those of schedules, and as many by sensors as lately."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import takewhile
from typing import NamedTuple
from zoneinfo import ZoneInfo

import dagster as dg
from sqlalchemy import func, select

from orchestration_project.engine.contracts.cron import read_cron
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.services.schedules.rules.capacity import Workload
from orchestration_project.services.schedules.rules.timetable import Timetable
from orchestration_project.services.schedules.store import SCHEDULE_STORE
from orchestration_project.tables.operations_runs import operations_runs

LOOK_BACK = timedelta(days=90)
"""Runs of this time are averaged."""


class Past(NamedTuple):
    """Runs of a job that succeeded in the time of `LOOK_BACK`.

    Attributes:
        mean_seconds: Their mean duration.
        sensor_count: Those of them that a sensor started.
    """

    mean_seconds: float
    sensor_count: int


def read_past(warehouse: Warehouse, now: datetime) -> Mapping[str, Past]:
    """Return the recent workload of each job's runs; jobs without known durations are not in it."""
    columns = operations_runs.c
    by_sensor = func.count().filter(columns.trigger_kind == "sensor")
    query = (
        select(columns.job, func.avg(columns.duration_seconds), by_sensor)
        .where(
            columns.status == "SUCCESS",
            columns.ended_at >= now - LOOK_BACK,
            columns.duration_seconds.is_not(None),
        )
        .group_by(columns.job)
    )
    with warehouse.reading() as connection:
        return {job: Past(mean, count) for job, mean, count in connection.execute(query)}


def build_workloads(
    repository: dg.RepositoryDefinition,
    warehouse: Warehouse,
    year: int,
    past: Mapping[str, Past],
    assumed_seconds: float,
) -> Sequence[Workload]:
    """Return the runs of a year by job: those of all schedules, and as many by sensors as lately.

    Args:
        repository: Has the schedules that are code; whether they are on does not matter.
        warehouse: Has those that are data, of which the enabled ones count.
        year: The year, in UTC.
        past: Of `read_past`.
        assumed_seconds: Duration of runs whose job has not run lately.
    """
    start, end = datetime(year, 1, 1, tzinfo=UTC), datetime(year + 1, 1, 1, tzinfo=UTC)
    due: dict[str, list[float]] = {}
    for job, timetable in _read_timetables(repository, warehouse):
        times = takewhile(lambda at: at < end, timetable.after(start - timedelta(minutes=1)))
        due.setdefault(job, []).extend((at - start).total_seconds() for at in times)
    seconds = (end - start).total_seconds()
    for job, found in past.items():
        count = round(found.sensor_count * seconds / LOOK_BACK.total_seconds())
        due.setdefault(job, []).extend(
            seconds * (position + 0.5) / count for position in range(count)
        )
    return [
        Workload(job, sorted(times), past[job].mean_seconds if job in past else assumed_seconds)
        for job, times in sorted(due.items())
    ]


def _read_timetables(
    repository: dg.RepositoryDefinition, warehouse: Warehouse
) -> Sequence[tuple[str, Timetable]]:
    found: list[tuple[str, Timetable]] = []
    for schedule_def in repository.schedule_defs:
        crons = (
            [schedule_def.cron_schedule]
            if isinstance(schedule_def.cron_schedule, str)
            else schedule_def.cron_schedule
        )
        zone = ZoneInfo(schedule_def.execution_timezone or "UTC")
        found += [(schedule_def.job_name, Timetable(read_cron(cron), zone)) for cron in crons]
    with warehouse.reading() as connection:
        stored = SCHEDULE_STORE.read(connection)
    schedules = [stored_schedule.schedule for stored_schedule in stored]
    return [
        *found,
        *((schedule.job, schedule.timetable) for schedule in schedules if schedule.is_enabled),
    ]
