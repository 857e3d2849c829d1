"""A tick over a thousand schedules that are data, all of which are due."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import dagster as dg
from sqlalchemy import insert, select

from benchmarks.bench import Bench
from benchmarks.report import Line, at_most, line
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.edits import Action
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.services.edits import Edit
from orchestration_project.services.flags import FLAG_STORE
from orchestration_project.services.schedules.jobs import ScheduledJobs
from orchestration_project.services.schedules.launching import RUN_KEY, launch_due
from orchestration_project.services.schedules.store import SCHEDULE_STORE
from orchestration_project.tables.operations_edits import operations_schedules

NINE = datetime(2026, 3, 2, 9, tzinfo=UTC)
FLAG = "half"
DEFINITIONS = (
    {"job": "operations_checks"},
    {"job": "fx_rates_daily", "partitions": "latest"},
    {"job": "fx_rates_daily", "partitions": "previous", "flag": FLAG},
    {"job": "finra_otc_weekly", "partitions": "latest", "partition_values": {"tier": "T1"}},
)


def schedules(bench: Bench) -> list[Line]:
    """Both databases against 1 s; each schedule is due in every tick."""
    from orchestration_project.definitions import defs

    repository = defs.get_repository_def()
    count = bench.sizes.schedules
    found: dict[str, list[float]] = {}
    for name, opened in (("PostgreSQL", _postgresql), ("SQLite", _sqlite)):
        with opened(bench) as warehouse, dg.DagsterInstance.ephemeral() as instance:
            _fill(warehouse, count)
            hours = range(1, bench.repeats + 1)
            ticks = [NINE + timedelta(hours=hour) for hour in hours]
            found[name] = [_tick(warehouse, instance, repository, now) for now in ticks]
    note = f"{count:,} schedules of {len(DEFINITIONS)} jobs and partition rules, all due"
    return [
        line(f"tick of schedules, {name}, against 1 s", "s", took, [1], at_most(1), note=note)
        for name, took in found.items()
    ]


@contextmanager
def _postgresql(bench: Bench) -> Iterator[Warehouse]:
    with bench.rig.place() as place, Warehouse(str(place.database_url), clock=Clock(NINE)) as found:
        found.prepare(holds="demo")
        yield found


@contextmanager
def _sqlite(bench: Bench) -> Iterator[Warehouse]:
    with bench.rig.sqlite_place() as place:
        url = f"sqlite:///{place.state / 'schedules.sqlite'}"
        with Warehouse(url, clock=Clock(NINE)) as found:
            found.prepare(holds="demo")
            yield found


def _fill(warehouse: Warehouse, count: int) -> None:
    """Store ``count`` hourly schedules, and the flag that a part of them has."""
    fields = {"share": 0.5, "owner": "bench"}
    FLAG_STORE.apply(warehouse, Edit(Action.CREATE, FLAG, "bench", NINE, fields))
    for number, definition in enumerate(DEFINITIONS):
        fields = {"cron": "0 * * * *", **definition}
        SCHEDULE_STORE.apply(
            warehouse, Edit(Action.CREATE, f"first_{number}", "bench", NINE, fields)
        )
    with warehouse.writing() as connection:
        firsts = connection.execute(select(operations_schedules)).mappings().all()
        rows = [
            {**firsts[number % len(firsts)], "name": f"schedule_{number}"}
            for number in range(count - len(firsts))
        ]
        connection.execute(insert(operations_schedules), rows)


def _tick(
    warehouse: Warehouse,
    instance: dg.DagsterInstance,
    repository: dg.RepositoryDefinition,
    now: datetime,
) -> float:
    """Return the seconds of a tick; the daemon's part, making the runs, is not in them."""
    began = time.perf_counter()
    found = launch_due(warehouse, instance, ScheduledJobs(repository), (), now)
    took = time.perf_counter() - began
    for each in found.requests:
        tags = {**each.tags, RUN_KEY: str(each.run_key)}
        instance.add_run(dg.DagsterRun(str(each.job_name), str(uuid4()), tags=tags))
    return took
